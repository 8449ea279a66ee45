//go:build slow

package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/crossattn/xpipe/engine"
)

// SmolLM2-135M-Instruct, which make smollm2 puts under build/, writes PyTorch's ids after ten prompts,
// alone and in a batch.
func TestSmolLM2(t *testing.T) {
	dir := filepath.Join("..", "build", "smollm2")
	if _, err := os.Stat(filepath.Join(dir, "golden.json")); errors.Is(err, fs.ErrNotExist) {
		t.Skip("make smollm2 makes the model")
	}
	g := decoderGoldenOf(t, dir)
	short := func(g *Generation) { g.MaxNewTokens = 24 }
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		p, err := Open(t.Context(), dir, WithEngine(eng))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		var requests []Request
		for i, row := range g.Rows {
			requests = append(requests, row.request(t))
			got, err := p.Generate(t.Context(), requests[i:i+1], short)
			if err != nil {
				t.Fatal(err)
			}
			sameIDs(t, fmt.Sprint("row ", i), got[0][0], row.IDs)
		}
		got, err := p.Generate(t.Context(), requests, short)
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range g.Rows {
			sameIDs(t, fmt.Sprint("row of a batch ", i), got[i][0], row.IDs)
		}
	})
}
