package ops

import (
	"math"
	"strings"

	"github.com/crossattn/xpipe/internal/kernel"
)

// The gates of each operator, which weights, biases and rows hold in this order.
const (
	lstmGates = 4 // input, output, forget, cell
	gruGates  = 3 // update, reset, hidden
	rnnGates  = 1
)

// limit bounds what goes into an activation.
func (r *recurrent) limit(v []float32) {
	if r.bound > 0 {
		kernel.Clip(v, v, -r.bound, r.bound)
	}
}

// lstmCell computes the next state of sequence b from its gates, which hold the products and the
// biases.
func lstmCell(s *sequences, b int, gates []float32) {
	n := s.hidden
	i, o, f, c := gates[:n], gates[n:2*n], gates[2*n:3*n], gates[3*n:]
	h, memory, scratch := s.h[b*n:(b+1)*n], s.c[b*n:(b+1)*n], s.scratch[b*n:(b+1)*n]
	// looks lets a gate see the memory.
	looks := func(gate []float32, p int) {
		kernel.Mul(scratch, s.peephole[p*n:(p+1)*n], memory)
		kernel.Add(gate, gate, scratch)
	}
	if s.peephole == nil {
		s.limit(gates)
		s.act[0](gates[:3*n], gates[:3*n])
	} else {
		looks(i, 0)
		looks(f, 2)
		s.limit(i)
		s.limit(gates[2*n:])
		s.act[0](i, i)
		s.act[0](f, f)
	}
	s.act[1](c, c)
	if s.coupled {
		for j, v := range i {
			f[j] = 1 - v
		}
	}
	kernel.Mul(memory, f, memory)
	kernel.Mul(c, i, c)
	kernel.Add(memory, memory, c)
	if s.peephole != nil {
		looks(o, 1)
		s.limit(o)
		s.act[0](o, o)
	}
	s.act[2](scratch, memory)
	kernel.Mul(h, o, scratch)
}

// candidates takes sequences b0 to b1-1, whose rows of gates are given, from their update and reset
// gates to what goes into the activation of the hidden gate. multiply adds the product with the
// weights of that.
func (s *sequences) candidates(
	rows []float32, b0, b1 int, multiply func(c []float32, ldc int, a []float32),
) {
	n, width := s.hidden, gruGates*s.hidden
	h, scratch := s.h[b0*n:b1*n], s.scratch[b0*n:b1*n]
	for b := range b1 - b0 {
		gates := rows[b*width : (b+1)*width]
		s.limit(gates[:2*n])
		s.act[0](gates[:2*n], gates[:2*n])
		if !s.linear {
			kernel.Mul(scratch[b*n:(b+1)*n], gates[n:2*n], h[b*n:(b+1)*n])
		}
	}
	if !s.linear {
		multiply(rows[2*n:], width, scratch)
		return
	}
	for b := range b1 - b0 {
		copy(scratch[b*n:(b+1)*n], s.resetBias)
	}
	multiply(scratch, n, h)
	for b := range b1 - b0 {
		gates, u := rows[b*width:(b+1)*width], scratch[b*n:(b+1)*n]
		kernel.Mul(u, gates[n:2*n], u)
		kernel.Add(gates[2*n:], gates[2*n:], u)
	}
}

// gruCell computes the next state of sequence b from its gates.
func gruCell(s *sequences, b int, gates []float32) {
	n := s.hidden
	z, candidate, h := gates[:n], gates[2*n:], s.h[b*n:(b+1)*n]
	s.limit(candidate)
	s.act[1](candidate, candidate)
	// (1-z)*candidate + z*h
	kernel.Sub(h, h, candidate)
	kernel.Mul(h, h, z)
	kernel.Add(h, h, candidate)
}

// rnnCell computes the next state of sequence b.
func rnnCell(s *sequences, b int, gates []float32) {
	s.limit(gates)
	s.act[0](s.h[b*s.hidden:(b+1)*s.hidden], gates)
}

// activations reads the activations of each direction of a recurrent operator: of rows of float32,
// and of one float64.
func (n *Node) activations(
	directions int, def []string,
) (rows [][]func(dst, src []float32), single [][]func(float64) float64) {
	names, _ := attribute[[]string](n, "activations")
	alphas, _ := attribute[[]float32](n, "activation_alpha")
	betas, _ := attribute[[]float32](n, "activation_beta")
	if len(names) == 0 {
		for range directions {
			names = append(names, def...)
		}
	}
	if len(names) != directions*len(def) {
		n.fail("attribute \"activations\" is %q, where %d times %d are needed",
			names, directions, len(def))
		return nil, nil
	}
	// The lists of parameters hold only those of the functions that have one.
	next := func(list *[]float32, def float32) float32 {
		if len(*list) == 0 {
			return def
		}
		v := (*list)[0]
		*list = (*list)[1:]
		return v
	}
	rows = make([][]func(dst, src []float32), directions)
	single = make([][]func(float64) float64, directions)
	for i, name := range names {
		name = strings.ToLower(name)
		var alpha, beta float32
		switch name {
		case "affine", "scaledtanh":
			alpha = next(&alphas, 1)
			beta = next(&betas, map[string]float32{"affine": 0, "scaledtanh": 1}[name])
		case "hardsigmoid":
			alpha, beta = next(&alphas, 0.2), next(&betas, 0.5)
		case "leakyrelu":
			alpha = next(&alphas, 0.01)
		case "thresholdedrelu", "elu":
			alpha = next(&alphas, 1)
		}
		f := cellActivation(name, alpha, beta)
		if f == nil {
			n.fail("activation %q is unknown", names[i])
		}
		d := i / len(def)
		rows[d] = append(rows[d], f)
		single[d] = append(single[d], plainActivation(name, float64(alpha), float64(beta)))
	}
	return rows, single
}

// cellActivation returns an activation by its name in lower case; nil where there is none.
func cellActivation(name string, alpha, beta float32) func(dst, src []float32) {
	switch name {
	case "sigmoid":
		return kernel.Sigmoid
	case "tanh":
		return kernel.Tanh
	case "relu":
		return kernel.Relu
	case "affine":
		return each(func(v float32) float32 { return alpha*v + beta })
	case "scaledtanh":
		return func(dst, src []float32) {
			kernel.Scale(dst, src, beta)
			kernel.Tanh(dst, dst)
			kernel.Scale(dst, dst, alpha)
		}
	case "hardsigmoid":
		return each(func(v float32) float32 { return max(0, min(1, alpha*v+beta)) })
	case "leakyrelu":
		return each(func(v float32) float32 { return preluOf(v, alpha) })
	case "thresholdedrelu":
		return each(func(v float32) float32 {
			if v >= alpha {
				return v
			}
			return 0
		})
	case "elu":
		return each(func(v float32) float32 {
			if v < 0 {
				return float32(float64(alpha) * math.Expm1(float64(v)))
			}
			return v
		})
	case "softsign":
		return each(func(v float32) float32 { return float32(softsign(float64(v))) })
	case "softplus":
		return each(func(v float32) float32 { return float32(softplus(float64(v))) })
	}
	return nil
}
