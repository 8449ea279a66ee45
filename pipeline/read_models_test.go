package pipeline_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/vision"
)

// Models that write pages down read them; others say what they do.
func TestReadByOtherModels(t *testing.T) {
	t.Parallel()
	img := vision.NewRGB(60, 40)
	for path, reads := range map[string]bool{
		"layouts/florence2-transformersjs": true, "layouts/docling-transformersjs": true, "layouts/smolvlm-transformersjs": false,
		"layouts/trocr-optimum": false, "layouts/donut-transformersjs": false, "families/pix2struct/bundle": false,
	} {
		p, err := pipeline.Open(t.Context(), "../testdata/"+path)
		if err != nil {
			t.Error(err)
			continue
		}
		defer p.Close()
		page, err := p.Read(t.Context(), img)
		switch {
		case p.Abilities().Read != reads:
			t.Errorf("%s: abilities %+v", path, p.Abilities())
		case reads && (err != nil || page.Width != 60 || page.Height != 40):
			t.Errorf("%s: %+v, %v", path, page, err)
		case !reads && (!errors.Is(err, pipeline.ErrUnsupported) || !strings.Contains(err.Error(), "caption")):
			t.Errorf("%s: %v", path, err)
		}
	}
}
