package resample

// Torch resizes a plane of sw by sh numbers to w by h as torch's interpolate does, bilinear with
// antialiasing and without aligned corners: float32 coefficients and sums, rows and then columns.
// Source: _compute_indices_min_size_weights_aa of UpSampleKernel.cpp, torch 2.8.0.
func Torch(dst, src []float32, sw, sh, w, h int) {
	if w != sw {
		wide := make([]float32, w*sh)
		all := torchTaps(sw, w)
		for y := range sh {
			for x, k := range all {
				sum := float32(0)
				for j, c := range k.coef {
					sum += float32(src[y*sw+k.start+j] * c)
				}
				wide[y*w+x] = sum
			}
		}
		src = wide
	}
	if h == sh {
		copy(dst, src)
		return
	}
	for y, k := range torchTaps(sh, h) {
		for x := range w {
			sum := float32(0)
			for j, c := range k.coef {
				sum += float32(src[(k.start+j)*w+x] * c)
			}
			dst[y*w+x] = sum
		}
	}
}

// floatTaps are the coefficients of one output position.
type floatTaps struct {
	start int
	coef  []float32
}

func torchTaps(in, out int) []floatTaps {
	all := make([]floatTaps, out)
	scale := float32(in) / float32(out)
	support, inverse := float32(1), float32(1)
	if scale >= 1 {
		support, inverse = scale, 1/scale
	}
	for i := range all {
		centre := float32(scale * (float32(i) + 0.5))
		first := max(int(centre-support+0.5), 0)
		last := min(int(centre+support+0.5), in)
		coef, total := make([]float32, last-first), float32(0)
		for j := range coef {
			x := float32((float32(j+first) - centre + 0.5) * inverse)
			coef[j] = max(1-max(x, -x), 0)
			total += coef[j]
		}
		for j := range coef {
			if total != 0 {
				coef[j] /= total
			}
		}
		all[i] = floatTaps{first, coef}
	}
	return all
}
