package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/tensor"
)

// GraphSpec describes an open graph of a model, by the names that the model's family gives its inputs
// and outputs; a tool that wrote the file may have had others.
type GraphSpec struct {
	Role            string // such as "vision_encoder"
	Inputs, Outputs []tensor.Spec
}

// firstRoles are the roles of graphs that a model begins with.
var firstRoles = []string{"vision_encoder", "encoder", "text_encoder", "embed_tokens"}

// Graphs describes the open graphs, the one that the model begins with first: that which sees, where
// there is one.
func (p *Pipeline) Graphs() []GraphSpec {
	var specs []GraphSpec
	for _, g := range p.graphs.Opened() {
		specs = append(specs, GraphSpec{g.Role, g.Inputs(), g.Outputs()})
	}
	place := func(role string) int {
		if i := slices.Index(firstRoles, role); i >= 0 {
			return i
		}
		return len(firstRoles)
	}
	slices.SortStableFunc(specs, func(a, b GraphSpec) int { return place(a.Role) - place(b.Role) })
	return specs
}

// RunGraph runs the graph of a role by itself and returns the named outputs; with no names, all of
// them, each at every position. Errors wrap engine.ErrInput where the inputs do not fit, ErrLimit where
// a run would take too much memory, and ErrUnsupported where no graph of the role is open.
func (p *Pipeline) RunGraph(
	ctx context.Context, role string, in map[string]*tensor.Tensor, out ...string,
) (results map[string]*tensor.Tensor, err error) {
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	for _, g := range p.graphs.Opened() {
		if g.Role != role {
			continue
		}
		for _, name := range out {
			if !g.HasOutput(name) {
				return nil, fmt.Errorf("%w: the graph %s has no output %q; it has %v", engine.ErrInput, role, name, g.Outputs())
			}
		}
		results, err = g.Session.Run(engine.AllPositions(ctx), in, out...)
		if errors.Is(err, engine.ErrMemory) {
			err = fmt.Errorf("%w: %w", ErrLimit, err)
		}
		return results, err
	}
	return nil, fmt.Errorf("%w: model %s has no open graph %q", ErrUnsupported, p.bundle.Name, role)
}
