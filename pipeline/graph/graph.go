package graph

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/tensor"
)

// Opener opens the graphs of one bundle while a model is opened. Close closes all of them, whether
// or not the model could be opened.
type Opener struct {
	Bundle *models.Bundle

	ctx     context.Context
	engine  engine.Engine
	options engine.Options
	opened  []*Graph
}

// NewOpener returns an Opener for graphs that run on eng. ctx bounds the opening alone, not later
// runs.
func NewOpener(
	ctx context.Context, bundle *models.Bundle, eng engine.Engine, opts engine.Options,
) *Opener {
	return &Opener{Bundle: bundle, ctx: ctx, engine: eng, options: opts}
}

// Context returns the context that bounds the opening of the model.
func (o *Opener) Context() context.Context { return o.ctx }

// Open opens the graph of a role. Errors wrap ErrBundle where the bundle lacks it, else the
// engine's own.
func (o *Opener) Open(role string) (*Graph, error) { return o.open(role, o.options) }

// OpenDecoder is Open for a graph of whose logits only those of the last position are read, and
// which is given the same states of an encoder at every step.
func (o *Opener) OpenDecoder(role string) (*Graph, error) {
	opts := o.options
	opts.LastPosition, opts.Steady = []string{Logits}, []string{EncoderStates}
	return o.open(role, opts)
}

func (o *Opener) open(role string, opts engine.Options) (*Graph, error) {
	source, err := o.Bundle.Graph(role)
	if err != nil {
		return nil, err
	}
	if info, err := fs.Stat(source.FS, source.Name); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s, the graph %q, is not there or not a file",
			ErrBundle, source.Name, role)
	}
	session, err := o.engine.Open(o.ctx, source, opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source.Name, err)
	}
	usual, err := renames(o.Bundle, role, session)
	if err != nil {
		session.Close()
		return nil, err
	}
	if usual != nil {
		session = rename(session, usual)
	}
	g := &Graph{Session: rowByRow(session), Role: role}
	o.opened = append(o.opened, g)
	return g, nil
}

// OpenIfThere opens the graph of a role that a bundle may lack; it then returns nil.
func (o *Opener) OpenIfThere(role string) (*Graph, error) {
	if !o.Bundle.Has(role) {
		return nil, nil
	}
	return o.Open(role)
}

// Opened lists the graphs that were opened, each role once, in their order.
func (o *Opener) Opened() []*Graph {
	var each []*Graph
	for _, g := range o.opened {
		if !slices.ContainsFunc(each, func(other *Graph) bool { return other.Role == g.Role }) {
			each = append(each, g)
		}
	}
	return each
}

// Close closes every graph that was opened.
func (o *Opener) Close() error {
	var errs []error
	for _, g := range o.opened {
		errs = append(errs, g.Session.Close())
	}
	return errors.Join(errs...)
}

// Graph is an open graph of a bundle. It is safe for concurrent use.
type Graph struct {
	engine.Session
	Role string
}

// Run runs the session. A graph's inputs come from the bundle's other parts, so an input that does
// not fit is the bundle's fault: the error wraps ErrBundle.
func (g *Graph) Run(
	ctx context.Context, in map[string]*tensor.Tensor, out ...string,
) (map[string]*tensor.Tensor, error) {
	results, err := g.Session.Run(ctx, in, out...)
	if errors.Is(err, engine.ErrInput) {
		err = fmt.Errorf("%w: the graph %s does not fit the rest of it: %w", ErrBundle, g.Role, err)
	}
	return results, err
}

// RunOne runs the graph for one float32 output of the given shape, in which -1 fits any size but
// 0. No shape fits any. Errors about the output wrap ErrBundle.
func (g *Graph) RunOne(
	ctx context.Context, in map[string]*tensor.Tensor, output string, shape ...int,
) (*tensor.Tensor, error) {
	if !g.HasOutput(output) {
		return nil, fmt.Errorf("%w: the graph %s lacks the output %q", ErrBundle, g.Role, output)
	}
	out, err := g.Run(ctx, in, output)
	if err != nil {
		return nil, err
	}
	made := AsFloat32(out[output])
	if len(shape) > 0 {
		err = CheckOutput(output, made, shape...)
	}
	return made, err
}

// RunPrepared runs a graph over a front end's tensors, for an output of the given shape, as RunOne
// does. The graph gets those that it has inputs for. Tensors that do not fit are the fault of the
// bundle's preprocessor configuration: the error wraps ErrBundle.
func (g *Graph) RunPrepared(
	ctx context.Context, prepared map[string]*tensor.Tensor, output string, shape ...int,
) (*tensor.Tensor, error) {
	in, err := g.Feed(prepared)
	if err != nil {
		return nil, err
	}
	out, err := g.RunOne(ctx, in, output, shape...)
	return out, Misfit(err)
}

// Feed picks a tensor for each input of the graph by its name, from the first source that has it.
// A missing one gives an error that wraps ErrBundle.
func (g *Graph) Feed(sources ...map[string]*tensor.Tensor) (map[string]*tensor.Tensor, error) {
	in := map[string]*tensor.Tensor{}
	for _, spec := range g.Inputs() {
		for _, source := range sources {
			if t := source[spec.Name]; t != nil && in[spec.Name] == nil {
				in[spec.Name] = t
			}
		}
		if in[spec.Name] == nil {
			return nil, fmt.Errorf("%w: the graph %s takes %v, which nothing before it makes",
				ErrBundle, g.Role, spec)
		}
		in[spec.Name] = Cast(in[spec.Name], spec.DType)
	}
	return in, nil
}

// Misfit blames the preprocessor configuration for an error about a graph's inputs: the error then
// wraps ErrBundle. Other errors, and nil, are returned unchanged.
func Misfit(err error) error {
	if errors.Is(err, engine.ErrInput) {
		return fmt.Errorf("%w: preprocessor_config.json makes what the graph does not take: %w",
			ErrBundle, err)
	}
	return err
}

// HasInput reports whether the graph has an input of the given name.
func (g *Graph) HasInput(name string) bool { return has(g.Inputs(), name) }

// HasOutput reports whether the graph has an output of the given name.
func (g *Graph) HasOutput(name string) bool { return has(g.Outputs(), name) }

// OutputOf returns the first of the names that the graph has as an output or, without any, its only
// output: tools name an encoder's states differently. Otherwise the error wraps ErrBundle.
func (g *Graph) OutputOf(names ...string) (string, error) {
	for _, name := range names {
		if g.HasOutput(name) {
			return name, nil
		}
	}
	outputs := g.Outputs()
	if len(outputs) == 1 {
		return outputs[0].Name, nil
	}
	return "", fmt.Errorf("%w: the graph %s has none of the outputs %v; it has %v",
		ErrBundle, g.Role, names, outputs)
}

func has(specs []tensor.Spec, name string) bool {
	return slices.ContainsFunc(specs, func(s tensor.Spec) bool { return s.Name == name })
}

// CheckOutput refuses an output of a graph that is not float32 of the given shape, in which -1 fits
// any size but 0; the error wraps ErrBundle. It checks the tensor itself, because a graph's
// declaration may be wrong.
func CheckOutput(name string, t *tensor.Tensor, shape ...int) error {
	return CheckOutputOf(tensor.Float32, name, t, shape...)
}

// CheckOutputOf is CheckOutput for another element type than float32.
func CheckOutputOf(dtype tensor.DType, name string, t *tensor.Tensor, shape ...int) error {
	fits := t.DType() == dtype && t.Rank() == len(shape)
	for i := 0; fits && i < len(shape); i++ {
		fits = t.Dim(i) == shape[i] || shape[i] < 0 && t.Dim(i) > 0
	}
	if !fits {
		return fmt.Errorf("%w: the graph's output %q is %v, not %v %v (-1: any size but 0)",
			ErrBundle, name, t, dtype, tensor.FormatShape(shape))
	}
	return nil
}

// CheckNumbers refuses NaN, which damaged weights and overflowing arithmetic give; the error wraps
// ErrBundle.
func CheckNumbers(name string, values []float32) error {
	for i, v := range values {
		if v != v {
			return fmt.Errorf("%w: value %d of %s is not a number (NaN): the weights are damaged, "+
				"or the arithmetic overflows in their type", ErrBundle, i, name)
		}
	}
	return nil
}
