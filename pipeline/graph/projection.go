package graph

import (
	"context"
	"fmt"
	"slices"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/tensor"
)

// Projection is a linear map between the widths of two modalities: y = x Wᵀ + b, with W [out,in]
// and b [out] as PyTorch's nn.Linear has them. It runs on the kernels, over all cores.
type Projection struct {
	Weight  []float32 // [Out,In]
	In, Out int

	linear *kernel.Linear
}

// LoadProjection makes a Projection of the weights name.weight [out,in] and, where the bundle has
// it, name.bias [out]. Errors wrap ErrBundle.
func LoadProjection(w models.Weights, name string) (*Projection, error) {
	weight, err := w.Need(name+".weight", -1, -1)
	if err != nil {
		return nil, err
	}
	if weight.Len() == 0 {
		return nil, fmt.Errorf("%w: the projection's %s.weight is empty: %v",
			ErrBundle, name, weight)
	}
	p := &Projection{Weight: tensor.Data[float32](weight), Out: weight.Dim(0), In: weight.Dim(1)}
	var offsets []float32 // none where the layer has none
	if w[name+".bias"] != nil {
		bias, err := w.Need(name+".bias", p.Out)
		if err != nil {
			return nil, err
		}
		offsets = tensor.Data[float32](bias)
	}
	p.linear, err = kernel.NewLinear(p.Weight, offsets, p.In, p.Out)
	return p, err
}

// Apply maps x [...,in] float32 to [...,out]. Errors wrap ErrBundle or ctx.Err().
func (p *Projection) Apply(ctx context.Context, x *tensor.Tensor) (*tensor.Tensor, error) {
	if x.Rank() == 0 || x.Dim(-1) != p.In {
		return nil, fmt.Errorf("%w: the projection takes rows of %d, the graph before it gives %v",
			ErrBundle, p.In, x)
	}
	src, err := tensor.Values[float32](x)
	if err != nil {
		return nil, fmt.Errorf("%w: projection: %w", ErrBundle, err)
	}
	rows := len(src) / p.In
	dst := make([]float32, rows*p.Out)
	if err := p.linear.Apply(ctx, dst, src, rows, 0); err != nil {
		return nil, err
	}
	shape := slices.Clone(x.Shape())
	shape[len(shape)-1] = p.Out
	return tensor.New(shape, dst)
}
