package tokenize

import (
	"fmt"
	"unicode/utf8"
)

// maxProgram bounds the size of a compiled pattern, counted repetitions written out.
const maxProgram = 1 << 15

// compileRegex compiles a pattern, or says what in it is not supported.
func compileRegex(src string) (*regex, error) {
	p := &regexParser{src: src}
	if !utf8.ValidString(src) {
		return nil, p.fail("not UTF-8")
	}
	n, err := p.alternatives()
	if err != nil {
		return nil, err
	}
	if p.more() {
		return nil, p.fail("a closing parenthesis too many")
	}
	c := &regexCompiler{}
	c.node(n)
	c.emit(instr{op: opMatch})
	if c.err != nil {
		return nil, fmt.Errorf("the pattern %q: %w", src, c.err)
	}
	re := &regex{prog: c.prog}
	var first [256]bool
	if !firstBytes(n, &first) {
		re.first = &first
	}
	return re, nil
}

type regexCompiler struct {
	prog  []instr
	slots int
	err   error
}

func (c *regexCompiler) emit(i instr) int {
	if len(c.prog) >= maxProgram && c.err == nil {
		c.err = fmt.Errorf("too large")
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
	case charNode:
		c.emit(instr{op: opChar, set: n.set})
	case concatNode:
		for _, sub := range n {
			c.node(sub)
		}
	case altNode:
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
	case repeatNode:
		c.repeat(n)
	case assertNode:
		c.emit(instr{op: opAssert, min: int(n)})
	case atomicNode:
		c.block(instr{op: opAtomic}, n.sub)
	case lookNode:
		if !n.behind {
			c.block(instr{op: opLook, negate: n.negate}, n.sub)
			break
		}
		alts, ok := n.sub.(altNode)
		if !ok {
			alts = altNode{n.sub}
		}
		if n.negate { // none of the alternatives may match
			for _, alt := range alts {
				c.behind(alt, true)
			}
			break
		}
		var jumps []int
		for i, alt := range alts {
			split := -1
			if i < len(alts)-1 {
				split = c.emit(instr{op: opSplit})
				c.at(split).x = len(c.prog)
			}
			c.behind(alt, false)
			if split >= 0 {
				jumps = append(jumps, c.emit(instr{op: opJump}))
				c.at(split).y = len(c.prog)
			}
		}
		for _, j := range jumps {
			c.at(j).x = len(c.prog)
		}
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

func (c *regexCompiler) behind(alt node, negate bool) {
	n, ok := width(alt)
	if !ok && c.err == nil {
		c.err = fmt.Errorf("look-behind of varying length is not supported")
	}
	c.block(instr{op: opBehind, negate: negate, min: n}, alt)
}

// width is the number of characters a pattern always matches.
func width(n node) (int, bool) {
	switch n := n.(type) {
	case emptyNode, assertNode, lookNode:
		return 0, true
	case charNode:
		return 1, true
	case atomicNode:
		return width(n.sub)
	case concatNode:
		total := 0
		for _, sub := range n {
			w, ok := width(sub)
			if !ok {
				return 0, false
			}
			total += w
		}
		return total, true
	case altNode:
		first, ok := width(n[0])
		for _, sub := range n[1:] {
			w, ok2 := width(sub)
			ok = ok && ok2 && w == first
		}
		return first, ok
	case repeatNode:
		w, ok := width(n.sub)
		return w * n.min, ok && n.min == n.max
	}
	return 0, false
}

func (c *regexCompiler) repeat(n repeatNode) {
	if ch, ok := n.sub.(charNode); ok {
		c.emit(instr{op: opRepeat, set: ch.set, min: n.min, max: n.max, lazy: n.lazy, keep: n.keep})
		return
	}
	if n.keep {
		n.keep = false
		c.block(instr{op: opAtomic}, n)
		return
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
		slot := c.slots
		c.slots++
		k := branch()
		body := len(c.prog)
		c.emit(instr{op: opMark, min: slot})
		c.node(n.sub)
		c.emit(instr{op: opLoop, min: slot})
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
// empty string.
func firstBytes(n node, first *[256]bool) bool {
	switch n := n.(type) {
	case charNode:
		for b := range 256 {
			if b >= utf8.RuneSelf || n.set.has(rune(b)) {
				first[b] = true
			}
		}
		return false
	case concatNode:
		for _, sub := range n {
			if !firstBytes(sub, first) {
				return false
			}
		}
		return true
	case altNode:
		empty := false
		for _, sub := range n {
			empty = firstBytes(sub, first) || empty
		}
		return empty
	case repeatNode:
		return firstBytes(n.sub, first) || n.min == 0
	case atomicNode:
		return firstBytes(n.sub, first)
	}
	return true // assertions match the empty string
}
