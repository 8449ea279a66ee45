package fallback

import (
	"strings"
	"testing"

	"github.com/crossattn/xpipe/tensor"
)

// A beam search whose cache is reordered in place, by Take, gives what one gives that copies.
func TestBeamsReorderTheCache(t *testing.T) {
	t.Parallel()
	grows, copies := openDecoder(t, false), openDecoder(t, true)
	a, b := grows.run(nil, 2, 5, 1), copies.run(nil, 2, 5, 1)
	for i, rows := range [][]int{{0, 0, 1, 1}, {0, 0, 1, 3}, {3, 1, 0, 2}, {2, 2, 2, 2}, {1, 3}, {1, 0, 1}, {2}} {
		for name := range a {
			if !strings.HasPrefix(name, "present") {
				continue
			}
			if _, ok := a[name].Storage().(tensor.RowStorage); !ok {
				t.Fatalf("%s does not take rows in place", name)
			}
			taken, err := a[name].Take(rows)
			if err != nil {
				t.Fatal(err)
			}
			a[name].Release()
			a[name] = taken
			if b[name], err = b[name].Clone().Take(rows); err != nil {
				t.Fatal(err)
			}
		}
		seed := uint64(i + 2)
		a, b = grows.run(a, len(rows), 1, seed), copies.run(b, len(rows), 1, seed)
		x, y := a["logits"].Float32s(), b["logits"].Float32s()
		for j := range y {
			if d := x[j] - y[j]; d > 1e-4 || d < -1e-4 {
				t.Fatalf("step %d: logit %d differs by %v", i, j, d)
			}
		}
	}
}
