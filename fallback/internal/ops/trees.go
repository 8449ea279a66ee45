package ops

import (
	"math"
	"slices"

	"github.com/crossattn/xpipe/tensor"
)

// branch is one node of a TreeEnsemble: it compares a feature and goes on to one of two.
type branch struct {
	feature     int
	split       float64
	mode        uint8 // of branch
	members     []float64
	missingTrue bool // NaN goes where the comparison holds
	next        [2]int32
	leaf        [2]bool // next counts leaves
}

// How a node of a TreeEnsemble compares the feature with its split.
const (
	branchLEQ = iota
	branchLT
	branchGTE
	branchGT
	branchEQ
	branchNEQ
	branchMember
)

// holds says whether a feature goes to the first branch.
func (b *branch) holds(v float64) bool {
	if b.missingTrue && math.IsNaN(v) {
		return true
	}
	switch b.mode {
	case branchLEQ:
		return v <= b.split
	case branchLT:
		return v < b.split
	case branchGTE:
		return v >= b.split
	case branchGT:
		return v > b.split
	case branchEQ:
		return v == b.split
	case branchNEQ:
		return v != b.split
	}
	return slices.Contains(b.members, v)
}

// forest is what the attributes of a TreeEnsemble say.
type forest struct {
	nodes    []branch
	roots    []int
	targets  []int // of each leaf
	weights  []float64
	count    int // targets
	features int // that the nodes read
}

// buildTreeEnsemble sums, or averages and so on, the leaves that the rows of [N,F] reach in each
// tree. Sums are kept in float64.
func buildTreeEnsemble(n *Node) Kernel {
	f := newForest(n)
	aggregate, transform := n.int("aggregate_function", 1), n.int("post_transform", 0)
	if aggregate < 0 || aggregate > 3 {
		n.fail("attribute %q is %d", "aggregate_function", aggregate)
	}
	if transform < 0 || transform > 4 {
		n.fail("attribute %q is %d", "post_transform", transform)
	}
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) (err error) {
		switch in[0].DType() {
		case tensor.Float32:
			out[0], err = predict[float32](x, in[0], f, aggregate, transform)
		case tensor.Float64:
			out[0], err = predict[float64](x, in[0], f, aggregate, transform)
		default:
			err = typeErr(n.Op, in[0])
		}
		return err
	})
}

// newForest reads and checks the attributes. n fails where they do not fit together.
func newForest(n *Node) *forest {
	f := &forest{count: n.int("n_targets", 1), roots: n.ints("tree_roots"),
		targets: n.ints("leaf_targetids"), weights: n.doubles("leaf_weights")}
	splits, modes := n.doubles("nodes_splits"), n.doubles("nodes_modes")
	members := n.doubles("membership_values")
	features, missing := n.ints("nodes_featureids"), n.ints("nodes_missing_value_tracks_true")
	next := [2][]int{n.ints("nodes_truenodeids"), n.ints("nodes_falsenodeids")}
	leaf := [2][]int{n.ints("nodes_trueleafs"), n.ints("nodes_falseleafs")}
	count := len(features)
	for _, l := range []int{len(splits), len(modes), len(next[0]), len(next[1]), len(leaf[0]),
		len(leaf[1])} {
		if l != count {
			n.fail("has attributes of %d and of %d nodes", count, l)
		}
	}
	if missing != nil && len(missing) != count || len(f.targets) != len(f.weights) || f.count < 1 {
		n.fail("has %d flags of missing values for %d nodes, %d targets and %d weights of leaves, "+
			"%d targets", len(missing), count, len(f.targets), len(f.weights), f.count)
	}
	for _, t := range f.targets {
		if t < 0 || t >= f.count {
			n.fail("a leaf counts for target %d of %d", t, f.count)
		}
	}
	if n.err != nil {
		return f
	}
	f.nodes = make([]branch, count)
	for i := range f.nodes {
		b := &f.nodes[i]
		b.feature, b.split, b.mode = features[i], splits[i], uint8(modes[i])
		b.missingTrue = missing != nil && missing[i] != 0
		if b.feature < 0 || !(modes[i] >= 0 && modes[i] <= branchMember) {
			n.fail("node %d reads feature %d in mode %v", i, b.feature, modes[i])
		}
		f.features = max(f.features, b.feature+1)
		if b.mode == branchMember { // sets end in NaN
			end := slices.IndexFunc(members, math.IsNaN)
			if end < 0 {
				n.fail("node %d has no set of members that NaN ends", i)
				return f
			}
			b.members, members = members[:end], members[end+1:]
		}
		for k := range b.next {
			b.next[k], b.leaf[k] = int32(next[k][i]), leaf[k][i] != 0
			limit := count
			if b.leaf[k] {
				limit = len(f.weights)
			}
			if next[k][i] < 0 || next[k][i] >= limit {
				n.fail("node %d goes on to %d of %d", i, next[k][i], limit)
			}
		}
	}
	if n.err == nil {
		f.checkLoops(n)
	}
	return f
}

// checkLoops makes n fail where a walk from a root would not end.
func (f *forest) checkLoops(n *Node) {
	const under, done = 1, 2 // nodes whose branches are being walked, and were
	state := make([]uint8, len(f.nodes))
	for _, root := range f.roots {
		if root < 0 || root >= len(f.nodes) {
			n.fail("a tree starts at node %d of %d", root, len(f.nodes))
			return
		}
		for path := []int{root}; len(path) > 0; {
			i := path[len(path)-1]
			if state[i] != 0 {
				state[i], path = done, path[:len(path)-1]
				continue
			}
			state[i] = under
			for k, next := range f.nodes[i].next {
				switch {
				case f.nodes[i].leaf[k] || state[next] == done:
				case state[next] == under:
					n.fail("node %d goes back to node %d", i, next)
					return
				default:
					path = append(path, int(next))
				}
			}
		}
	}
}

// predict returns the targets of each row, [N,targets].
func predict[T float](x *Context, t *tensor.Tensor, f *forest, aggregate, transform int) (
	*tensor.Tensor, error) {
	if t.Rank() != 2 || t.Dim(1) < f.features {
		return nil, graphErr("rows %v for trees that read %d features", t, f.features)
	}
	r, dst, err := alloc[T](x, []int{t.Dim(0), f.count})
	if err != nil {
		return nil, err
	}
	src, width := tensor.Data[T](t), t.Dim(1)
	grain := max(1, minWork/(16*(len(f.roots)+1)))
	scratch := []int{x.workers(t.Dim(0), grain), f.count}
	_, allSums, err := alloc[float64](x, scratch)
	if err != nil {
		return nil, err
	}
	_, allMet, err := alloc[bool](x, scratch)
	if err != nil {
		return nil, err
	}
	return r, x.parallel(t.Dim(0), grain, func(worker, lo, hi int) {
		sums, met := allSums[worker*f.count:][:f.count], allMet[worker*f.count:][:f.count]
		for i := lo; i < hi; i++ {
			clear(sums)
			clear(met)
			for _, root := range f.roots {
				leaf := walk(f.nodes, root, src[i*width:(i+1)*width])
				to, w := f.targets[leaf], f.weights[leaf]
				switch {
				case !met[to]:
					sums[to], met[to] = w, true
				case aggregate == 2:
					sums[to] = min(sums[to], w)
				case aggregate == 3:
					sums[to] = max(sums[to], w)
				default:
					sums[to] += w
				}
			}
			if aggregate == 0 {
				for j := range sums {
					sums[j] /= float64(max(1, len(f.roots)))
				}
			}
			transformScores(sums, transform)
			for j, v := range sums {
				dst[i*f.count+j] = T(v)
			}
		}
	})
}

// walk returns the leaf that a row reaches from a root.
func walk[T float](nodes []branch, at int, row []T) int {
	for {
		b, k := &nodes[at], 1
		if b.holds(float64(row[b.feature])) {
			k = 0
		}
		at = int(b.next[k])
		if b.leaf[k] {
			return at
		}
	}
}

// transformScores applies post_transform: none, softmax, logistic, softmax of what is not 0, probit.
// ONNX Runtime 1.24 takes 1 and 2 the other way round, and leaves single targets as they are; this
// follows the specification.
func transformScores(v []float64, transform int) {
	switch transform {
	case 1, 3:
		top, sum := slices.Max(v), 0.0
		for i, s := range v {
			if transform == 1 || s != 0 {
				v[i] = math.Exp(s - top)
				sum += v[i]
			}
		}
		for i := range v {
			v[i] /= max(sum, math.SmallestNonzeroFloat64)
		}
	case 2:
		for i, s := range v {
			v[i] = sigmoid(s)
		}
	case 4:
		for i, s := range v {
			v[i] = math.Sqrt2 * math.Erfinv(2*s-1)
		}
	}
}
