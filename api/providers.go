package api

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/crossattn/xpipe/engine"
)

// WithProviders returns an engine that opens graphs on the first of several providers, one at
// least, that starts. It tells warn about each that does not, and does not try it again. Provider
// options are for the first of the list alone.
func WithProviders(e engine.Engine, providers []string, warn func(error)) engine.Engine {
	return &providerChain{Engine: e, providers: providers, warn: warn}
}

type providerChain struct {
	engine.Engine
	warn func(error)

	mu        sync.Mutex
	providers []string // that are left, the one in use first
	failed    bool     // the first provider of all has failed
}

func (c *providerChain) Open(
	ctx context.Context, source engine.Source, opts engine.Options,
) (engine.Session, error) {
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
		c.warn(fmt.Errorf("going on with provider %s: %w", c.providers[1], err))
		c.providers, c.failed = c.providers[1:], true
	}
}
