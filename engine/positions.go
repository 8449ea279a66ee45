package engine

import "context"

// AllPositions returns a context whose runs give every position of the outputs that
// Options.LastPosition names.
func AllPositions(ctx context.Context) context.Context {
	return context.WithValue(ctx, allPositions{}, true)
}

// WantsAllPositions reports whether a context is one of AllPositions.
func WantsAllPositions(ctx context.Context) bool { return ctx.Value(allPositions{}) != nil }

type allPositions struct{}
