package pipeline

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/engine"
)

// Moonshine writes PyTorch's ids of sounds of several lengths, alone and together, greedily and with
// beams. python -m xpipe_export.golden.moonshine_layout makes the folder.
func TestMoonshine(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(layoutsDir, "moonshine-transformersjs")
	var golden struct {
		New   int `json:"max_new_tokens"`
		Beams int `json:"num_beams"`
		Rows  []struct {
			Samples [2]int  `json:"samples"`
			IDs     []int64 `json:"ids"`
			BeamIDs []int64 `json:"beam_ids"`
		} `json:"rows"`
	}
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err == nil {
		err = json.Unmarshal(data, &golden)
	}
	if err != nil {
		t.Fatal(err)
	}
	whole, err := audio.DecodeFile(t.Context(), "../testdata/audio/16.wav", audio.WithoutFFmpeg())
	if err != nil {
		t.Fatal(err)
	}
	stretch := func(from, to int) Request {
		return Request{Item: &audio.Sound{Rate: whole.Rate, Samples: whole.Samples[from:to]}}
	}
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		p, err := Open(t.Context(), dir, WithEngine(eng))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		greedy := func(g *Generation) { g.MaxNewTokens = golden.New }
		beams := func(g *Generation) { g.MaxNewTokens, g.NumBeams = golden.New, golden.Beams }
		var requests []Request
		for _, row := range golden.Rows {
			requests = append(requests, stretch(row.Samples[0], row.Samples[1]))
		}
		for name, options := range map[string]func(*Generation){"greedy": greedy, "beams": beams} {
			together, err := p.Generate(t.Context(), requests, options)
			if err != nil {
				t.Fatal(err)
			}
			for i, row := range golden.Rows {
				want := row.IDs
				if name == "beams" {
					want = row.BeamIDs
				}
				alone, err := p.Generate(t.Context(), requests[i:i+1], options)
				if err != nil {
					t.Fatal(err)
				}
				sameIDs(t, name, alone[0][0], want)
				sameIDs(t, name+", together", together[i][0], want)
			}
		}
		if _, err := p.Generate(t.Context(), []Request{stretch(0, 800)}); !errors.Is(err, ErrPrompt) || !strings.Contains(err.Error(), "895") {
			t.Errorf("a sound that is too short: %v", err)
		}
		other := Request{Item: &audio.Sound{Rate: 8000, Samples: whole.Samples}}
		if _, err := p.Generate(t.Context(), []Request{other}); !errors.Is(err, ErrSound) {
			t.Errorf("a sound of another rate: %v", err)
		}
	})
}
