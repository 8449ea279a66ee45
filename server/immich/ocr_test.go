package immich

import (
	"slices"
	"testing"

	"github.com/crossattn/xpipe/pipeline"
)

// The detector's score bounds lines, too.
func TestLinesOf(t *testing.T) {
	t.Parallel()
	page := &pipeline.Page{Lines: []pipeline.Line{{Text: "a", Detected: 0.4}, {Text: "b", Detected: 0.6}}}
	half, one := 0.5, 1.0
	for _, c := range []struct {
		least *float64
		want  []string
	}{{nil, []string{"a", "b"}}, {&half, []string{"b"}}, {&one, []string{}}} {
		if got := linesOf(page, c.least); !slices.Equal(got.Text, c.want) || got.Box == nil || len(got.Box) != 8*len(c.want) {
			t.Errorf("%+v", got)
		}
	}
}
