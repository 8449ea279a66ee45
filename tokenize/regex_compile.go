package tokenize

import (
	"fmt"
	"unicode/utf8"
)

// maxProgram bounds the size of a compiled pattern, counted repetitions written out.
const maxProgram = 1 << 15

// compileRegex compiles a pattern, or says what in it is wrong or not supported. Besides what the
// parser refuses, these are: an interval after something that may be empty, a repetition of what
// may be empty around a group that is referred to, a reference to the group that it stands in, \K
// in a look-around, and a program that is too large.
func compileRegex(src string) (*regex, error) {
	n, t, err := parseRegex(src)
	if err != nil {
		return nil, err
	}
	c := &regexCompiler{tree: t, slots: t.slotsOf()}
	c.captures = 2 * len(c.slots)
	if keeps(n) {
		c.keep = c.captures
		c.captures++
		c.keeps = true
	}
	c.marks = c.captures
	c.node(n)
	c.emit(instr{op: opMatch})
	if c.err != nil {
		return nil, fmt.Errorf("the pattern %q: %w", src, c.err)
	}
	re := &regex{prog: c.prog, captures: c.captures, slots: c.marks, keep: -1}
	if c.keeps {
		re.keep = c.keep
	}
	var first [256]bool
	if !c.firstBytes(n, &first) {
		re.first = &first
	}
	return re, nil
}

type regexCompiler struct {
	tree     *regexTree
	slots    map[int]int // of groups
	captures int         // slots of groups and of \K, which come first
	marks    int         // slots in all
	keep     int         // the slot of \K
	keeps    bool
	prog     []instr
	err      error
}

func (c *regexCompiler) refuse(message string) {
	if c.err == nil {
		c.err = fmt.Errorf("%s", message)
	}
}

func (c *regexCompiler) emit(i instr) int {
	if len(c.prog) >= maxProgram {
		c.refuse("too large")
	}
	if c.err != nil {
		return 0
	}
	c.prog = append(c.prog, i)
	return len(c.prog) - 1
}

// node emits the program of n. After an error it emits nothing more.
func (c *regexCompiler) node(n node) {
	switch n := n.(type) {
	case emptyNode:
	case failNode:
		c.emit(instr{op: opFail})
	case charNode:
		c.emit(instr{op: opChar, set: n.set})
	case strNode:
		c.emit(instr{op: opText, text: string(n.text)})
	case concatNode:
		for _, sub := range n {
			c.node(sub)
		}
	case altNode:
		c.alternatives(n)
	case quantNode:
		c.repeat(n, false)
	case assertNode:
		c.emit(instr{op: opAssert, min: int(n)})
	case atomicNode:
		if q, ok := n.sub.(quantNode); ok && !q.lazy {
			if _, single := q.sub.(charNode); single {
				c.repeat(q, true)
				return
			}
		}
		c.block(instr{op: opAtomic}, n.sub)
	case lookNode:
		c.look(n)
	case memoryNode:
		slot := c.slots[n.number]
		c.emit(instr{op: opGroup, min: slot})
		c.node(n.sub)
		c.emit(instr{op: opSave, min: slot + 1})
	case keepNode:
		c.emit(instr{op: opSave, min: c.keep})
	case backrefNode:
		// Of several groups of one name the last that has matched counts.
		in := instr{op: opBackref, fold: n.fold}
		if n.check {
			in.op = opCheck
		}
		for i := len(n.numbers) - 1; i >= 0; i-- {
			if slot, ok := c.slots[n.numbers[i]]; ok {
				in.refs = append(in.refs, slot)
			}
		}
		c.emit(in)
	case condNode:
		c.cond(n)
	}
}

func (c *regexCompiler) alternatives(n altNode) {
	var jumps []int
	for i, sub := range n {
		if i == len(n)-1 {
			c.node(sub)
			break
		}
		split := c.emit(instr{op: opSplit})
		c.at(split).x = len(c.prog)
		c.node(sub)
		jumps = append(jumps, c.emit(instr{op: opJump}))
		c.at(split).y = len(c.prog)
	}
	for _, j := range jumps {
		c.at(j).x = len(c.prog)
	}
}

// at returns an instruction to patch; after an error, a dummy that never runs.
func (c *regexCompiler) at(i int) *instr {
	if c.err != nil {
		return &instr{}
	}
	return &c.prog[i]
}

// block emits an instruction that runs sub as a program of its own and goes on behind it.
func (c *regexCompiler) block(i instr, sub node) {
	k := c.emit(i)
	c.at(k).x = len(c.prog)
	c.node(sub)
	c.emit(instr{op: opMatch})
	c.at(k).y = len(c.prog)
}

func (c *regexCompiler) look(n lookNode) {
	if keeps(n.sub) {
		c.refuse(`\K in a look-around is not supported`)
	}
	if !n.behind {
		c.block(instr{op: opLook, negate: n.negate}, n.sub)
		return
	}
	least, most := c.tree.width(n.sub)
	if least > maxBehind || most > maxBehind {
		c.refuse("a look-behind that is too long")
	}
	k := c.emit(instr{op: opBehind, negate: n.negate, min: least, max: most})
	c.at(k).x = len(c.prog)
	c.node(n.sub)
	c.emit(instr{op: opReached})
	c.emit(instr{op: opMatch})
	c.at(k).y = len(c.prog)
}

// cond emits the condition as a program of its own, then the two ways on.
func (c *regexCompiler) cond(n condNode) {
	k := c.emit(instr{op: opCond})
	c.at(k).x = len(c.prog)
	c.node(n.cond)
	c.emit(instr{op: opMatch})
	c.at(k).y = len(c.prog)
	c.node(n.then)
	jump := c.emit(instr{op: opJump})
	c.at(k).min = len(c.prog)
	c.node(n.other)
	c.at(jump).x = len(c.prog)
}

// repeat emits a repetition; keep says that it never gives back, which only one of a single
// character may ask for here.
func (c *regexCompiler) repeat(n quantNode, keep bool) {
	if n.max == 0 {
		return
	}
	if ch, ok := n.sub.(charNode); ok {
		c.emit(instr{op: opRepeat, set: ch.set, min: n.min, max: n.max, lazy: n.lazy, keep: keep})
		return
	}
	least, _ := c.tree.width(n.sub)
	if least == 0 && (n.min > 1 || n.max > 1) {
		// Oniguruma ends such a repetition at the first empty round in some cases and not in
		// others.
		c.refuse("an interval after something that may be empty is not supported")
	}
	for range n.min {
		if c.node(n.sub); c.err != nil {
			return
		}
	}
	branch := func() int {
		return c.emit(instr{op: opSplit, lazy: n.lazy})
	}
	// link sets where a branch goes on with the repetition and where it leaves it; a lazy one
	// prefers to leave.
	link := func(k, body, out int) {
		if n.lazy {
			body, out = out, body
		}
		c.at(k).x, c.at(k).y = body, out
	}
	if n.max < 0 {
		k := branch()
		body := len(c.prog)
		if least == 0 {
			if captures(n.sub) {
				c.refuse("a repetition of what may be empty around a group that is referred to " +
					"is not supported")
			}
			slot := c.marks
			c.marks++
			c.emit(instr{op: opMark, min: slot})
			c.node(n.sub)
			c.emit(instr{op: opLoop, min: slot})
		} else {
			c.node(n.sub)
		}
		c.emit(instr{op: opJump, x: k})
		link(k, body, len(c.prog))
		return
	}
	var ks []int
	for range n.max - n.min {
		k := branch()
		ks = append(ks, k, len(c.prog))
		if c.node(n.sub); c.err != nil {
			return
		}
	}
	for i := 0; i < len(ks); i += 2 {
		link(ks[i], ks[i+1], len(c.prog))
	}
}

// firstBytes adds the bytes that a match of n can begin with and reports whether n may match the
// empty string, or begin with anything.
func (c *regexCompiler) firstBytes(n node, first *[256]bool) bool {
	switch n := n.(type) {
	case failNode:
		return false
	case charNode:
		for b := range 256 {
			if b >= utf8.RuneSelf || n.set.has(rune(b)) {
				first[b] = true
			}
		}
		return false
	case strNode:
		first[string(n.text[:1])[0]] = true
		return false
	case concatNode:
		for _, sub := range n {
			if !c.firstBytes(sub, first) {
				return false
			}
		}
		return true
	case altNode:
		empty := false
		for _, sub := range n {
			empty = c.firstBytes(sub, first) || empty
		}
		return empty
	case quantNode:
		return n.max == 0 || c.firstBytes(n.sub, first) || n.min == 0
	case atomicNode:
		return c.firstBytes(n.sub, first)
	case memoryNode:
		return c.firstBytes(n.sub, first)
	case condNode:
		then := c.firstBytes(concatNode{n.cond, n.then}, first)
		return c.firstBytes(n.other, first) || then
	}
	return true // assertions match the empty string
}
