package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/tensor"
)

// starts is an engine with some providers that start.
type starts []string

func (s starts) Name() string { return "starts" }

func (s starts) Open(
	_ context.Context, _ engine.Source, opts engine.Options,
) (engine.Session, error) {
	for _, name := range s {
		if name == opts.Provider && len(opts.ProviderOptions) == 0 {
			return provided(name), nil
		}
	}
	return nil, fmt.Errorf("%w: provider %s failed to start", engine.ErrEngine, opts.Provider)
}

type provided string

func (provided) Inputs() []tensor.Spec  { return nil }
func (provided) Outputs() []tensor.Spec { return nil }
func (provided) Close() error           { return nil }
func (provided) Run(
	context.Context, map[string]*tensor.Tensor, ...string,
) (map[string]*tensor.Tensor, error) {
	return nil, nil
}

// Each provider that does not start is warned about once; the one that has started stays.
func TestProviderChain(t *testing.T) {
	t.Parallel()
	var said []string
	warn := func(err error) { said = append(said, err.Error()) }
	chain := WithProviders(starts{"cpu"}, []string{"tensorrt", "cuda", "cpu"}, warn)
	opts := engine.Options{
		Provider: "tensorrt,cuda,cpu", ProviderOptions: map[string]string{"device_id": "1"},
	}
	for range 3 {
		s, err := chain.Open(t.Context(), engine.Source{}, opts)
		if err != nil || s != provided("cpu") {
			t.Fatal(s, err)
		}
	}
	if len(said) != 2 || !strings.Contains(said[1], "provider cpu") ||
		!strings.Contains(said[0], "going on with provider cuda: engine: provider tensorrt failed") {
		t.Errorf("%q", said)
	}
	chain = WithProviders(starts{}, []string{"cuda", "cpu"}, warn)
	if _, err := chain.Open(t.Context(), engine.Source{}, engine.Options{}); !errors.Is(err, engine.ErrEngine) {
		t.Error(err)
	}
}
