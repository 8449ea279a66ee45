package pipeline

import (
	"context"
	"fmt"
	"image"
	"slices"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
)

// regionEncoderRole is the graph that makes features of cut-out regions.
const regionEncoderRole = "region_encoder"

// gridSide is how many cells a side stand for things where none is found.
const gridSide = 3

// regionEncoder makes a picture's regions for a model whose bundle can: the picture
// as a whole, which attention falls back on where nothing fits, and what stands in
// it.
type regionEncoder struct {
	session engine.Session
	margin  float64 // about a box, of its longer side
	most    int     // regions, the whole picture included
}

func openRegionEncoder(graphs *graphOpener) (*regionEncoder, error) {
	if !graphs.bundle.Has(regionEncoderRole) {
		return nil, nil
	}
	e := &regionEncoder{most: graphs.bundle.Limits["regions"]}
	if e.most < 2 {
		return nil, fmt.Errorf("%w: a %s needs limits.regions, 2 at least", ErrBundle, regionEncoderRole)
	}
	var manifest struct {
		Margin float64 `json:"region_margin"`
	}
	err := graphs.bundle.JSON(models.ManifestName, &manifest)
	if err != nil {
		return nil, err
	}
	if e.margin = manifest.Margin; !(e.margin >= 0 && e.margin <= 1) {
		return nil, fmt.Errorf("%w: region_margin is %v, not in [0,1]", ErrBundle, e.margin)
	}
	e.session, err = graphs.open(regionEncoderRole)
	return e, err
}

// Regions makes the regions of a picture with the model's own encoder, for
// Request.Regions: the picture as a whole, then the boxes, in pixels of img as its
// Bounds count them. Without boxes it looks for things on a plain ground
// (vision.PlainObjects), and takes the cells of a 3x3 grid where it finds none; on a
// photograph a detector's boxes are better. A request that has an Image and no
// Regions gets what Regions gives without boxes. A model whose bundle has no region
// encoder gives ErrUnsupported.
func (p *Pipeline) Regions(ctx context.Context, img image.Image, boxes ...image.Rectangle) (regions *Regions, err error) {
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	return p.regions(ctx, img, boxes)
}

func (p *Pipeline) regions(ctx context.Context, img image.Image, boxes []image.Rectangle) (*Regions, error) {
	m, ok := p.model.(*lxmert)
	if !ok || m.regions == nil {
		return nil, p.unsupported("find a picture's regions itself")
	}
	if err := p.checkPicture(img); err != nil {
		return nil, err
	}
	whole := vision.FromImage(img)
	origin := img.Bounds().Min
	if len(boxes)+1 > m.regions.most && boxes != nil {
		return nil, fmt.Errorf("%w: %w: %d boxes, the model takes %d", ErrRegions, ErrLimit, len(boxes), m.regions.most-1)
	}
	if len(boxes) == 0 {
		var err error
		if boxes, err = vision.PlainObjects(ctx, whole, m.regions.most-1); err != nil {
			return nil, err
		}
		if len(boxes) == 0 {
			boxes = gridBoxes(whole.Width, whole.Height, min(gridSide*gridSide, m.regions.most-1))
		}
		origin = image.Point{}
	}
	pictures, corners := []image.Image{whole}, []float32{0, 0, float32(whole.Width), float32(whole.Height)}
	for i, b := range boxes {
		b = b.Sub(origin)
		crop, err := vision.CropSquare(whole, b, m.regions.margin)
		if err != nil {
			return nil, fmt.Errorf("%w: box %d: %w", ErrRegions, i+1, err)
		}
		b = b.Intersect(whole.Bounds())
		pictures = append(pictures, crop)
		corners = append(corners, float32(b.Min.X), float32(b.Min.Y), float32(b.Max.X), float32(b.Max.Y))
	}
	pixels, err := p.preprocess(ctx, pictures...)
	if err != nil {
		return nil, err
	}
	features, err := runVision(ctx, m.regions.session, pixels, "visual_feats", len(pictures), -1)
	if err != nil {
		return nil, err
	}
	at, err := tensor.New([]int{len(pictures), 4}, corners)
	if err != nil {
		return nil, err
	}
	return NewRegions(features, at, float64(whole.Width), float64(whole.Height))
}

// gridBoxes are the first n cells of a grid over a picture, row by row; cells
// without a pixel are left out.
func gridBoxes(w, h, n int) (boxes []image.Rectangle) {
	for i := range n {
		x, y := i%gridSide, i/gridSide
		if b := image.Rect(x*w/gridSide, y*h/gridSide, (x+1)*w/gridSide, (y+1)*h/gridSide); !b.Empty() {
			boxes = append(boxes, b)
		}
	}
	return boxes
}

// withRegions fills in the regions of requests that have a picture alone.
func (p *Pipeline) withRegions(ctx context.Context, requests []Request) ([]Request, error) {
	filled := make([]Request, len(requests))
	for i, r := range requests {
		switch {
		case r.Regions != nil:
		case r.Image != nil && p.images != nil:
			before := slices.IndexFunc(requests[:i], func(o Request) bool { return o.Regions == nil && sameImage(r.Image, o.Image) })
			if before >= 0 {
				r.Regions = filled[before].Regions
				break
			}
			var err error
			if r.Regions, err = p.regions(ctx, r.Image, nil); err != nil {
				return nil, fmt.Errorf("request %d: %w", i+1, err)
			}
		default:
			return nil, fmt.Errorf("%w: model %s sees regions, and request %d has none; give a file of them (--regions)", ErrRegions, p.bundle.Name, i+1)
		}
		if err := r.Regions.check(); err != nil {
			return nil, fmt.Errorf("request %d: %w", i+1, err)
		}
		filled[i] = r
	}
	return filled, nil
}
