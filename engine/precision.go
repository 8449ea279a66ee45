package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Precision is how an engine computes the products of floats with constant matrices, which are most
// of what a model does. Softmax, norms, convolutions, attention's own products, recurrent layers and
// the activations between stay float32.
type Precision string

const (
	// PrecisionAuto, and "", is the engine's default: PrecisionFloat32.
	PrecisionAuto Precision = "auto"
	// PrecisionFloat32 is exact: float32, or weights stored as float16 where that loses nothing.
	PrecisionFloat32 Precision = "float32"
	// PrecisionBFloat16 keeps weights in bfloat16, half the memory, rounds what they multiply to
	// bfloat16, and sums in float32. What makes an output of the graph, as a vocabulary's logits, is
	// computed in float32 from weights kept so.
	PrecisionBFloat16 Precision = "bf16"
	// PrecisionInt8 quantises weights to 8 bits, each column with a scale of its own, when the graph
	// is opened, and what they multiply at each run, each row with one. What makes an output of the
	// graph is computed as with PrecisionBFloat16.
	PrecisionInt8 Precision = "int8"
)

// Precisions lists the values of Precision that have names.
func Precisions() []Precision {
	return []Precision{PrecisionAuto, PrecisionFloat32, PrecisionBFloat16, PrecisionInt8}
}

// Exact says whether a precision computes in float32, as every engine does by default.
func (p Precision) Exact() bool {
	return p == "" || p == PrecisionAuto || p == PrecisionFloat32
}

// ParsePrecision is the precision of that name. The error lists them.
func ParsePrecision(name string) (Precision, error) {
	p := Precision(name)
	if p == "" || slices.Contains(Precisions(), p) {
		return p, nil
	}
	var names []string
	for _, p := range Precisions() {
		names = append(names, string(p))
	}
	return "", fmt.Errorf("%w: there is no precision %q; it may be %s",
		ErrEngine, name, strings.Join(names, ", "))
}

// OnlyExact returns an error where a precision is none that an engine of that name has, which computes
// in float32 alone. It wraps ErrEngine.
func (p Precision) OnlyExact(name string) error {
	if _, err := ParsePrecision(string(p)); err != nil {
		return err
	}
	if p.Exact() {
		return nil
	}
	return fmt.Errorf("%w: engine %s has no precision %s, only the Go engine has: take engine go, "+
		"or precision float32", ErrEngine, name, p)
}

// AtPrecision returns an engine that opens every graph on e with that precision, whatever the options
// say. Its name is e's and the precision's.
func AtPrecision(e Engine, p Precision) Engine { return precise{e, p} }

type precise struct {
	Engine
	precision Precision
}

func (e precise) Name() string { return e.Engine.Name() + "-" + string(e.precision) }

func (e precise) Open(ctx context.Context, source Source, opts Options) (Session, error) {
	opts.Precision = e.precision
	return e.Engine.Open(ctx, source, opts)
}
