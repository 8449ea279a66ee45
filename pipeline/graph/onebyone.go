package graph

import (
	"context"
	"slices"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/tensor"
)

// Exporters may fix the batch of a graph to 1. Such a session runs the rows of a batch one after the
// other and joins what they give, so that nothing else knows.

// oneByOne is a session of a graph that takes one row at a time.
type oneByOne struct {
	engine.Session
	own, inputs, outputs []tensor.Spec // own are the graph's inputs, with the 1 that inputs lacks
}

// rowByRow returns the session with a batch of any size, where the graph's is fixed to 1.
func rowByRow(session engine.Session) engine.Session {
	s := &oneByOne{Session: session, own: session.Inputs()}
	fixed := slices.ContainsFunc(s.own, func(in tensor.Spec) bool {
		at := batchAxis(in)
		return at >= 0 && in.Shape[at] == 1
	})
	if !fixed {
		return session
	}
	s.inputs, s.outputs = anyRows(s.own), anyRows(session.Outputs())
	return s
}

// batchAxis returns the dimension of a tensor that is the batch: the first, but for positions of
// time, row and column [3,B,T]; -1 for a tensor without one.
func batchAxis(s tensor.Spec) int {
	switch {
	case len(s.Shape) == 3 && s.Name == PositionIDs:
		return 1
	case len(s.Shape) >= 2:
		return 0
	}
	return -1
}

// anyRows returns specs whose batch is of any size.
func anyRows(specs []tensor.Spec) []tensor.Spec {
	specs = slices.Clone(specs)
	for i, s := range specs {
		if at := batchAxis(s); at >= 0 && s.Shape[at] == 1 {
			specs[i].Shape = slices.Clone(s.Shape)
			specs[i].Shape[at] = -1
		}
	}
	return specs
}

func (s *oneByOne) Inputs() []tensor.Spec  { return s.inputs }
func (s *oneByOne) Outputs() []tensor.Spec { return s.outputs }

// Run gives each run one row of the tensors that are a batch, and the others whole.
func (s *oneByOne) Run(
	ctx context.Context, in map[string]*tensor.Tensor, out ...string,
) (map[string]*tensor.Tensor, error) {
	rows := s.rows(in)
	if rows == 1 {
		return s.Session.Run(ctx, in, out...)
	}
	made := map[string][]*tensor.Tensor{}
	for row := range rows {
		one := make(map[string]*tensor.Tensor, len(in))
		for name, t := range in {
			one[name] = t
		}
		for _, spec := range s.own {
			t, at := in[spec.Name], batchAxis(spec)
			if t == nil || at < 0 || t.Rank() != len(spec.Shape) || t.Dim(at) != rows {
				continue
			}
			var err error
			if one[spec.Name], err = At(t, at, row, row+1); err != nil {
				return nil, err
			}
		}
		results, err := s.Session.Run(ctx, one, out...)
		if err != nil {
			return nil, err
		}
		for name, t := range results {
			made[name] = append(made[name], t)
		}
	}
	joined := make(map[string]*tensor.Tensor, len(made))
	for name, parts := range made {
		var err error
		if joined[name], err = tensor.Join(parts...); err != nil {
			return nil, err
		}
		for _, t := range parts {
			t.Release()
		}
	}
	return joined, nil
}

// rows returns how many rows the batch has; 1 where the graph takes it as it is.
func (s *oneByOne) rows(in map[string]*tensor.Tensor) int {
	for _, spec := range s.own {
		t, at := in[spec.Name], batchAxis(spec)
		if t != nil && at >= 0 && spec.Shape[at] == 1 && t.Rank() == len(spec.Shape) && t.Dim(at) > 1 {
			return t.Dim(at)
		}
	}
	return 1
}
