package ops

import "slices"

// window is the kernel of a convolution or pool, which slides over the spatial dimensions of
// [N,C,D1,D2,...].
type window struct {
	kernel, strides, dilations []int // as given; nil where not
	pads                       []int // begins, then ends
	autoPad                    string
	ceil                       bool
}

func newWindow(n *Node) *window {
	w := &window{
		kernel:    n.ints("kernel_shape"),
		strides:   n.ints("strides"),
		dilations: n.ints("dilations"),
		pads:      n.ints("pads"),
		autoPad:   n.str("auto_pad", "NOTSET"),
		ceil:      n.int("ceil_mode", 0) == 1,
	}
	n.oneOf("auto_pad", w.autoPad, "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
	lists := map[string][]int{
		"kernel_shape": w.kernel, "strides": w.strides, "dilations": w.dilations,
	}
	for name, list := range lists {
		for _, v := range list {
			if v < 1 || v > 1<<20 {
				n.fail("attribute %q holds %d", name, v)
			}
		}
	}
	for _, v := range w.pads {
		if v < 0 || v > 1<<20 {
			n.fail("attribute \"pads\" holds %d", v)
		}
	}
	return w
}

// floorDiv is a/b rounded down; b is positive.
func floorDiv(a, b int) int {
	if a < 0 {
		return -((-a + b - 1) / b)
	}
	return a / b
}

// place is a window put on an input of a known size.
type place struct {
	in, out, kernel, strides, dilations, before, after []int
}

// maxTaps bounds the elements that a window covers.
const maxTaps = 1 << 24

// on places the window on spatial dimensions in, and computes the output size.
func (w *window) on(in, kernel []int) (*place, error) {
	r := len(in)
	ones := func(list []int) ([]int, error) {
		if list == nil {
			return slices.Repeat([]int{1}, r), nil
		}
		if len(list) != r {
			return nil, graphErr("a window of %d dimensions on an input of %d", len(list), r)
		}
		return list, nil
	}
	p := &place{in: in, kernel: kernel, out: make([]int, r), before: make([]int, r),
		after: make([]int, r)}
	var err error
	if p.strides, err = ones(w.strides); err != nil {
		return nil, err
	}
	if p.dilations, err = ones(w.dilations); err != nil {
		return nil, err
	}
	if len(kernel) != r || w.pads != nil && len(w.pads) != 2*r {
		return nil, graphErr("a window %v with pads %v on an input %v", kernel, w.pads, in)
	}
	taps := 1
	for i := range r {
		if taps *= kernel[i]; taps < 1 || taps > maxTaps {
			return nil, graphErr("a window of %v", kernel)
		}
		reach := (kernel[i]-1)*p.dilations[i] + 1
		switch w.autoPad {
		case "SAME_UPPER", "SAME_LOWER":
			p.out[i] = (in[i] + p.strides[i] - 1) / p.strides[i]
			total := max(0, (p.out[i]-1)*p.strides[i]+reach-in[i])
			p.before[i], p.after[i] = total/2, total-total/2
			if w.autoPad == "SAME_LOWER" {
				p.before[i], p.after[i] = p.after[i], p.before[i]
			}
			continue
		case "NOTSET":
			if w.pads != nil {
				p.before[i], p.after[i] = w.pads[i], w.pads[r+i]
			}
		}
		room := in[i] + p.before[i] + p.after[i] - reach // negative where the window reaches over
		p.out[i] = floorDiv(room, p.strides[i]) + 1
		if w.ceil {
			p.out[i] = floorDiv(room+p.strides[i]-1, p.strides[i]) + 1
			// The last window must begin inside the input or the padding before it.
			if (p.out[i]-1)*p.strides[i] >= in[i]+p.before[i] {
				p.out[i]--
			}
		}
		if p.out[i] < 0 {
			return nil, graphErr("a window of %d on a dimension of %d",
				reach, in[i]+p.before[i]+p.after[i])
		}
	}
	return p, nil
}
