package family

import (
	"context"
	"fmt"
	"slices"

	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// tower is one of the two encoders.
type tower struct {
	graph      *graph.Graph
	output     string
	projection *graph.Projection // nil where the output is in the common space already
	// rest are placeholders for the other tower's inputs, where both are in one graph.
	rest map[string]*tensor.Tensor
}

// What transformers and transformers.js call a tower's input and its embedding; Jina-CLIP's graphs
// have the second name for that.
var (
	imageNames = towerNames{graph.PixelValues, []string{graph.ImageEmbeds, "image_embeddings"}}
	soundNames = towerNames{graph.InputFeatures, []string{"audio_embeds"}}
	textNames  = towerNames{graph.InputIDs, []string{textEmbeds, "text_embeddings"}}
)

type towerNames struct {
	input  string
	embeds []string
}

// openTower opens the graph of a role, or takes the whole model where the role has none of its
// own.
func (m *dualEncoder) openTower(
	o *graph.Opener, t *tower, role string, names towerNames, whole *graph.Graph,
) error {
	t.graph = whole
	if whole == nil || o.Bundle.Has(role) {
		var err error
		if t.graph, err = o.Open(role); err != nil {
			return err
		}
	}
	if err := nameInput(t.graph, names.input); err != nil {
		return err
	}
	// States before the projection cannot be compared. SigLIP has no projection for pictures, and
	// the one for texts is inside graphs whose output has transformers' name.
	outputs := names.embeds
	if t.projection != nil || m.sigmoid && t == &m.item {
		outputs = append(slices.Clone(outputs), graph.PooledOutput)
	}
	if t.projection != nil || m.sigmoid {
		outputs = append(slices.Clone(outputs), poolerOutput)
	}
	for _, name := range outputs {
		if t.graph.HasOutput(name) {
			if t.output = name; slices.Contains(names.embeds, name) {
				t.projection = nil
			}
			return nil
		}
	}
	if t.graph != whole {
		if t.output = onlyVector(t.graph); t.output != "" {
			t.projection = nil
			return nil
		}
	}
	return fmt.Errorf("%w: the graph of %s gives none of %v and nothing else that is one vector a "+
		"row, and nothing projects what it gives: %v",
		graph.ErrBundle, role, outputs, t.graph.Outputs())
}

const poolerOutput = "pooler_output"

// nameInput gives the input for pixels or ids its usual name. Other tools have others, such as
// open_clip's image and text: it is the only one of floats, or of integers, that is no mask.
func nameInput(g *graph.Graph, usual string) error {
	if g.HasInput(usual) {
		return nil
	}
	var fit []string
	for _, in := range g.Inputs() {
		isFloat := in.DType != tensor.Int64 && in.DType != tensor.Int32
		if isFloat == (usual != graph.InputIDs) && in.Name != graph.AttentionMask {
			fit = append(fit, in.Name)
		}
	}
	if len(fit) != 1 {
		return fmt.Errorf("%w: the graph %s has no input %q, and which of its inputs is meant is "+
			"not clear: %v", graph.ErrBundle, g.Role, usual, g.Inputs())
	}
	g.Rename(map[string]string{fit[0]: usual})
	return nil
}

// onlyVector returns the name of the one output that is [B,E], whatever it is called; "" where
// there is none, or several, or where it is transformers' name for a state before the projection.
func onlyVector(g *graph.Graph) string {
	var name string
	outputs := g.Outputs()
	for _, out := range outputs {
		unknown := out.Shape == nil && len(outputs) == 1
		if len(out.Shape) != 2 && !unknown {
			continue
		}
		if name != "" || out.Name == poolerOutput || out.Name == graph.PooledOutput {
			return ""
		}
		name = out.Name
	}
	return name
}

// embed returns L2-normalised rows [B,E] for an input of B rows.
func (t *tower) embed(
	ctx context.Context, rows int, given map[string]*tensor.Tensor,
) (*tensor.Tensor, error) {
	in, err := t.graph.Feed(given, t.rest)
	if err != nil {
		return nil, err
	}
	pooled, err := t.graph.RunOne(ctx, in, t.output, rows, -1)
	if err != nil {
		return nil, err
	}
	if t.projection != nil {
		if pooled, err = t.projection.Apply(ctx, pooled); err != nil {
			return nil, err
		}
	}
	return graph.Normalized(pooled)
}
