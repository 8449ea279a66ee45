package tokenize

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// parseRegex reads a pattern into a tree that has no options left in it: no case to ignore, no
// groups that capture but those referred to.
func parseRegex(src string) (node, *regexTree, error) {
	p := &regexParser{src: src, closed: map[int]bool{}, names: map[string][]int{}, sets: charSets{}}
	if !utf8.ValidString(src) {
		return nil, nil, p.fail("not UTF-8")
	}
	alts, err := p.alternatives()
	switch {
	case err != nil:
		return nil, nil, err
	case p.more():
		return nil, nil, p.fail("a closing parenthesis too many")
	case len(p.names) > 0 && p.numbered:
		return nil, nil, p.fail("a group referred to by its number where groups have names")
	case p.highest > p.groups:
		return nil, nil, p.fail("there is no group %d", p.highest)
	}
	t := &regexTree{
		named: len(p.names) > 0, groups: map[int]node{}, used: map[int]bool{}, sets: p.sets,
	}
	n := joinText(alts.one())
	t.references(n)
	n = t.lower(n, false)
	if t.err != nil {
		return nil, nil, fmt.Errorf("the pattern %q: %w", src, t.err)
	}
	return n, t, nil
}

// regexTree is what is known of a tree as a whole.
type regexTree struct {
	sets   charSets
	named  bool         // groups without a name do not capture
	groups map[int]node // what is in the groups that are referred to
	used   map[int]bool // those groups
	within []int        // the groups around a node while the tree is walked
	err    error
}

func (t *regexTree) refuse(message string) {
	if t.err == nil {
		t.err = errors.New(message)
	}
}

// children calls f for each node in n and puts what it returns in its place.
func children(n node, f func(node) node) node {
	list := func(subs []node) []node {
		out := slices.Clone(subs)
		for i, sub := range out {
			out[i] = f(sub)
		}
		return out
	}
	switch n := n.(type) {
	case concatNode:
		return concatNode(list(n))
	case altNode:
		return altNode(list(n))
	case quantNode:
		n.sub = f(n.sub)
		return n
	case lookNode:
		n.sub = f(n.sub)
		return n
	case atomicNode:
		n.sub = f(n.sub)
		return n
	case optionNode:
		n.sub = f(n.sub)
		return n
	case memoryNode:
		n.sub = f(n.sub)
		return n
	case condNode:
		return condNode{f(n.cond), f(n.then), f(n.other)}
	}
	return n
}

// joinText joins texts that stand side by side, so that (?i)s(?:s) is (?i)ss, as Oniguruma does
// before it looks at case.
func joinText(n node) node {
	n = children(n, joinText)
	seq, ok := n.(concatNode)
	if !ok {
		return n
	}
	var out concatNode
	for _, sub := range seq {
		if s, ok := sub.(strNode); ok && len(out) > 0 {
			if last, ok := out[len(out)-1].(strNode); ok && last.fold == s.fold {
				out[len(out)-1] = strNode{slices.Concat(last.text, s.text), s.fold}
				continue
			}
		}
		out = append(out, sub)
	}
	return out
}

// references notes which groups are referred to.
func (t *regexTree) references(n node) {
	switch n := n.(type) {
	case backrefNode:
		for _, k := range n.numbers {
			t.used[k] = true
			if slices.Contains(t.within, k) {
				t.refuse("a reference to the group that it stands in is not supported")
			}
		}
	case memoryNode:
		t.within = append(t.within, n.number)
		t.references(n.sub)
		t.within = t.within[:len(t.within)-1]
		return
	}
	children(n, func(sub node) node {
		t.references(sub)
		return sub
	})
}

// lower takes case, options and groups that nobody refers to out of a tree. behind says that it is
// inside a look-behind.
func (t *regexTree) lower(n node, behind bool) node {
	down := func(sub node) node { return t.lower(sub, behind) }
	switch n := n.(type) {
	case strNode:
		if n.fold != foldNone {
			return t.sets.foldText(n.text, n.fold, behind)
		}
		for _, r := range n.text {
			if !utf8.ValidRune(r) {
				return failNode{} // half a surrogate pair, which no text has
			}
		}
		if len(n.text) == 1 {
			return charNode{t.sets.of([]rune{n.text[0], n.text[0]})}
		}
		return n
	case optionNode:
		return down(n.sub)
	case memoryNode:
		sub := down(n.sub)
		if t.named && !n.named || !t.used[n.number] {
			return sub
		}
		t.groups[n.number] = sub
		return memoryNode{n.number, n.named, sub}
	case quantNode:
		if m, ok := n.sub.(memoryNode); ok && t.named && !m.named {
			// With such a group the quantifier may meet another.
			if _, ok := m.sub.(quantNode); ok {
				n.sub = m.sub
				return down(reduceQuantifiers(n))
			}
		}
		return children(n, down)
	case lookNode:
		if n.behind {
			t.checkBehind(n.sub, n.negate)
			n.sub = t.lower(n.sub, true)
			return n
		}
		return children(n, down)
	}
	return children(n, down)
}

// checkBehind refuses what a look-behind must not hold.
func (t *regexTree) checkBehind(n node, negate bool) {
	const message = "this cannot stand in a look-behind"
	switch n := n.(type) {
	case lookNode:
		if !n.behind || n.negate && !negate {
			t.refuse(message)
		}
	case assertNode:
		if n == 'z' || n == 'Z' {
			t.refuse(message)
		}
	case condNode:
		t.refuse("a condition or \\R in a look-behind is not supported")
	case memoryNode:
		if negate && !(t.named && !n.named) {
			t.refuse("a group that captures in a negative look-behind")
		}
	}
	children(n, func(sub node) node {
		t.checkBehind(sub, negate)
		return sub
	})
}

// maxBehind is Oniguruma's LOOK_BEHIND_MAX_CHAR_LEN.
const maxBehind = 65535

// width returns how many characters n matches, at least and at most; most is -1 where nothing
// bounds it.
func (t *regexTree) width(n node) (least, most int) {
	switch n := n.(type) {
	case strNode:
		return len(n.text), len(n.text)
	case charNode:
		return 1, 1
	case atomicNode:
		return t.width(n.sub)
	case memoryNode:
		return t.width(n.sub)
	case concatNode:
		for _, sub := range n {
			a, b := t.width(sub)
			least, most = sum(least, a), sum(most, b)
		}
	case altNode:
		least, most = t.width(n[0])
		for _, sub := range n[1:] {
			a, b := t.width(sub)
			least, most = min(least, a), widest(most, b)
		}
	case condNode:
		least, most = t.width(concatNode{n.cond, n.then})
		a, b := t.width(n.other)
		return min(least, a), widest(most, b)
	case quantNode:
		a, b := t.width(n.sub)
		least, most = a*min(n.min, maxBehind), 0
		switch {
		case b == 0 || n.max == 0:
		case b < 0 || n.max < 0:
			most = -1
		default:
			most = b * n.max
		}
		return min(least, maxBehind+1), min(most, maxBehind+1)
	case backrefNode:
		if n.check {
			return 0, 0
		}
		for i, k := range n.numbers {
			a, b := 0, -1 // a group that is still to come
			if sub, ok := t.groups[k]; ok {
				a, b = t.width(sub)
			}
			if i == 0 {
				least, most = a, b
			} else {
				least, most = min(least, a), widest(most, b)
			}
		}
	}
	return least, most
}

func sum(a, b int) int {
	if a < 0 || b < 0 {
		return -1
	}
	return min(a+b, maxBehind+1)
}

func widest(a, b int) int {
	if a < 0 || b < 0 {
		return -1
	}
	return max(a, b)
}

// captures reports whether a group that is referred to stands in n.
func captures(n node) bool {
	_, found := n.(memoryNode)
	children(n, func(sub node) node {
		found = found || captures(sub)
		return sub
	})
	return found
}

// keeps reports whether \K stands in n.
func keeps(n node) bool {
	_, found := n.(keepNode)
	children(n, func(sub node) node {
		found = found || keeps(sub)
		return sub
	})
	return found
}

// slotsOf gives each group that is referred to the place of its start; its end has the next one.
func (t *regexTree) slotsOf() map[int]int {
	slots := map[int]int{}
	for i, k := range slices.Sorted(maps.Keys(t.groups)) {
		slots[k] = 2 * i
	}
	return slots
}
