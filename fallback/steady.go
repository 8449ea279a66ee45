package fallback

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"weak"

	"github.com/crossattn/xpipe/fallback/internal/ops"
	"github.com/crossattn/xpipe/onnx/ir"
	"github.com/crossattn/xpipe/tensor"
)

// A decoder exported without a cache of its cross-attention makes the keys and values of the
// encoder's states anew at every step, as the image captioners of optimum and transformers.js do:
// more work than the rest of a step. Of inputs that Options.Steady names, what is computed of them
// and of constants alone is computed once and kept as long as the same tensors come again.

// hoistSteady moves what both branches of an If compute of steady inputs alone, and in the same
// way, in front of the If.
func (p *planner) hoistSteady() error {
	for i := 0; i < len(p.source.Nodes); i++ {
		n := p.source.Nodes[i]
		if !is(n, "If") {
			continue
		}
		h := &hoist{planner: p, at: i, ids: map[string]string{}, names: map[string]string{}}
		changed, err := h.branches(n)
		if err != nil {
			return err
		}
		if changed == nil {
			continue
		}
		nodes := slices.Clone(p.source.Nodes)
		nodes[i] = changed
		p.source.SetNodes(slices.Insert(nodes, i, h.moved...))
		i += len(h.moved)
	}
	return nil
}

// hoist moves nodes out of the branches of one If.
type hoist struct {
	*planner
	at    int // the If's place, by which names differ from those of other Ifs
	moved []*ir.Node
	ids   map[string]string // short names for what computes a value
	names map[string]string // by those: the value in front of the If, "" as long as it is not there
}

// branches returns the If without what it shares, nil where that is nothing.
func (h *hoist) branches(n *ir.Node) (*ir.Node, error) {
	changed := *n
	changed.Attrs = slices.Clone(n.Attrs)
	var graphs []*ir.Graph
	for i, a := range n.Attrs {
		b, ok := a.Value.(*ir.Graph)
		if !ok {
			continue
		}
		consts := maps.Clone(b.Consts)
		for _, name := range b.Captures {
			if c := h.source.Consts[name]; c != nil {
				consts[name] = c
			}
		}
		// Of the shapes that branches compute of constants most is folded away.
		q := &planner{
			ctx: h.ctx, model: h.model, threads: h.threads,
			source: ir.New(b.Inputs, b.Outputs, consts, b.Nodes),
		}
		if err := q.fold(q.narrowWeights); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(q.source.Nodes, holdsGraphs) {
			return nil, nil // which may read what would be moved
		}
		changed.Attrs[i].Value = q.source
		graphs = append(graphs, q.source)
	}
	// What all branches compute is known by how they compute it.
	count := map[string]int{}
	for _, g := range graphs {
		different := map[string]bool{}
		for _, key := range h.computed(g) {
			different[key] = true
		}
		for key := range different {
			count[key]++
		}
	}
	for key, n := range count {
		if n == len(graphs) {
			h.names[key] = ""
		}
	}
	if len(h.names) == 0 {
		return nil, nil
	}
	for i, a := range changed.Attrs {
		if g, ok := a.Value.(*ir.Graph); ok {
			changed.Attrs[i].Value = h.without(g)
		}
	}
	return &changed, nil
}

// computed gives, for each node that computes something of steady values alone, a name of how it does.
func (h *hoist) computed(g *ir.Graph) map[*ir.Node]string {
	keys := map[*ir.Node]string{}
	values := map[string]string{}
	for _, name := range h.steady {
		values[name] = name
	}
	for _, n := range g.Nodes {
		for _, o := range n.Outputs {
			delete(values, o) // a name of the branch's own
		}
		key, ok := steadyKey(g, n, values)
		if !ok {
			continue
		}
		if h.ids[key] == "" {
			h.ids[key] = fmt.Sprintf("#%d", len(h.ids))
		}
		keys[n] = h.ids[key]
		for i, o := range n.Outputs {
			if o != "" {
				values[o] = fmt.Sprintf("%s:%d", keys[n], i)
			}
		}
	}
	return keys
}

// steadyKey describes what a node computes of steady values, of which values has descriptions.
func steadyKey(g *ir.Graph, n *ir.Node, values map[string]string) (key string, ok bool) {
	if !repeatable(n) || slices.ContainsFunc(n.Outputs, g.Kept) {
		return "", false
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s.%s.%d(", n.Domain, n.Op, n.Version)
	steady := false
	for _, in := range n.Inputs {
		switch c := g.Consts[in]; {
		case in == "":
		case values[in] != "":
			b.WriteString(values[in])
			steady = true
		case c != nil:
			b.WriteString(constKey(c))
		default:
			return "", false
		}
		b.WriteByte(',')
	}
	for _, a := range n.Attrs {
		switch v := a.Value.(type) {
		case int64, float32, string, []int64, []float32, []string, nil:
			fmt.Fprintf(&b, "%s=%v;", a.Name, v)
		default:
			return "", false
		}
	}
	for _, o := range n.Outputs { // Split makes as many parts as it has outputs
		fmt.Fprintf(&b, ":%t", o != "")
	}
	return b.String() + ")", steady
}

// repeatable says whether a node gives the same for the same inputs, and tensors: sequences and
// optional values are not kept.
func repeatable(n *ir.Node) bool {
	return !holdsGraphs(n) && !slices.ContainsFunc([]string{"Random", "Sequence", "Optional"},
		func(prefix string) bool { return strings.HasPrefix(n.Op, prefix) }) &&
		!slices.Contains([]string{"Bernoulli", "Dropout", "Multinomial", "SplitToSequence"}, n.Op)
}

func holdsGraphs(n *ir.Node) bool { return slices.ContainsFunc(n.Attrs, holdsGraph) }

// smallConst is how many elements of a constant are compared: shapes and axes, which each branch
// has for itself. Larger ones are weights, the same only where they are one tensor.
const smallConst = 16

func constKey(c *tensor.Tensor) string {
	var b strings.Builder
	if c.Len() > smallConst || tensor.WriteNpy(&b, c) != nil {
		return fmt.Sprintf("%p", c)
	}
	return b.String()
}

// without returns a branch without what all of them compute.
func (h *hoist) without(g *ir.Graph) *ir.Graph {
	keys, outer := h.computed(g), map[string]string{}
	rest := make([]*ir.Node, 0, len(g.Nodes))
	for _, n := range g.Nodes {
		key, ok := keys[n]
		base, shared := h.names[key]
		if !ok || !shared {
			rest = append(rest, n)
			continue
		}
		if base == "" {
			base = fmt.Sprintf("%s/steady%d.%d", h.source.Outputs[0].Name, h.at, len(h.moved))
			h.names[key] = base
			h.move(g, n, base, outer)
		}
		for i, o := range n.Outputs {
			if o != "" {
				outer[o] = fmt.Sprintf("%s:%d", base, i)
			}
		}
	}
	for i, n := range rest {
		rest[i] = renamed(n, outer)
	}
	return ir.New(g.Inputs, g.Outputs, g.Consts, rest)
}

// move puts a branch's node in front of the If, its outputs called after base.
func (h *hoist) move(g *ir.Graph, n *ir.Node, base string, outer map[string]string) {
	m := *renamed(n, outer)
	for i, in := range n.Inputs {
		if c := g.Consts[in]; c != nil && outer[in] == "" {
			if h.source.Consts[in] != c {
				m.Inputs[i] = fmt.Sprintf("%s/const%d", base, i)
			}
			h.source.Consts[m.Inputs[i]] = c
		}
	}
	m.Outputs = slices.Clone(n.Outputs)
	for i, o := range m.Outputs {
		if o != "" {
			m.Outputs[i] = fmt.Sprintf("%s:%d", base, i)
		}
	}
	h.moved = append(h.moved, &m)
}

// renamed returns a node that reads other values in the place of some.
func renamed(n *ir.Node, names map[string]string) *ir.Node {
	m := *n
	m.Inputs = slices.Clone(n.Inputs)
	for i, in := range m.Inputs {
		if other := names[in]; other != "" {
			m.Inputs[i] = other
		}
	}
	return &m
}

// markSteady finds the nodes that compute something of steady inputs and constants alone, and what
// other nodes and the caller need of them.
func (p *planner) markSteady() {
	g := p.graph
	steady := make([]bool, len(g.consts))
	for _, name := range p.steady {
		for i, in := range g.inputs {
			if in.Name == name {
				steady[g.inputIDs[i]] = true
				g.steadyIDs = append(g.steadyIDs, g.inputIDs[i])
				g.steadyInputs = append(g.steadyInputs, name)
			}
		}
	}
	needed := make([]bool, len(g.consts))
	for _, n := range g.nodes {
		some, all := false, n.repeatable
		for _, v := range n.in {
			some = some || v >= 0 && steady[v]
			all = all && (v < 0 || steady[v] || g.consts[v] != nil)
		}
		if n.steady = some && all; !n.steady {
			for _, v := range n.in {
				if v >= 0 {
					needed[v] = true
				}
			}
			continue
		}
		for _, o := range n.out {
			if o >= 0 {
				steady[o] = true
			}
		}
	}
	for _, v := range slices.Concat(g.outputIDs, g.tapIDs) {
		needed[v] = true
	}
	for _, n := range g.nodes {
		for _, o := range n.out {
			if n.steady && o >= 0 && needed[o] {
				g.kept = append(g.kept, o)
			}
		}
	}
	if len(g.kept) > 0 {
		g.keeps = g.stepsOf(g.kept, func(*node) bool { return true })
	}
}

// steadyKept is for how many callers at a time, each with tensors of its own, a session keeps what
// it computed of them.
const steadyKept = 4

// memo is what sessions computed of steady inputs, the latest last.
type memo struct {
	mu   sync.Mutex
	kept []memoEntry
}

type memoEntry struct {
	of     []weak.Pointer[tensor.Tensor] // the inputs
	values []*tensor.Tensor              // of graph.kept
}

// get returns what was computed of the tensors, and forgets what is of tensors that are no more.
func (m *memo) get(of []weak.Pointer[tensor.Tensor]) []*tensor.Tensor {
	m.forget()
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, e := range m.kept {
		if slices.Equal(e.of, of) {
			m.kept = append(slices.Delete(m.kept, i, i+1), e)
			return e.values
		}
	}
	return nil
}

// forget drops what is of tensors that are no more.
func (m *memo) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	gone := func(w weak.Pointer[tensor.Tensor]) bool { return w.Value() == nil }
	m.kept = slices.DeleteFunc(m.kept, func(e memoEntry) bool { return slices.ContainsFunc(e.of, gone) })
}

// clear drops everything.
func (m *memo) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept = nil
}

func (m *memo) put(e memoEntry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.kept) >= steadyKept {
		m.kept = slices.Delete(m.kept, 0, 1)
	}
	m.kept = append(m.kept, e)
}

// steady sets the values that the run's steady inputs alone make: those that are kept, or else
// computed now.
func (s *session) steady(x *ops.Context, a *arena, r *run) error {
	g := s.graph
	if len(g.kept) == 0 {
		return nil
	}
	of := make([]weak.Pointer[tensor.Tensor], len(g.steadyIDs))
	for i, id := range g.steadyIDs {
		of[i] = weak.Make(r.values[id])
	}
	values := s.memo.get(of)
	if values == nil {
		first := newRun(g, x, a)
		for _, id := range g.steadyIDs {
			first.values[id] = r.values[id]
		}
		if err := first.steps(g.keeps); err != nil {
			return err
		}
		values = make([]*tensor.Tensor, len(g.kept))
		for i, id := range g.kept {
			values[i] = first.values[id].Clone()
			a.Drop(first.values[id])
		}
		s.memo.put(memoEntry{of, values})
		// Otherwise a session without a further run would keep them.
		for _, id := range g.steadyIDs {
			runtime.AddCleanup(r.values[id], (*memo).forget, &s.memo)
		}
	}
	for i, id := range g.kept {
		r.values[id] = values[i]
	}
	return nil
}
