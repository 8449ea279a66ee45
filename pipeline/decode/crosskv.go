package decode

import (
	"context"
	"fmt"
	"strings"

	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// CrossKV is a graph that makes the keys and values of a decoder's cross-attention, once for all
// steps: present.{i}.encoder.key and .value, [B,heads,S,dim].
type CrossKV struct {
	graph   *graph.Graph
	outputs []string
}

// OpenCrossKV opens the graph of a role that gives a cross-attention cache; without such outputs
// the error wraps graph.ErrBundle.
func OpenCrossKV(o *graph.Opener, role string) (*CrossKV, error) {
	g, err := o.Open(role)
	if err != nil {
		return nil, err
	}
	c := &CrossKV{graph: g}
	for _, out := range g.Outputs() {
		present := strings.HasPrefix(out.Name, graph.PresentPrefix)
		if present && strings.Contains(out.Name, graph.CrossInfix) {
			c.outputs = append(c.outputs, out.Name)
		}
	}
	if len(c.outputs) == 0 {
		return nil, fmt.Errorf(
			"%w: the graph beside the decoder gives no cross-attention cache %s*%s*",
			graph.ErrBundle, graph.PresentPrefix, graph.CrossInfix)
	}
	return c, nil
}

// Run returns a decoder's constants: the cross-attention cache under the decoder's input names and,
// where mask is not nil, the mask [B,S] over its columns.
func (c *CrossKV) Run(
	ctx context.Context, in map[string]*tensor.Tensor, mask *tensor.Tensor,
) (map[string]*tensor.Tensor, error) {
	out, err := c.graph.Run(ctx, in, c.outputs...)
	if err != nil {
		return nil, err
	}
	fixed := make(map[string]*tensor.Tensor, len(out)+1)
	for name, t := range out {
		fixed[graph.PastPrefix+strings.TrimPrefix(name, graph.PresentPrefix)] = t
	}
	if mask != nil {
		fixed[graph.EncoderMask] = mask
	}
	return fixed, nil
}

// BeginFrom starts rows sequences from one token, with constants of as many rows. Errors are those
// of Begin.
func (d *Decoder) BeginFrom(
	ctx context.Context, start int64, rows int, fixed map[string]*tensor.Tensor,
) (Sequences, error) {
	embeds, width, err := d.Embed(ctx, []int64{start})
	if err != nil {
		return nil, err
	}
	prompts := make([]Prompt, rows)
	for i := range prompts {
		prompts[i] = Prompt{IDs: []int64{start}, Embeds: embeds}
	}
	return d.Begin(Start{Prompts: prompts, Width: width, Fixed: fixed})
}

// PadRight joins prompts of different lengths to embeddings [B,S,D], padded on the right, with the
// mask [B,S] of their positions.
func PadRight(prompts []Prompt, width int) (embeds, mask *tensor.Tensor, err error) {
	lengths := make([]int, len(prompts))
	longest := 0
	for i := range prompts {
		lengths[i] = prompts[i].length(width)
		longest = max(longest, lengths[i])
	}
	values := make([]float32, len(prompts)*longest*width)
	for i := range prompts {
		prompts[i].copyTo(values[i*longest*width:])
	}
	if embeds, err = tensor.New([]int{len(prompts), longest, width}, values); err != nil {
		return nil, nil, err
	}
	mask, err = graph.Mask(lengths, longest)
	return embeds, mask, err
}
