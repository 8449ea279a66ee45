package tokenize

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// Cleaning a text as it grows gives what cleaning all of it gives, wherever it is cut.
func TestSpacesAreCleanedAsTextGrows(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	pieces := []string{" ", " ", "'", " '", " ' ", ".", " ,", "n", "t", "n't", " n", "s", "m", "ve", "v", "re", "r", "a", "é", "!", "?"}
	for range 50_000 {
		out := new(decoded)
		s := sink(&spaceSink{out: out})
		var whole strings.Builder
		for range rng.IntN(12) {
			piece := pieces[rng.IntN(len(pieces))]
			whole.WriteString(piece)
			s.write(piece)
			if rng.IntN(8) == 0 {
				s = s.fork(out)
			}
		}
		s.close()
		if want := cleanText(whole.String()); string(out.text) != want {
			t.Fatalf("%q: %q, want %q", whole.String(), out.text, want)
		}
	}
	// of transformers 4.57.6 and 5.24.0
	const text, want = "it 's a cat , and i do n't know . ' yes ' he said ! we 've  ' s", "it's a cat, and i don't know.'yes'he said! we've's"
	if got := cleanText(text); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
