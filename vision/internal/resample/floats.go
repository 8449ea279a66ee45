package resample

// Floats resizes a plane of sw by sh numbers to w by h, as Pillow resizes pictures of mode F: float64
// coefficients and sums, rows and then columns, each rounded to float32.
func Floats(dst, src []float32, sw, sh, w, h int, f Filter) {
	if w != sw {
		wide := make([]float32, w*sh)
		all := weightsOf(f, sw, w)
		for y := range sh {
			for x, k := range all {
				sum := 0.0
				for j, c := range k.coef {
					sum += float64(float64(src[y*sw+k.start+j]) * c)
				}
				wide[y*w+x] = float32(sum)
			}
		}
		src = wide
	}
	if h == sh {
		copy(dst, src)
		return
	}
	for y, k := range weightsOf(f, sh, h) {
		for x := range w {
			sum := 0.0
			for j, c := range k.coef {
				sum += float64(float64(src[(k.start+j)*w+x]) * c)
			}
			dst[y*w+x] = float32(sum)
		}
	}
}

// taps are the coefficients of one output position.
type taps struct {
	start int
	coef  []float64
}

func weightsOf(f Filter, in, out int) []taps {
	all := make([]taps, out)
	for i := range all {
		w := make([]float64, f.most(in, float64(in), out))
		first, n := f.weights(w, in, float64(in), out, i)
		all[i] = taps{first, w[:n]}
	}
	return all
}
