// Package fft has the discrete Fourier transform of real numbers: any length, by mixed radices.
package fft

import "math"

// Real transforms n real numbers. Its tables are shared; a Scratch belongs to one goroutine.
type Real struct {
	n      int
	stages []stage
	turns  []complex128 // exp(-2πik/n), k up to n/2: what joins the halves of the packed transform
}

// stage is one pass of Stockham's algorithm over the data, by one radix.
type stage struct {
	radix, rest, stride int          // of a transform of radix*rest, repeated stride times
	twiddles            []complex128 // [rest, radix-1]: exp(-2πijr/(radix*rest)), r from 1
	roots               []complex128 // exp(-2πik/radix); only of radices without code of their own
}

// Scratch is memory for a transform.
type Scratch struct{ a, b []complex128 }

// New returns the transform of n numbers, n at least 1.
func New(n int) *Real {
	p := &Real{n: n}
	length := n
	if n%2 == 0 { // two numbers are packed into one complex number
		length = n / 2
		p.turns = make([]complex128, n/2+1)
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

// NewScratch returns memory for Power.
func (p *Real) NewScratch() *Scratch {
	return &Scratch{a: make([]complex128, p.n), b: make([]complex128, p.n)}
}

// Power writes the squares of the n/2+1 terms of the transform of frame, which has n numbers, to dst.
func (p *Real) Power(dst, frame []float64, s *Scratch) {
	frame = frame[:p.n]
	dst = dst[:p.n/2+1]
	if p.turns == nil {
		for i, v := range frame {
			s.a[i] = complex(v, 0)
		}
		for k, c := range p.complex(s, p.n)[:len(dst)] {
			dst[k] = real(c)*real(c) + imag(c)*imag(c)
		}
		return
	}
	half := p.n / 2
	packed := s.a[:half]
	for i := range packed {
		packed[i] = complex(frame[2*i], frame[2*i+1])
	}
	z := p.complex(s, half)
	first, last := real(z[0])+imag(z[0]), real(z[0])-imag(z[0])
	dst[0], dst[half] = first*first, last*last
	// Terms k and half-k come of the same two: even ± turned odd, the second conjugated.
	for k, m := 1, half-1; k <= m; k, m = k+1, m-1 {
		a, b := z[k], z[m]
		er, ei := 0.5*(real(a)+real(b)), 0.5*(imag(a)-imag(b))
		or, oi := 0.5*(imag(a)+imag(b)), 0.5*(real(b)-real(a))
		w := p.turns[k]
		tr, ti := real(w)*or-imag(w)*oi, real(w)*oi+imag(w)*or
		dst[k] = (er+tr)*(er+tr) + (ei+ti)*(ei+ti)
		dst[m] = (er-tr)*(er-tr) + (ei-ti)*(ei-ti)
	}
}

// complex transforms the first n numbers of s.a and returns where the result lies.
func (p *Real) complex(s *Scratch, n int) []complex128 {
	x, y := s.a[:n], s.b[:n]
	for i := range p.stages {
		p.stages[i].run(x, y)
		x, y = y, x
	}
	return x
}

// run makes y from x. Source of the order of the indices: the Stockham autosort algorithm, as in Van
// Loan, Computational Frameworks for the Fast Fourier Transform, 1.7.
func (g *stage) run(x, y []complex128) {
	m, s := g.rest, g.stride
	switch g.radix {
	case 2:
		for j := range m {
			w := g.twiddles[j]
			in0, in1 := x[s*j:s*j+s], x[s*(j+m):s*(j+m)+s]
			out0, out1 := y[s*2*j:s*2*j+s], y[s*(2*j+1):s*(2*j+1)+s]
			for q := range s {
				a, b := in0[q], in1[q]
				out0[q], out1[q] = a+b, (a-b)*w
			}
		}
	case 3:
		const h = 0.86602540378443864676 // sin 60°
		for j := range m {
			w1, w2 := g.twiddles[2*j], g.twiddles[2*j+1]
			for q := range s {
				a, b, c := x[q+s*j], x[q+s*(j+m)], x[q+s*(j+2*m)]
				sum, d := b+c, (b-c)*complex(0, -h)
				t := a - 0.5*sum
				o := q + 3*s*j
				y[o], y[o+s], y[o+2*s] = a+sum, (t+d)*w1, (t-d)*w2
			}
		}
	case 4:
		if s == 1 { // the first stage: one element a block
			x0, x1, x2, x3 := x[:m], x[m:2*m], x[2*m:3*m], x[3*m:4*m]
			for j := range x0 {
				a, b, c, d := x0[j], x1[j], x2[j], x3[j]
				w, out := g.twiddles[3*j:3*j+3], y[4*j:4*j+4]
				ac, amc, bd, bmd := a+c, a-c, b+d, b-d
				jbmd := complex(imag(bmd), -real(bmd))
				out[0], out[1], out[2], out[3] = ac+bd, (amc+jbmd)*w[0], (ac-bd)*w[1], (amc-jbmd)*w[2]
			}
			return
		}
		for j := range m {
			w1, w2, w3 := g.twiddles[3*j], g.twiddles[3*j+1], g.twiddles[3*j+2]
			in0, in1 := x[s*j:s*j+s], x[s*(j+m):s*(j+m)+s]
			in2, in3 := x[s*(j+2*m):s*(j+2*m)+s], x[s*(j+3*m):s*(j+3*m)+s]
			out := y[s*4*j : s*(4*j+4)]
			out0, out1, out2, out3 := out[:s], out[s:2*s], out[2*s:3*s], out[3*s:4*s]
			for q := range s {
				a, b, c, d := in0[q], in1[q], in2[q], in3[q]
				ac, amc, bd, bmd := a+c, a-c, b+d, b-d
				jbmd := complex(imag(bmd), -real(bmd)) // -i(b-d)
				out0[q], out1[q] = ac+bd, (amc+jbmd)*w1
				out2[q], out3[q] = (ac-bd)*w2, (amc-jbmd)*w3
			}
		}
	case 5:
		const (
			c1 = 0.30901699437494742410  // cos 72°
			c2 = -0.80901699437494742410 // cos 144°
			s1 = 0.95105651629515357212  // sin 72°
			s2 = 0.58778525229247312917  // sin 144°
		)
		for j := range m {
			w := g.twiddles[4*j : 4*j+4]
			in0, in1, in2 := x[s*j:s*j+s], x[s*(j+m):s*(j+m)+s], x[s*(j+2*m):s*(j+2*m)+s]
			in3, in4 := x[s*(j+3*m):s*(j+3*m)+s], x[s*(j+4*m):s*(j+4*m)+s]
			out := y[s*5*j : s*(5*j+5)]
			out0, out1, out2, out3, out4 := out[:s], out[s:2*s], out[2*s:3*s], out[3*s:4*s], out[4*s:5*s]
			for q := range s {
				a := in0[q]
				p1, m1 := in1[q]+in4[q], in1[q]-in4[q]
				p2, m2 := in2[q]+in3[q], in2[q]-in3[q]
				t1 := complex(real(a)+c1*real(p1)+c2*real(p2), imag(a)+c1*imag(p1)+c2*imag(p2))
				t2 := complex(real(a)+c2*real(p1)+c1*real(p2), imag(a)+c2*imag(p1)+c1*imag(p2))
				u1 := complex(s1*imag(m1)+s2*imag(m2), -s1*real(m1)-s2*real(m2))
				u2 := complex(s2*imag(m1)-s1*imag(m2), -s2*real(m1)+s1*real(m2))
				out0[q] = a + p1 + p2
				if j == 0 { // without turns
					out1[q], out2[q], out3[q], out4[q] = t1+u1, t2+u2, t2-u2, t1-u1
					continue
				}
				out1[q], out4[q] = (t1+u1)*w[0], (t1-u1)*w[3]
				out2[q], out3[q] = (t2+u2)*w[1], (t2-u2)*w[2]
			}
		}
	default:
		p := g.radix
		for j := range m {
			for q := range s {
				for r := range p {
					var sum complex128
					for k := range p {
						sum += x[q+s*(j+m*k)] * g.roots[r*k%p]
					}
					if r > 0 {
						sum *= g.twiddles[j*(p-1)+r-1]
					}
					y[q+s*(p*j+r)] = sum
				}
			}
		}
	}
}
