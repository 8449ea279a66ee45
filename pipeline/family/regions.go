package family

import (
	"context"
	"fmt"
	"image"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
)

// gridSide is the number of rows and columns of the grid whose cells replace objects where none is
// found.
const gridSide = 3

// regionEncoder makes a picture's regions for a model whose bundle has the graph: the picture as a
// whole, which attention goes to where no other region fits, and the objects in it.
type regionEncoder struct {
	graph  *graph.Graph
	margin float64 // around a box, as a share of its longer side
	most   int     // regions, the whole picture included
}

// openRegionEncoder returns nil where the bundle has none.
func openRegionEncoder(o *graph.Opener, c *Config) (*regionEncoder, error) {
	if !o.Bundle.Has(graph.RegionEncoder) {
		return nil, nil
	}
	e := &regionEncoder{most: o.Bundle.Limits["regions"]}
	if e.most < 2 {
		return nil, fmt.Errorf("%w: a %s needs limits.regions, 2 at least",
			graph.ErrBundle, graph.RegionEncoder)
	}
	var manifest struct {
		Margin float64 `json:"region_margin"`
	}
	err := o.Bundle.JSON(models.ManifestName, &manifest)
	if err != nil {
		return nil, err
	}
	if e.margin = manifest.Margin; !(e.margin >= 0 && e.margin <= 1) {
		return nil, fmt.Errorf("%w: region_margin is %v, not in [0,1]", graph.ErrBundle, e.margin)
	}
	e.graph, err = o.Open(graph.RegionEncoder)
	return e, err
}

// FindsRegions reports whether the bundle has a region encoder.
func (m *lxmert) FindsRegions() bool { return m.regions != nil }

// Regions encodes the picture as a whole, then the boxes, in pixels of img as its Bounds count
// them. Without boxes it takes objects on a plain ground and, where it finds none, the cells of a
// grid.
func (m *lxmert) Regions(
	ctx context.Context, img image.Image, boxes []image.Rectangle,
	prepare func(context.Context, []media.Item) (media.Prepared, error),
) (*vision.Regions, error) {
	e := m.regions
	whole := vision.FromImage(img)
	origin := img.Bounds().Min
	if len(boxes)+1 > e.most && boxes != nil {
		tooMany := fmt.Sprintf("%d boxes, the model takes %d", len(boxes), e.most-1)
		return nil, fmt.Errorf("%w: %w", vision.ErrRegions, &media.LimitError{Text: tooMany})
	}
	if len(boxes) == 0 {
		var err error
		if boxes, err = vision.PlainObjects(ctx, whole, e.most-1); err != nil {
			return nil, err
		}
		if len(boxes) == 0 {
			boxes = vision.Grid(whole.Width, whole.Height, gridSide, gridSide)
			boxes = boxes[:min(len(boxes), e.most-1)]
		}
		origin = image.Point{}
	}
	pictures := []media.Item{media.Picture{Image: whole}}
	corners := []float32{0, 0, float32(whole.Width), float32(whole.Height)}
	for i, b := range boxes {
		b = b.Sub(origin)
		crop, err := vision.CropSquare(whole, b, e.margin)
		if err != nil {
			return nil, fmt.Errorf("%w: box %d: %w", vision.ErrRegions, i+1, err)
		}
		b = b.Intersect(whole.Bounds())
		pictures = append(pictures, media.Picture{Image: crop})
		corners = append(corners,
			float32(b.Min.X), float32(b.Min.Y), float32(b.Max.X), float32(b.Max.Y))
	}
	prepared, err := prepare(ctx, pictures)
	if err != nil {
		return nil, err
	}
	features, err := e.graph.RunPrepared(ctx, prepared.Tensors, graph.VisualFeats,
		len(pictures), -1)
	if err != nil {
		return nil, err
	}
	at, err := tensor.New([]int{len(pictures), 4}, corners)
	if err != nil {
		return nil, err
	}
	return vision.NewRegions(features, at, float64(whole.Width), float64(whole.Height))
}
