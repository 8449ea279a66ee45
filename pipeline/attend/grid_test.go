package attend

import (
	"errors"
	"image"
	"math"
	"testing"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/graph"
)

// Coarse cells spread over the finest grid by area, and lose nothing.
func TestPlaces(t *testing.T) {
	t.Parallel()
	m := make([]float64, 6)
	if got := (cell{0, 0, 1, 2}).spread(m, 2, 3, 1); got != 1 {
		t.Error(got)
	}
	for i, want := range []float64{1.0 / 3, 1.0 / 6, 0, 1.0 / 3, 1.0 / 6, 0} {
		if math.Abs(m[i]-want) > 1e-12 {
			t.Errorf("spread as %v", m)
			break
		}
	}
	if got := (cell{}).spread(m, 2, 3, 1); got != 0 {
		t.Error("a token without a place lies somewhere")
	}
	var a Attention
	bundle, err := models.Open("../../testdata/families/blip2-opt/bundle")
	if err != nil {
		t.Fatal(err)
	}
	defer bundle.Close()
	for n, want := range map[int][3]int{16: {4, 4, 0}, 17: {4, 4, 1}, 257: {16, 16, 1}} {
		a = Attention{}
		if err := a.SetGrids(bundle, n, image.Point{}); err != nil {
			t.Fatal(err)
		}
		if a.rows != want[0] || a.cols != want[1] || len(a.columns) != n || a.columns[want[2]].rows == 0 || want[2] == 1 && a.columns[0].rows != 0 {
			t.Errorf("%d tokens are a grid of %dx%d", n, a.rows, a.cols)
		}
	}
	if err := (&Attention{}).SetGrids(bundle, 12, image.Point{}); !errors.Is(err, graph.ErrBundle) {
		t.Error(err)
	}
}
