package decode

import (
	"context"
	"errors"
	"testing"
	"testing/fstest"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/graph"
)

// max_new_tokens counts new ids and goes before max_length, which counts the prompt's, too, unless it
// is transformers 4's default of 20.
func TestLengths(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		config     string
		new, whole int
	}{
		{`{}`, 20, 0}, {`{"max_length":20}`, 20, 0}, {`{"max_length":24}`, 0, 24},
		{`{"max_new_tokens":7,"max_length":24}`, 7, 0}, {`{"max_new_tokens":7}`, 7, 0},
		{`{"max_new_tokens":null,"max_length":9}`, 0, 9},
		{`{"max_length":20,"transformers_version":"4.57.6"}`, 20, 0},
		{`{"max_length":20,"transformers_version":"5.24.0"}`, 0, 20},
		{`{"transformers_version":"5.24.0"}`, 20, 0}, {`{"max_length":20,"transformers_version":5}`, 20, 0},
	} {
		files := fstest.MapFS{
			"generation_config.json": {Data: []byte(c.config)},
			"xpipe.json":             {Data: []byte(`{"format":1,"family":"clip","graphs":{"a":"a.onnx"}}`)},
		}
		bundle, err := models.OpenFS(files, models.WithoutVerification())
		if err != nil {
			t.Fatal(err)
		}
		g, err := LoadOptions(bundle)
		if err != nil || g.MaxNewTokens != c.new || g.MaxLength != c.whole {
			t.Errorf("%s: %d new, %d in all, %v; want %d, %d", c.config, g.MaxNewTokens, g.MaxLength, err, c.new, c.whole)
		}
	}

	// In a batch each prompt has what it leaves; end ids are forced there.
	end := int64(2)
	for _, beams := range []int{1, 3} {
		g := plain()
		g.MaxNewTokens, g.MaxLength, g.EOS, g.NumBeams = 0, 7, []int64{end}, beams
		g.BadWordsIDs = [][]int64{{1, end}, {5, end}}
		for _, forced := range []*int64{nil, &end} {
			g.ForcedEOS = forced
			got := runSearch(t, newToy(12, 100, []int64{3}, []int64{3, 4, 5}), g)
			for i, most := range []int{6, 4} {
				n := len(got[i].IDs)
				if got[i].End != nil {
					n++
				}
				if n > most || forced != nil && got[i].End == nil {
					t.Errorf("%d beams, forced %v, prompt %d: %v, end %v", beams, forced != nil, i, got[i].IDs, got[i].End)
				}
			}
		}
		s := Search{Options: g, Tokenizer: letters(t)}
		long := []int64{1, 2, 3, 4, 5, 6, 7}
		if _, err := s.Run(context.Background(), newToy(12, 100, long)); !errors.Is(err, graph.ErrPrompt) {
			t.Errorf("a prompt of max_length: %v", err)
		}
		s.MostTokens = 2
		if got, err := s.Run(context.Background(), newToy(12, 100, []int64{3})); err != nil || len(got[0].IDs) > 2 {
			t.Errorf("bounded by 2: %v, %v", got, err)
		}
	}
	g := plain()
	if g.MaxNewTokens, g.MaxLength = 0, -1; !errors.Is(g.Check(), graph.ErrOption) {
		t.Error("no length at all is taken")
	}
}
