package ops

import (
	"math"
	mathbits "math/bits"
	"math/cmplx"
	"unsafe"

	"github.com/crossattn/xpipe/tensor"
)

// fourier computes discrete Fourier transforms of n numbers, in float64: by halving where n is a
// power of two, else as a convolution of such a length (L. Bluestein, "A linear filtering approach
// to the computation of discrete Fourier transform", 1970).
type fourier struct {
	n, size int          // of the transform, and of the power of two
	roots   []complex128 // [size/2] of unity
	chirp   []complex128 // [n], Bluestein's
	filter  []complex128 // [size], its transform
}

// complexes allocates n complex numbers as scratch.
func complexes(x *Context, n int) ([]complex128, error) {
	_, room, err := alloc[int64](x, []int{2 * n})
	if err != nil || n == 0 {
		return nil, err
	}
	return unsafe.Slice((*complex128)(unsafe.Pointer(&room[0])), n), nil
}

// newFourier prepares transforms of n numbers, n at least 1.
func newFourier(x *Context, n int) (*fourier, error) {
	f := &fourier{n: n, size: n}
	direct := n&(n-1) == 0
	if !direct {
		f.size = 1 << mathbits.Len(uint(2*n-2))
	}
	var err error
	if f.roots, err = complexes(x, f.size/2); err != nil {
		return nil, err
	}
	for i := range f.roots {
		f.roots[i] = cmplx.Rect(1, -2*math.Pi*float64(i)/float64(f.size))
	}
	if direct {
		return f, nil
	}
	if f.chirp, err = complexes(x, n); err != nil {
		return nil, err
	}
	if f.filter, err = complexes(x, f.size); err != nil {
		return nil, err
	}
	clear(f.filter)
	for i := range f.chirp {
		// The square modulo 2n, for the sake of precision.
		square := int(uint64(i) * uint64(i) % uint64(2*n))
		f.chirp[i] = cmplx.Rect(1, -math.Pi*float64(square)/float64(n))
		f.filter[i] = cmplx.Conj(f.chirp[i])
		if i > 0 {
			f.filter[f.size-i] = f.filter[i]
		}
	}
	f.halve(f.filter)
	return f, nil
}

// scratch is how many complex numbers transform needs.
func (f *fourier) scratch() int { return max(f.n, f.size) }

// transform sets v [n] to its transform. room holds scratch numbers.
func (f *fourier) transform(v, room []complex128) {
	if f.chirp == nil {
		f.halve(v)
		return
	}
	room = room[:f.size]
	for i, c := range f.chirp {
		room[i] = v[i] * c
	}
	clear(room[f.n:])
	f.halve(room)
	for i, c := range f.filter {
		// The conjugate's transform is the inverse's conjugate.
		room[i] = cmplx.Conj(room[i] * c)
	}
	f.halve(room)
	scale := complex(1/float64(f.size), 0)
	for i, c := range f.chirp {
		v[i] = cmplx.Conj(room[i]) * scale * c
	}
}

// halve transforms size numbers in place.
func (f *fourier) halve(v []complex128) {
	shift := 64 - mathbits.Len(uint(len(v)-1))
	for i := range v {
		if j := int(mathbits.Reverse64(uint64(i)) >> shift); len(v) > 1 && i < j {
			v[i], v[j] = v[j], v[i]
		}
	}
	for half := 1; half < len(v); half *= 2 {
		step := len(v) / (2 * half)
		for base := 0; base < len(v); base += 2 * half {
			low, high := v[base:base+half], v[base+half:base+2*half]
			for i := range low {
				a, b := low[i], high[i]*f.roots[i*step]
				low[i], high[i] = a+b, a-b
			}
		}
	}
}

// frames are the pieces of a signal that are transformed, one by one.
type frames struct {
	x       *Context
	f       *fourier
	inverse bool
	bins    int // of each result that are kept
}

// run transforms count pieces: read sets the numbers of one, all of which are 0, and write takes
// its result.
func (p *frames) run(count int, read func(i int, v []complex128),
	write func(i int, v []complex128)) error {
	n, size := p.f.n, p.f.n+p.f.scratch()
	work := max(1, n*mathbits.Len(uint(n)))
	return p.x.ParallelScratch(count, max(1, minWork/work), 4*size,
		func(lo, hi int, scratch []float32) {
			// An arena's memory is aligned for 8 bytes, as complex numbers are.
			room := unsafe.Slice((*complex128)(unsafe.Pointer(&scratch[0])), size)
			v, room := room[:n], room[n:]
			for i := lo; i < hi; i++ {
				clear(v)
				read(i, v)
				if p.inverse {
					conjugate(v, 1)
				}
				p.f.transform(v, room)
				if p.inverse {
					conjugate(v, 1/float64(n))
				}
				write(i, v[:p.bins])
			}
		})
}

func conjugate(v []complex128, scale float64) {
	for i, c := range v {
		v[i] = complex(real(c)*scale, -imag(c)*scale)
	}
}

// buildDFT transforms along an axis of real ([...,1]) or complex ([...,2]) numbers. The axis is an
// attribute in version 17, and an input in 20.
func buildDFT(n *Node) Kernel {
	fixed := n.int("axis", 1)
	inverse, oneSided := n.int("inverse", 0) != 0, n.int("onesided", 0) != 0
	if n.Version < 20 {
		n.want(1, 2)
	} else {
		fixed = -2
	}
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) (err error) {
		t, at := in[0], fixed
		if !isFloat(t) || t.Rank() < 2 || t.Dim(-1) != 1 && t.Dim(-1) != 2 {
			return graphErr("DFT of %v", t)
		}
		if a := input(in, 2); a != nil {
			if at, err = scalarInt(a); err != nil {
				return err
			}
		}
		if at, err = axis(at, t.Rank()); err != nil {
			return err
		}
		if at == t.Rank()-1 {
			return graphErr("DFT of %v along axis %d, which holds the parts of numbers", t, at)
		}
		length := t.Dim(at)
		if l := input(in, 1); l != nil {
			if length, err = scalarInt(l); err != nil {
				return err
			}
		}
		if length < 1 || length > math.MaxInt32 {
			return graphErr("DFT of %v over %d numbers", t, length)
		}
		p := &frames{x: x, inverse: inverse, bins: length}
		if oneSided {
			p.bins = length/2 + 1
		}
		shape := clone(t.Shape())
		shape[at], shape[len(shape)-1] = p.bins, 2
		if prod(shape) == 0 {
			out[0], err = x.Alloc(t.DType(), shape)
			return err
		}
		if p.f, err = newFourier(x, length); err != nil {
			return err
		}
		if t.DType() == tensor.Float64 {
			out[0], err = transformed[float64](p, t, at, length, shape)
		} else {
			out[0], err = transformed[float32](p, t, at, length, shape)
		}
		return err
	})
}

// transformed transforms length numbers along an axis.
func transformed[T float](
	p *frames, t *tensor.Tensor, at, length int, shape []int,
) (*tensor.Tensor, error) {
	r, dst, err := alloc[T](p.x, shape)
	if err != nil {
		return nil, err
	}
	src, parts := tensor.Data[T](t), t.Dim(-1)
	inner, have := prod(shape[at+1:len(shape)-1]), t.Dim(at)
	return r, p.run(prod(shape[:at])*inner, func(i int, v []complex128) {
		from := i/inner*have*inner + i%inner
		for k := range min(have, length) {
			v[k] = complexOf(src[(from+k*inner)*parts:], parts)
		}
	}, func(i int, v []complex128) {
		to := i/inner*p.bins*inner + i%inner
		for k, c := range v {
			dst[2*(to+k*inner)] = T(real(c))
			dst[2*(to+k*inner)+1] = T(imag(c))
		}
	})
}

// isFloat says whether a tensor holds float32 or float64.
func isFloat(t *tensor.Tensor) bool {
	return t.DType() == tensor.Float32 || t.DType() == tensor.Float64
}

// complexOf reads a number of one part or two.
func complexOf[T float](v []T, parts int) complex128 {
	if parts == 1 {
		return complex(float64(v[0]), 0)
	}
	return complex(float64(v[0]), float64(v[1]))
}

// buildSTFT transforms frames of a signal [B,L], [B,L,1] or [B,L,2], weighed by a window.
func buildSTFT(n *Node) Kernel {
	oneSided := n.int("onesided", 1) != 0
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) (err error) {
		t, window := in[0], input(in, 2)
		if !isFloat(t) || t.Rank() != 2 &&
			(t.Rank() != 3 || t.Dim(2) != 1 && t.Dim(2) != 2) {
			return graphErr("STFT of %v", t)
		}
		step, err := scalarInt(in[1])
		if err != nil {
			return err
		}
		length := t.Dim(1)
		if window != nil {
			if window.DType() != t.DType() || window.Rank() != 1 {
				return graphErr("STFT of %v with the window %v", t, window)
			}
			length = window.Len()
		}
		if l := input(in, 3); l != nil {
			if length, err = scalarInt(l); err != nil {
				return err
			}
		}
		if step < 1 || length < 1 || length > t.Dim(1) {
			return graphErr("STFT of %v in frames of %d, %d apart", t, length, step)
		}
		p := &frames{x: x, bins: length}
		if oneSided {
			p.bins = length/2 + 1
		}
		shape := []int{t.Dim(0), 1 + (t.Dim(1)-length)/step, p.bins, 2}
		if prod(shape) == 0 {
			out[0], err = x.Alloc(t.DType(), shape)
			return err
		}
		if p.f, err = newFourier(x, length); err != nil {
			return err
		}
		if t.DType() == tensor.Float64 {
			out[0], err = shortTime[float64](p, t, window, step, shape)
		} else {
			out[0], err = shortTime[float32](p, t, window, step, shape)
		}
		return err
	})
}

// shortTime transforms frames that lie step apart, weighed by a window that may be nil.
func shortTime[T float](
	p *frames, t, window *tensor.Tensor, step int, shape []int,
) (*tensor.Tensor, error) {
	r, dst, err := alloc[T](p.x, shape)
	if err != nil {
		return nil, err
	}
	var weights []T
	parts, have, count, weighed := 1, t.Dim(1), shape[1], p.f.n
	if t.Rank() == 3 {
		parts = t.Dim(2)
	}
	if window != nil {
		weights = tensor.Data[T](window)
		weighed = min(weighed, len(weights))
	}
	src := tensor.Data[T](t)
	return r, p.run(shape[0]*count, func(i int, v []complex128) {
		from := (i/count*have + i%count*step) * parts
		for k := range weighed {
			v[k] = complexOf(src[from+k*parts:], parts)
			if weights != nil {
				v[k] *= complex(float64(weights[k]), 0)
			}
		}
	}, func(i int, v []complex128) {
		for k, c := range v {
			dst[2*(i*p.bins+k)] = T(real(c))
			dst[2*(i*p.bins+k)+1] = T(imag(c))
		}
	})
}
