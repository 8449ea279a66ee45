package decode

import (
	"context"
	"maps"
	"math"
	"slices"

	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// groups is a Sequences of prompts of several lengths, for decoders that would count padding as
// positions: those of one length run together, the lengths one after the other.
type groups struct {
	prompts [][]int64
	parts   []Sequences // nil once all its rows have ended
	rows    []place     // of each row of the whole
}

// place is a row of a part.
type place struct{ part, row int }

// beginGroups starts prompts by their lengths.
func (d *Decoder) beginGroups(start Start, byLength map[int][]int) (Sequences, error) {
	g := &groups{rows: make([]place, len(start.Prompts))}
	for _, p := range start.Prompts {
		g.prompts = append(g.prompts, p.IDs)
	}
	for _, length := range slices.Sorted(maps.Keys(byLength)) {
		group := byLength[length]
		part := Start{
			Width: start.Width, Media: start.Media, First: start.First,
			Fixed: make(map[string]*tensor.Tensor, len(start.Fixed)),
		}
		for row, i := range group {
			part.Prompts = append(part.Prompts, start.Prompts[i])
			g.rows[i] = place{len(g.parts), row}
		}
		for name, t := range start.Fixed {
			var err error
			if part.Fixed[name], err = t.Take(group); err != nil {
				return nil, err
			}
		}
		s, err := d.begin(part, length)
		if err != nil {
			return nil, err
		}
		g.parts = append(g.parts, s)
	}
	return g, nil
}

// Together makes one of sequences that were begun apart, such as those about sounds of different
// lengths: rows[i] lists the rows that those of parts[i] are in the whole.
func Together(parts []Sequences, rows [][]int) Sequences {
	count := 0
	for _, list := range rows {
		count += len(list)
	}
	g := &groups{parts: parts, rows: make([]place, count), prompts: make([][]int64, count)}
	for part, list := range rows {
		for row, i := range list {
			g.rows[i], g.prompts[i] = place{part, row}, parts[part].Prompts()[row]
		}
	}
	return g
}

func (g *groups) Prompts() [][]int64 { return g.prompts }

func (g *groups) Room() int {
	room := math.MaxInt
	for _, s := range g.parts {
		room = min(room, s.Room())
	}
	return room
}

func (g *groups) Prefill(ctx context.Context) (*tensor.Tensor, error) {
	return g.join(func(part int) (*tensor.Tensor, error) { return g.parts[part].Prefill(ctx) })
}

func (g *groups) Step(ctx context.Context, ids []int64) (*tensor.Tensor, error) {
	return g.join(func(part int) (*tensor.Tensor, error) {
		var own []int64
		for i, at := range g.rows {
			if at.part == part {
				own = append(own, ids[i]) // Reorder numbers the rows of a part in this order
			}
		}
		return g.parts[part].Step(ctx, own)
	})
}

// join runs each part and puts their logits [b,V] together as [B,V].
func (g *groups) join(run func(part int) (*tensor.Tensor, error)) (*tensor.Tensor, error) {
	made := make([]*tensor.Tensor, len(g.parts))
	for i, s := range g.parts {
		if s == nil {
			continue
		}
		var err error
		if made[i], err = run(i); err != nil {
			return nil, err
		}
	}
	var all []float32
	for _, at := range g.rows {
		all = append(all, graph.Row(made[at.part], at.row)...)
	}
	return tensor.New([]int{len(g.rows), len(all) / len(g.rows)}, all)
}

func (g *groups) Reorder(rows []int) error {
	from := make([][]int, len(g.parts)) // for each part, the rows it goes on from
	next := make([]place, len(rows))
	for i, r := range rows {
		part := g.rows[r].part
		next[i] = place{part, len(from[part])}
		from[part] = append(from[part], g.rows[r].row)
	}
	for i, list := range from {
		switch {
		case g.parts[i] == nil:
		case len(list) == 0:
			g.parts[i] = nil
		default:
			if err := g.parts[i].Reorder(list); err != nil {
				return err
			}
		}
	}
	g.rows = next
	return nil
}
