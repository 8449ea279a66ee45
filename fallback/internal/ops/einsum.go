package ops

import (
	"slices"
	"strings"

	"github.com/crossattn/xpipe/tensor"
)

// equation is a parsed einsum: labels of each operand and of the result. Dimensions under an
// ellipsis get labels of their own when the ranks are known.
type equation struct {
	in  []string
	out string // "" with implicit set when the equation has no arrow
	// implicit: the result has the labels that occur once, in alphabetical order, after those of
	// the ellipsis.
	implicit bool
}

func buildEinsum(n *Node) Kernel {
	eq := parseEquation(n, strings.ReplaceAll(n.str("equation", ""), " ", ""))
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		for i, t := range in {
			if t == nil {
				return graphErr("input %d is left out", i)
			}
			if t.DType() != in[0].DType() {
				return graphErr("Einsum of %v and %v", in[0], t)
			}
		}
		dtype := in[0].DType()
		if dtype == tensor.Int8 || dtype == tensor.Uint8 { // sums wrap alike in more bits
			in = slices.Clone(in)
			for i, t := range in {
				var err error
				if in[i], err = cast(x, t, tensor.Int32); err != nil {
					return err
				}
			}
		}
		t, err := eq.run(x, in)
		if err == nil {
			out[0], err = cast(x, t, dtype)
		}
		return err
	})
}

func parseEquation(n *Node, text string) *equation {
	left, right, arrow := strings.Cut(text, "->")
	eq := &equation{in: strings.Split(left, ","), out: right, implicit: !arrow}
	if len(eq.in) != n.Inputs {
		n.fail("equation %q for %d inputs", text, n.Inputs)
	}
	for _, term := range append(slices.Clone(eq.in), eq.out) {
		rest := strings.Replace(term, "...", "", 1)
		for _, c := range rest {
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z') {
				n.fail("equation %q is not understood", text)
			}
		}
	}
	return eq
}

// ellipsisLabel is the label of the i-th dimension from the end under "...".
func ellipsisLabel(i int) rune { return rune(1 + i) }

// run multiplies the operands two at a time, and sums over a label as soon as nothing else needs
// it.
func (eq *equation) run(x *Context, in []*tensor.Tensor) (*tensor.Tensor, error) {
	sizes := map[rune]int{}
	labels := make([][]rune, len(in))
	wide := 0 // most dimensions under an ellipsis
	for i, t := range in {
		var err error
		var under int
		if labels[i], under, err = expandLabels(eq.in[i], t.Shape(), sizes); err != nil {
			return nil, err
		}
		wide = max(wide, under)
	}
	want := eq.result(labels, wide)
	for i, l := range want {
		if _, known := sizes[l]; !known {
			return nil, graphErr("the einsum result has a label that no operand has")
		}
		for _, o := range want[:i] {
			if o == l {
				return nil, graphErr("the einsum result repeats a label")
			}
		}
	}
	acc, accLabels := in[0], labels[0]
	acc, accLabels, err := diagonal(x, acc, accLabels)
	if err != nil {
		return nil, err
	}
	for i := 1; i < len(in); i++ {
		t, l, err := diagonal(x, in[i], labels[i])
		if err != nil {
			return nil, err
		}
		needed := map[rune]bool{}
		for _, r := range want {
			needed[r] = true
		}
		for _, later := range labels[i+1:] {
			for _, r := range later {
				needed[r] = true
			}
		}
		if acc, accLabels, err = contract(x, acc, t, accLabels, l, needed); err != nil {
			return nil, err
		}
	}
	return arrange(x, acc, accLabels, want, sizes)
}

func expandLabels(term string, shape []int,
	sizes map[rune]int) (labels []rune, under int, err error) {
	before, after, dots := strings.Cut(term, "...")
	under = len(shape) - len(before) - len(after)
	if under < 0 || !dots && under != 0 {
		return nil, 0, graphErr("einsum operand %q with shape %v", term, shape)
	}
	labels = append(labels, []rune(before)...)
	for i := range under {
		labels = append(labels, ellipsisLabel(under-1-i))
	}
	labels = append(labels, []rune(after)...)
	for i, l := range labels {
		d, known := sizes[l]
		if !known || d == 1 {
			sizes[l] = shape[i]
		} else if shape[i] != d && shape[i] != 1 {
			return nil, 0, graphErr("einsum label %q is %d and %d", l, d, shape[i])
		}
	}
	return labels, under, nil
}

// result returns the labels of the output.
func (eq *equation) result(labels [][]rune, wide int) []rune {
	var want []rune
	ellipsis := func() {
		for i := range wide {
			want = append(want, ellipsisLabel(wide-1-i))
		}
	}
	if !eq.implicit {
		before, after, dots := strings.Cut(eq.out, "...")
		want = append(want, []rune(before)...)
		if dots {
			ellipsis()
		}
		return append(want, []rune(after)...)
	}
	ellipsis()
	count := map[rune]int{}
	for _, ls := range labels {
		for _, l := range ls {
			count[l]++
		}
	}
	for l := 'A'; l <= 'z'; l++ {
		if count[l] == 1 {
			want = append(want, l)
		}
	}
	return want
}

// diagonal takes the diagonal of dimensions with the same label.
func diagonal(x *Context, t *tensor.Tensor, labels []rune) (*tensor.Tensor, []rune, error) {
	seen := map[rune]int{}
	var keep []rune
	var shape, strides []int
	from := stridesOf(t.Shape())
	for i, l := range labels {
		if at, twice := seen[l]; twice {
			if t.Dim(i) != shape[at] {
				return nil, nil, graphErr("einsum repeats a label over %v", t)
			}
			strides[at] += from[i]
			continue
		}
		seen[l] = len(keep)
		keep, shape, strides = append(keep, l), append(shape, t.Dim(i)), append(strides, from[i])
	}
	if len(keep) == len(labels) {
		return t, labels, nil
	}
	t, err := strided(x, t, shape, strides, 0)
	return t, keep, err
}

// contract multiplies a and b and sums over labels that only they have. Labels in both that are
// needed later are batch dimensions; the rest is a matrix product.
func contract(x *Context, a, b *tensor.Tensor, la, lb []rune,
	needed map[rune]bool) (*tensor.Tensor, []rune, error) {
	size := func(t *tensor.Tensor, ls []rune, l rune) int {
		for i, r := range ls {
			if r == l {
				return t.Dim(i)
			}
		}
		return -1
	}
	var batch, sum, onlyA, onlyB []rune
	for _, l := range la {
		da, db := size(a, la, l), size(b, lb, l)
		switch {
		case db < 0 || db == 1 && da != 1: // a dimension of 1 in b adds nothing
			onlyA = append(onlyA, l)
		case needed[l] && da == db:
			batch = append(batch, l)
		case da == db:
			sum = append(sum, l)
		}
		// da == 1 != db: comes with b below
	}
	for _, l := range lb {
		da, db := size(a, la, l), size(b, lb, l)
		if da < 0 || da == 1 && db != 1 {
			onlyB = append(onlyB, l)
		}
	}
	order := func(t *tensor.Tensor, ls []rune, groups ...[]rune) (*tensor.Tensor, [][]int, error) {
		var shape []int
		var kept []rune
		for i, l := range ls {
			for _, g := range groups {
				if contains(g, l) {
					shape, kept = append(shape, t.Dim(i)), append(kept, l)
				}
			}
		}
		t, err := reshaped(t, shape) // drops the dimensions of 1 that add nothing
		if err != nil {
			return nil, nil, err
		}
		var perm []int
		dims := make([][]int, len(groups))
		for g, group := range groups {
			for _, l := range group {
				for i, k := range kept {
					if k == l {
						perm = append(perm, i)
						dims[g] = append(dims[g], shape[i])
					}
				}
			}
		}
		if t, err = transpose(x, t, append([]int{}, perm...)); err != nil {
			return nil, nil, err
		}
		return t, dims, nil
	}
	ta, da, err := order(a, la, batch, onlyA, sum)
	if err != nil {
		return nil, nil, err
	}
	tb, db, err := order(b, lb, batch, sum, onlyB)
	if err != nil {
		return nil, nil, err
	}
	nb, m, k, n := prod(da[0]), prod(da[1]), prod(da[2]), prod(db[2])
	if ta, err = reshaped(ta, []int{nb, m, k}); err != nil {
		return nil, nil, err
	}
	if tb, err = reshaped(tb, []int{nb, k, n}); err != nil {
		return nil, nil, err
	}
	t, err := anyMatmul(x, ta, tb)
	if err != nil {
		return nil, nil, err
	}
	shape := append(append(clone(da[0]), da[1]...), db[2]...)
	labels := append(append(append([]rune{}, batch...), onlyA...), onlyB...)
	t, err = reshaped(t, shape)
	return t, labels, err
}

func contains(list []rune, l rune) bool {
	for _, r := range list {
		if r == l {
			return true
		}
	}
	return false
}

// arrange sums away what the result lacks and puts the rest in order.
func arrange(x *Context, t *tensor.Tensor, labels, want []rune,
	sizes map[rune]int) (*tensor.Tensor, error) {
	var gone []int
	var keep []rune
	for i, l := range labels {
		if contains(want, l) {
			keep = append(keep, l)
		} else {
			gone = append(gone, i)
		}
	}
	if len(gone) > 0 {
		p, err := planReduction(t.Shape(), gone, false)
		if err != nil {
			return nil, err
		}
		if t, err = reduceSum.apply("Einsum", x, t, p); err != nil {
			return nil, err
		}
	}
	if len(keep) != len(want) {
		return nil, graphErr("the einsum result has a label that was summed away")
	}
	var perm, shape []int
	for _, w := range want {
		shape = append(shape, sizes[w])
		for i, l := range keep {
			if l == w {
				perm = append(perm, i)
			}
		}
	}
	if len(perm) == 0 {
		return t, nil
	}
	t, err := transpose(x, t, perm)
	if err != nil {
		return nil, err
	}
	if t.Len() != prod(shape) {
		return spreadTo(x, t, shape)
	}
	return t, nil
}
