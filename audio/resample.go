package audio

import (
	"math"

	"github.com/crossattn/xpipe/internal/kernel"
)

// The filter of a Resampler: a sinc under a Kaiser window, whose pass band ends at passEnd of the
// lower rate's half, and which lets through less than 1e-6 (120 dB) from that half on. soxr's high
// quality has the same bands.
const (
	passEnd  = 0.9135
	decibels = 126.4
	// mostPhases bounds the table of a filter; ratios that need more take the mean of the two nearest
	// phases, weighted, which is 118 dB exact.
	mostPhases = 1024
)

// Resampler changes the rate of a mono sound, block by block. It has no delay: sample i of the result
// is the sound at i/to seconds; before its beginning and behind its end the sound is silent. It is
// not safe for use by several goroutines.
type Resampler struct {
	from, to int // reduced by their common divisor
	phases   int
	exact    bool // phases is to: every place of the result has a phase of its own
	half     int  // samples of the input on each side of a place
	table    []float32

	input []float32 // samples from place begin of the input on
	begin int64
	next  int64 // the next sample of the result
	taken int64 // samples of the input so far
}

// NewResampler returns a Resampler from one rate to another, both in samples a second and at least 1.
func NewResampler(from, to int) *Resampler {
	d := gcd(from, to)
	r := &Resampler{from: from / d, to: to / d}
	if r.from == r.to {
		return r
	}
	r.phases, r.exact = r.to, true
	if r.phases > mostPhases {
		r.phases, r.exact = mostPhases, false
	}
	low := math.Min(1, float64(r.to)/float64(r.from)) // the lower half rate, of the input's
	cutoff := low * (1 + passEnd) / 2
	width := low * (1 - passEnd) / 2 // of the transition, of the input's rate
	// Kaiser's formulas for the length and shape of the window.
	r.half = int(math.Ceil((decibels-7.95)/(14.36*width)/2)) + 1
	beta := 0.1102 * (decibels - 8.7)
	taps := 2 * r.half
	rows := r.phases
	if !r.exact {
		rows++ // the phase behind the last, to take the mean with
	}
	r.table = make([]float32, rows*taps)
	bottom := bessel(beta)
	row := make([]float64, taps)
	for p := range rows {
		var sum float64
		for k := range taps {
			// The place of input sample k, seen from the place of the result.
			x := float64(k-r.half+1) - float64(p)/float64(r.phases)
			u := x / float64(r.half)
			if row[k] = 0; u > -1 && u < 1 {
				row[k] = sinc(cutoff*x) * bessel(beta*math.Sqrt(1-u*u)) / bottom
			}
			sum += row[k]
		}
		for k, v := range row { // so that a constant stays what it is, at every phase
			r.table[p*taps+k] = float32(v / sum)
		}
	}
	r.begin = int64(-r.half)
	r.input = make([]float32, r.half)
	return r
}

// Write takes samples of the input and appends to dst what of the result they complete.
func (r *Resampler) Write(dst, samples []float32) []float32 {
	if r.table == nil {
		return append(dst, samples...)
	}
	r.taken += int64(len(samples))
	r.input = append(r.input, samples...)
	return r.take(dst, math.MaxInt64)
}

// Close appends to dst the rest of the result, whose length is that of the input times to/from,
// rounded.
func (r *Resampler) Close(dst []float32) []float32 {
	if r.table == nil {
		return dst
	}
	length := (2*r.taken*int64(r.to) + int64(r.from)) / (2 * int64(r.from))
	r.input = append(r.input, make([]float32, r.half+1)...)
	return r.take(dst, length)
}

// take appends the samples of the result that the input reaches, up to the one of number end.
func (r *Resampler) take(dst []float32, end int64) []float32 {
	taps := 2 * r.half
	for ; r.next < end; r.next++ {
		place := r.next * int64(r.from)
		whole, part := place/int64(r.to), place%int64(r.to)
		first := int(whole - int64(r.half) + 1 - r.begin)
		if first+taps > len(r.input) {
			break
		}
		in := r.input[first : first+taps]
		if r.exact {
			dst = append(dst, dot(in, r.table[int(part)*taps:]))
			continue
		}
		phase := float64(part) * float64(r.phases) / float64(r.to)
		p := int(phase)
		w := float32(phase - float64(p))
		a, b := dot(in, r.table[p*taps:]), dot(in, r.table[(p+1)*taps:])
		dst = append(dst, a+w*(b-a))
	}
	// What lies before the next place is done with.
	if done := int(r.next*int64(r.from)/int64(r.to) - int64(r.half) + 1 - r.begin); done > len(r.input)/2 {
		done = min(done, len(r.input))
		r.input = append(r.input[:0], r.input[done:]...)
		r.begin += int64(done)
	}
	return dst
}

// dot returns the sum of the products of a and the first of b.
func dot(a, b []float32) float32 {
	var sum [1]float32
	kernel.Dots(sum[:], a, b, len(a))
	return sum[0]
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// bessel is the modified Bessel function of order 0.
func bessel(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > sum*1e-17; k++ {
		term *= x / 2 / k * (x / 2 / k)
		sum += term
	}
	return sum
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// Resample returns a sound at another rate, in samples a second. Without samples, and between rates of
// which one is below 1, there is nothing to resample: the sound comes back as it is.
func Resample(s *Sound, rate int) *Sound {
	if s.Rate == rate || s.Rate < 1 || rate < 1 || len(s.Samples) == 0 {
		return s
	}
	r := NewResampler(s.Rate, rate)
	out := make([]float32, 0, int(float64(len(s.Samples))*float64(rate)/float64(s.Rate))+1)
	return &Sound{Rate: rate, Samples: r.Close(r.Write(out, s.Samples))}
}
