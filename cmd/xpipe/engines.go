package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/spf13/cobra"
)

// engineOptions are the flags of every verb that runs graphs.
type engineOptions struct {
	name            string
	library         string
	provider        string
	providerOptions map[string]string
	threads         int
	memoryLimit     byteSize
	noFusion        bool
}

// addFlags adds the flags to cmd.
func (o *engineOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.name, "engine", "", "engine: go (pure Go), ort (ONNX Runtime), or auto, the default: ort where its library is there")
	f.StringVar(&o.library, "ort-lib", "", "path of the ONNX Runtime library (default: searched for, see doctor)")
	f.StringVar(&o.provider, "provider", "cpu", "where ONNX Runtime computes: cpu, cuda, tensorrt, openvino, coreml, directml; of a list such as cuda,cpu the first that starts")
	f.StringToStringVar(&o.providerOptions, "provider-option", nil, "option for the provider, such as device_id=1")
	f.IntVar(&o.threads, "threads", 0, "cores to use (0: all)")
	f.Var(&o.memoryLimit, "memory-limit", fmt.Sprintf("most memory for the tensors of one run of a graph, such as 500M or 2G; the Go engine keeps to it (default: %dG for models, no bound for a single graph)", pipeline.DefaultLimits().Memory>>30))
	f.BoolVar(&o.noFusion, "no-fusion", false, "run graphs operator by operator, as written")
}

func (o *engineOptions) options() engine.Options {
	return engine.Options{Threads: o.threads, Provider: o.provider, ProviderOptions: o.providerOptions, MemoryLimit: int64(o.memoryLimit), NoFusion: o.noFusion}
}

// providerChain is an engine that goes on with the next of some providers where one
// does not start, and says so. Only a list that the user gave makes one.
type providerChain struct {
	engine.Engine
	warnf func(format string, args ...any)

	mu        sync.Mutex
	providers []string // that are left, the one in use first
	failed    bool     // the first, whose the options are
}

func (c *providerChain) Open(ctx context.Context, source engine.Source, opts engine.Options) (engine.Session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if opts.Provider = c.providers[0]; c.failed {
			opts.ProviderOptions = nil
		}
		session, err := c.Engine.Open(ctx, source, opts)
		if err == nil || len(c.providers) == 1 || !errors.Is(err, engine.ErrEngine) {
			return session, err
		}
		c.warnf("going on with provider %s: %w", c.providers[1], err)
		c.providers, c.failed = c.providers[1:], true
	}
}

// byteSize is a flag for a number of bytes: 1000, 64K, 500M, 2G, by 1024.
type byteSize int64

func (b *byteSize) Type() string { return "size" }

func (b *byteSize) String() string { return strconv.FormatInt(int64(*b), 10) }

func (b *byteSize) Set(text string) error {
	upper := strings.TrimSuffix(strings.ToUpper(text), "B")
	shift := 0
	for i, unit := range []string{"K", "M", "G", "T"} {
		if number, ok := strings.CutSuffix(upper, unit); ok {
			upper, shift = number, 10*(i+1)
			break
		}
	}
	n, err := strconv.ParseInt(upper, 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64>>shift {
		return fmt.Errorf("%q is no number of bytes such as 500M", text)
	}
	*b = byteSize(n << shift)
	return nil
}
