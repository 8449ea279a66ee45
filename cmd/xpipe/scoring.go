package main

import (
	"context"
	"fmt"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline"
)

// scoring is a run of a verb that gives each picture several texts with scores, and prints a line
// for each.
type scoring[T any] struct {
	*output
	score func(context.Context, []media.Item) ([][]T, error)
	line  func(image string, scored T) any // of JSON
	text  func(scored T) string            // to print, without the picture's name
}

func (s scoring[T]) run(ctx context.Context, p *pipeline.Pipeline) error {
	score := func(ctx context.Context, batch []api.Loaded) ([][]T, error) {
		return s.score(ctx, itemsOf(batch))
	}
	write := func(f api.Finished[[]T]) error {
		var lines []any
		for _, scored := range f.Value {
			if s.printsLines() {
				lines = append(lines, s.line(f.Name, scored))
			} else if _, err := fmt.Fprintln(s.env.stdout, s.title(f.Name)+s.text(scored)); err != nil {
				return err
			}
		}
		return s.write(f.Name, lines...)
	}
	return s.finish(runAll(ctx, s.output, api.Runner[[]T]{
		Load: api.LoadFor(p), Task: score, SameTexts: true,
	}, write))
}

// itemsOf are the items of a batch.
func itemsOf(batch []api.Loaded) []media.Item {
	items := make([]media.Item, len(batch))
	for i, l := range batch {
		items[i] = l.Item
	}
	return items
}
