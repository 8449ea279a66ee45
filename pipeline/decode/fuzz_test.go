package decode

import (
	"errors"
	"testing"
	"testing/fstest"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/graph"
)

func FuzzGenerationConfig(f *testing.F) {
	f.Add([]byte(`{"eos_token_id":[1,2],"num_beams":4,"early_stopping":"never","bad_words_ids":[[1]],"max_length":20}`))
	f.Add([]byte(`{"max_new_tokens":1e30,"temperature":null}`))
	bundle := func(data []byte) *models.Bundle {
		b, err := models.OpenFS(fstest.MapFS{
			"xpipe.json":             {Data: []byte(`{"format":1,"family":"clip","graphs":{"a":"a.onnx"}}`)},
			"generation_config.json": {Data: data},
		})
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := LoadOptions(bundle(data))
		if err == nil {
			err = g.Check()
		}
		switch {
		case err == nil: // what passes can process scores
			scores := []float32{1, 2, 3, 4}
			for _, process := range append(g.processors(), g.samplers()...) {
				process([]int64{0, 1, 2, 3, 1 << 40, -1}, 2, scores)
			}
		case !errors.Is(err, graph.ErrBundle) && !errors.Is(err, graph.ErrOption):
			t.Error(err)
		}
	})
}
