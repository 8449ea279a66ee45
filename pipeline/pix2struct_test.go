package pipeline

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// Pictures of several numbers of patches are encoded side by side; each gives the states of its own
// patches, and its caption is that of transformers.
func TestPix2StructPatches(t *testing.T) {
	t.Parallel()
	g := loadGolden(t, "pix2struct")
	var more struct {
		Captions [][]int64 `json:"captions"` // without a text to go on from
	}
	data, err := os.ReadFile(filepath.Join(g.dir, "golden.json"))
	if err == nil {
		err = json.Unmarshal(data, &more)
	}
	if err != nil {
		t.Fatal(err)
	}
	states, mask := g.array(t, "image_embeds"), g.array(t, "attention_mask")
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		p := sharedGolden(t, g, eng)
		var items []media.Item
		var requests []Request
		for _, row := range g.Rows {
			img := loadImage(t, filepath.Join(g.dir, row.Image))
			items, requests = append(items, media.Picture{Image: img}), append(requests, Request{Image: img})
		}
		encoded, err := p.Encode(t.Context(), items...)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range encoded {
			own, err := states.Slice(i, i+1)
			if err != nil {
				t.Fatal(err)
			}
			n, width := 0, states.Dim(2)
			for _, there := range tensor.Data[float32](mask)[i*mask.Dim(1):][:mask.Dim(1)] {
				n += int(there)
			}
			want := tensor.Must(tensor.New([]int{1, n, width}, own.Float32s()[:n*width]))
			compare(t, "states", e.states.States, want, 1e-4)
		}
		texts, err := p.Generate(t.Context(), requests, unbounded(g.Greedy.MaxNewTokens))
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range more.Captions {
			sameIDs(t, fmt.Sprint(i), texts[i][0], want)
			alone, err := p.Caption(t.Context(), requests[i].Image, unbounded(g.Greedy.MaxNewTokens))
			if err != nil {
				t.Fatal(err)
			}
			sameIDs(t, fmt.Sprint(i, " alone"), alone, want)
		}
	})
}
