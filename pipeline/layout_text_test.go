package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/crossattn/xpipe/engine"
)

// textsDir holds language models of several types and cuts, made by
// python -m xpipe_export.golden.texts. XPIPE_TEXT_LAYOUTS names a folder with more of them.
const textsDir = "../testdata/texts"

// Language models in the cuts of other tools write PyTorch's ids: greedily, one at a time and in a
// batch of unequal lengths, and with beams.
func TestTextLayouts(t *testing.T) {
	t.Parallel()
	folders := []string{textsDir}
	if more := os.Getenv("XPIPE_TEXT_LAYOUTS"); more != "" {
		folders = append(folders, more)
	}
	for _, folder := range folders {
		dirs, err := filepath.Glob(filepath.Join(folder, "*", "golden.json"))
		if err != nil || len(dirs) == 0 {
			t.Fatal("no models in", folder, err)
		}
		for _, file := range dirs {
			dir := filepath.Dir(file)
			t.Run(filepath.Base(dir), func(t *testing.T) {
				g := decoderGoldenOf(t, dir)
				eachEngine(t, func(t *testing.T, eng engine.Engine) { writesTexts(t, eng, dir, g.Rows) })
			})
		}
	}
}

func writesTexts(t *testing.T, eng engine.Engine, dir string, rows []decoderRow) {
	p, err := Open(t.Context(), dir, WithEngine(eng))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	greedy := func(g *Generation) { g.MaxNewTokens = 12 }
	beams := func(g *Generation) { g.MaxNewTokens, g.NumBeams = 8, 3 }
	var requests []Request
	for i, row := range rows {
		requests = append(requests, row.request(t))
		got, err := p.Generate(t.Context(), requests[i:i+1], greedy)
		if err != nil {
			t.Fatal(err)
		}
		sameIDs(t, fmt.Sprint("row ", i), got[0][0], row.IDs)
		if row.BeamIDs == nil {
			continue
		}
		if got, err = p.Generate(t.Context(), requests[i:i+1], beams); err != nil {
			t.Fatal(err)
		}
		sameIDs(t, fmt.Sprint("beams, row ", i), got[0][0], row.BeamIDs)
	}
	got, err := p.Generate(t.Context(), requests, greedy)
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range rows {
		sameIDs(t, fmt.Sprint("row of a batch ", i), got[i][0], row.IDs)
	}
}
