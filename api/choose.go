package api

import (
	"context"
	"iter"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline"
)

// ChooseEach scores the choices for each request, in order, as Pipeline.Choose does. The requests
// are all about one picture: it, and the grey one beside it, are encoded once. The sequence ends at
// the first error.
func ChooseEach(
	ctx context.Context, p *pipeline.Pipeline, requests []pipeline.Request, choices []string,
) iter.Seq2[[]pipeline.Choice, error] {
	return func(yield func([]pipeline.Choice, error) bool) {
		var encoded []*pipeline.Encoded
		for _, r := range requests {
			item := r.Item
			if item == nil && r.Image != nil {
				item = media.Picture{Image: r.Image}
			}
			if len(requests) > 1 && item != nil && p.Abilities().Write {
				if encoded == nil {
					var err error
					if encoded, err = p.Encode(ctx, item); err != nil {
						yield(nil, err)
						return
					}
				}
				r.Encoded = encoded[0]
			}
			scored, err := p.Choose(ctx, r, choices...)
			if !yield(scored, err) || err != nil {
				return
			}
		}
	}
}
