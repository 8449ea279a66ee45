package family

import (
	"errors"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/attend"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/tokenize"
	"github.com/crossattn/xpipe/vision"
)

// openMini opens an embedded model without a Pipeline around it, from its files: so the test does
// not link all of them.
func openMini(t *testing.T, name string) Model {
	t.Helper()
	bundle, err := models.Open("../../models/mini/"+name, Families.Known())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bundle.Close() })
	data, err := bundle.File("tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	tokenizer, err := tokenize.New(data)
	if err != nil {
		t.Fatal(err)
	}
	row, err := Families.Find(bundle.Family)
	if err != nil {
		t.Fatal(err)
	}
	o := graph.NewOpener(t.Context(), bundle, fallback.New(), engine.Options{})
	t.Cleanup(func() { o.Close() })
	m, err := row.Open(o, &Config{
		Texts: Texts{Tokenizer: tokenizer, MaxTokens: 100},
		Preparer: func(media.Kind) (media.Preparer, error) {
			data, err := bundle.File("preprocessor_config.json")
			if err != nil {
				return nil, err
			}
			return vision.ParseConfig(data)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// What an encoder says of its tokens and cells is checked before it is believed.
func TestAttendOddStates(t *testing.T) {
	t.Parallel()
	m := openMini(t, "clip-mini").(*clip)
	state := func(shape ...int) attend.Layer {
		return attend.Layer{Tensor: tensor.Must(tensor.Zeros(tensor.Float32, shape...))}
	}
	a := &attend.Attention{Tokens: []string{"apple"}}
	if err := m.activation(t.Context(), a, state(1, 49, 1280), state(1, 1280)); err != nil || len(a.Stages) != 1 {
		t.Error("cells that hold nothing:", err)
	}
	negative := state(1, 49, 1280)
	tensor.Data[float32](negative.Tensor)[77] = -1
	for name, bad := range map[string][2]attend.Layer{
		"a transformer's states": {negative, state(1, 1280)},
		"another width":          {state(1, 49, 8), state(1, 8)},
		"no picture":             {state(0, 49, 1280), state(0, 1280)},
		"pooled otherwise":       {state(1, 49, 1280), state(1, 64)},
	} {
		if err := m.activation(t.Context(), a, bad[0], bad[1]); !errors.Is(err, graph.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := passedBeside(state(1, 1, 2, 3).Tensor, 2); err != nil {
		t.Error(err)
	}
}
