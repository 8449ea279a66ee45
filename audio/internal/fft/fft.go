// Package fft has the discrete Fourier transform of real numbers: any length, by mixed radices, of
// several signals at once.
package fft

import (
	"math"

	"github.com/crossattn/xpipe/internal/kernel"
)

// Real transforms n real numbers. Its tables are shared; a Scratch belongs to one goroutine.
type Real struct {
	n      int
	stages []stage
	turns  []complex128 // exp(-2πik/n), k up to n/4: what joins the halves of the packed transform
}

// stage is one pass of Stockham's algorithm over the data, by one radix.
type stage struct {
	radix, rest, stride int          // of a transform of radix*rest, repeated stride times
	twiddles            []complex128 // [rest, radix-1]: exp(-2πijr/(radix*rest)), r from 1
	roots               []complex128 // exp(-2πik/radix); only of radices without code of their own
}

// New returns the transform of n numbers, n at least 1.
func New(n int) *Real {
	p := &Real{n: n}
	length := n
	if n%2 == 0 { // two numbers are packed into one complex number
		length = n / 2
		p.turns = make([]complex128, n/4+1)
		for k := range p.turns {
			p.turns[k] = root(k, n)
		}
	}
	stride := 1
	for length > 1 {
		radix := factor(length)
		s := stage{radix: radix, rest: length / radix, stride: stride}
		for j := range s.rest {
			for r := 1; r < radix; r++ {
				s.twiddles = append(s.twiddles, root(j*r, length))
			}
		}
		if radix > 5 {
			for k := range radix {
				s.roots = append(s.roots, root(k, radix))
			}
		}
		p.stages = append(p.stages, s)
		length, stride = s.rest, stride*radix
	}
	return p
}

// factor returns the radix that a transform of this length begins with.
func factor(length int) int {
	for _, r := range []int{4, 2, 3, 5} {
		if length%r == 0 {
			return r
		}
	}
	for r := 7; r*r <= length; r += 2 {
		if length%r == 0 {
			return r
		}
	}
	return length
}

func root(k, n int) complex128 {
	sin, cos := math.Sincos(-2 * math.Pi * float64(k%n) / float64(n))
	return complex(cos, sin)
}

// Len returns n.
func (p *Real) Len() int { return p.n }

// Scratch is memory for a transform.
type Scratch struct{ a, b []float64 }

// NewScratch returns memory for Power.
func (p *Real) NewScratch() *Scratch {
	n := 2 * kernel.Signals * p.n
	return &Scratch{a: make([]float64, n), b: make([]float64, n)}
}

// Frame returns where Power takes its numbers from: n of each of kernel.Signals signals, as that
// package lays them out. Power overwrites them.
func (p *Real) Frame(s *Scratch) []float64 { return s.a[:kernel.Signals*p.n] }

// Power returns the squares of the n/2+1 terms of the transforms of the scratch's frames, laid out as
// those are. They lie in the scratch.
func (p *Real) Power(s *Scratch) []float64 {
	const lanes = kernel.Signals
	count := p.n / 2
	if p.turns == nil { // odd: nothing can be packed
		count = p.n
		for i := p.n - 1; i >= 0; i-- {
			copy(s.a[2*lanes*i:], s.a[lanes*i:lanes*(i+1)])
			clear(s.a[2*lanes*i+lanes : 2*lanes*(i+1)])
		}
	}
	src, dst := s.a[:2*lanes*count], s.b[:2*lanes*count]
	for i := range p.stages {
		g := &p.stages[i]
		kernel.FourierStage(dst, src, g.twiddles, g.roots, g.radix, g.rest, g.stride)
		src, dst = dst, src
	}
	power := dst[: lanes*(p.n/2+1) : cap(dst)]
	if p.turns != nil {
		kernel.RealPower(power, src, p.turns)
		return power
	}
	for i := range power {
		re, im := src[2*lanes*(i/lanes)+i%lanes], src[2*lanes*(i/lanes)+lanes+i%lanes]
		power[i] = re*re + im*im
	}
	return power
}
