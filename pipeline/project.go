package pipeline

import (
	"context"
	"fmt"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/tensor"
)

// projection is a linear map between the widths of two modalities:
// y = x Wᵀ + b, with W [out,in] and b [out] as PyTorch's nn.Linear has them.
type projection struct {
	weight, bias []float32 // bias is nil where the layer has none
	in, out      int
}

// loadProjection takes name.weight and, where it is there, name.bias.
func loadProjection(w models.Weights, name string) (*projection, error) {
	weight, err := w.Need(name+".weight", -1, -1)
	if err != nil {
		return nil, err
	}
	if weight.Len() == 0 {
		return nil, fmt.Errorf("%w: the projection's %s.weight is empty: %v", ErrBundle, name, weight)
	}
	p := &projection{weight: tensor.Data[float32](weight), out: weight.Dim(0), in: weight.Dim(1)}
	if w[name+".bias"] != nil {
		bias, err := w.Need(name+".bias", p.out)
		if err != nil {
			return nil, err
		}
		p.bias = tensor.Data[float32](bias)
	}
	return p, nil
}

// apply maps x [...,in] to [...,out].
func (p *projection) apply(ctx context.Context, x *tensor.Tensor) (*tensor.Tensor, error) {
	if x.Rank() == 0 || x.Dim(-1) != p.in {
		return nil, fmt.Errorf("%w: the projection takes rows of %d, the graph before it gives %v", ErrBundle, p.in, x)
	}
	src, err := tensor.Values[float32](x)
	if err != nil {
		return nil, fmt.Errorf("%w: projection: %w", ErrBundle, err)
	}
	rows := len(src) / p.in
	dst := make([]float32, rows*p.out)
	for r := range rows {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		row := src[r*p.in : (r+1)*p.in]
		for o := range p.out {
			w := p.weight[o*p.in : (o+1)*p.in]
			var sum float32
			for i, v := range row {
				sum += v * w[i]
			}
			if p.bias != nil {
				sum += p.bias[o]
			}
			dst[r*p.out+o] = sum
		}
	}
	shape := append([]int{}, x.Shape()...)
	shape[len(shape)-1] = p.out
	return tensor.New(shape, dst)
}
