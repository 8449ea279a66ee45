package tokenize

import (
	"strings"
	"unicode/utf8"

	"github.com/crossattn/xpipe/tokenize/internal/unidata"
)

// regex is a compiled pattern, run by backtracking with a stack of its own.
type regex struct {
	prog     []instr
	first    *[256]bool // bytes a match can begin with; nil where it may be empty
	slots    int        // positions that a run remembers
	captures int        // those of them, the first ones, that are ends of groups and of \K
	keep     int        // the slot of \K, -1 without one
}

type opcode uint8

const (
	opMatch   opcode = iota
	opFail           // no way on
	opChar           // one character of set
	opText           // text
	opRepeat         // min to max characters of set: the most first, lazy the fewest, keep the most alone
	opSplit          // try x, then y
	opJump           // go on at x
	opAssert         // the place named by min
	opLook           // the program at x must match here, or must not if negate; then y
	opBehind         // the same with text of min to max characters that ends here
	opReached        // the text of a look-behind has ended where it must
	opAtomic         // the program at x, then y from where it ended, with no way back in
	opCond           // like opAtomic, or where x does not match go on at min
	opMark           // remember the position in slot min: a loop begins an iteration
	opLoop           // leave the loop if the iteration since the mark was empty
	opGroup          // a group begins: remember the position in slot min, the end is not known yet
	opSave           // remember the position in slot min
	opBackref        // the text of the first group of refs that has matched and fits
	opCheck          // one of the groups in refs has matched
)

type instr struct {
	op         opcode
	lazy, keep bool
	negate     bool
	fold       foldMode
	x, y       int
	min, max   int
	set        *charSet
	text       string
	refs       []int
}

// regexBudget is the number of steps after which a search gives up, by far more than any real
// pattern needs: Oniguruma, too, stops matching that does not end. The second number is added for
// each byte of text.
const (
	regexBudget        = 20_000_000
	regexBudgetPerByte = 2000
)

// regexRun is the state of one search.
type regexRun struct {
	*regex
	s     string
	stack []backtrack
	marks []int // positions in slots, -1 where nothing is known
	from  int   // where the search began: \G
	reach int   // where the text of the look-behind that runs must end
	limit int   // where the text ends that the program sees
	steps int
}

// backtrack is a way not yet tried. For a repeated set, pos may still go back (or, lazily, forward)
// character by character to limit.
type backtrack struct {
	pc, pos, limit int
	slot, old      int // a mark to restore when slot >= 0
}

func (re *regex) find(s string) ([]match, error) {
	var out []match
	if len(s) == 0 {
		return nil, nil
	}
	run := &regexRun{
		regex: re, s: s, steps: regexBudget + regexBudgetPerByte*len(s), marks: make([]int, re.slots),
		limit: len(s),
	}
	// Empty matches right behind a match are passed over, as in the iterator of the crate onig.
	for at, last := 0, -1; at <= len(s); {
		run.from = at
		start, end := run.search(at)
		if run.steps < 0 {
			return nil, refuse("a pattern takes too long on a text of %d bytes", len(s))
		}
		if start < 0 {
			break
		}
		if start == end && end == last {
			at += max(runeLen(s[at:]), 1)
			continue
		}
		out = append(out, match{start, end})
		at, last = end, end
	}
	return out, nil
}

// search returns the leftmost match at or after from, or -1.
func (r *regexRun) search(from int) (int, int) {
	for at := from; at <= len(r.s); at += max(runeLen(r.s[at:]), 1) {
		if r.first != nil {
			for at < len(r.s) && !r.first[r.s[at]] {
				at++
			}
			if at == len(r.s) {
				return -1, -1
			}
			// A byte in the middle of a character may pass as its first one; stay on boundaries.
			if !utf8.RuneStart(r.s[at]) {
				for at > from && !utf8.RuneStart(r.s[at]) {
					at--
				}
			}
		}
		r.stack = r.stack[:0]
		for i := range r.marks {
			r.marks[i] = -1
		}
		if end := r.run(0, at); end >= 0 {
			if r.keep >= 0 && r.marks[r.keep] >= 0 {
				return r.marks[r.keep], end
			}
			return at, end
		}
		if r.steps < 0 {
			return -1, -1
		}
	}
	return -1, -1
}

// run runs the program at pc from position pos; it returns where the match ends, or -1. What undoes
// the groups of a match stays on the stack.
func (r *regexRun) run(pc, pos int) int {
	base := len(r.stack)
	s := r.s[:r.limit]
	for {
		if r.steps--; r.steps < 0 {
			r.stack = r.stack[:base]
			return -1
		}
		in := &r.prog[pc]
		ok := true
		switch in.op {
		case opMatch:
			if r.captures == 0 {
				r.stack = r.stack[:base]
				return pos
			}
			kept := r.stack[:base]
			for _, b := range r.stack[base:] {
				if 0 <= b.slot && b.slot < r.captures {
					kept = append(kept, b)
				}
			}
			r.stack = kept
			return pos
		case opFail:
			ok = false
		case opText:
			if ok = strings.HasPrefix(s[pos:], in.text); ok {
				pos += len(in.text)
				pc++
			}
		case opChar:
			if pos < len(s) {
				c, n := rune(s[pos]), 1
				if c >= utf8.RuneSelf {
					c, n = utf8.DecodeRuneInString(s[pos:])
				}
				if ok = in.set.has(c); ok {
					pos += n
					pc++
				}
			} else {
				ok = false
			}
		case opRepeat:
			end, count := pos, 0
			low := pos // position after min characters
			for count != in.max && end < len(s) && !(in.lazy && count >= in.min) {
				c, n := rune(s[end]), 1
				if c >= utf8.RuneSelf {
					c, n = utf8.DecodeRuneInString(s[end:])
				}
				if !in.set.has(c) {
					break
				}
				end += n
				if count++; count == in.min {
					low = end
				}
			}
			r.steps -= count / 8
			if ok = count >= in.min; !ok {
				break
			}
			if in.min == 0 {
				low = pos
			}
			pc++
			switch {
			case in.lazy && count != in.max:
				left := -1
				if in.max >= 0 {
					left = in.max - count
				}
				r.stack = append(r.stack, backtrack{pc: pc - 1, pos: end, limit: left, slot: -2})
			case !in.lazy && !in.keep && end > low:
				r.stack = append(r.stack, backtrack{pc: pc, pos: end, limit: low, slot: -1})
			}
			pos = end
		case opSplit:
			r.stack = append(r.stack, backtrack{pc: in.y, pos: pos, limit: pos, slot: -1})
			pc = in.x
		case opJump:
			pc = in.x
		case opAssert:
			if ok = r.assert(byte(in.min), pos); ok {
				pc++
			}
		case opLook, opBehind:
			before := len(r.stack)
			if in.op == opLook {
				ok = r.run(in.x, pos) >= 0
			} else {
				ok = r.behind(in, pos)
			}
			if ok && in.negate {
				r.undo(before)
			}
			if ok = ok != in.negate; ok {
				pc = in.y
			}
		case opReached:
			if ok = pos == r.reach; ok {
				pc++
			}
		case opAtomic, opCond:
			end := r.run(in.x, pos)
			switch {
			case end >= 0:
				pos, pc = end, in.y
			case in.op == opCond && r.steps >= 0:
				pc = in.min
			default:
				ok = false
			}
		case opGroup:
			r.save(in.min, pos)
			r.save(in.min+1, -1)
			pc++
		case opSave:
			r.save(in.min, pos)
			pc++
		case opBackref, opCheck:
			var n int
			if n, ok = r.backref(in, pos); ok {
				pos += n
				pc++
			}
		case opMark:
			r.save(in.min, pos)
			pc++
		case opLoop:
			if r.marks[in.min] == pos {
				pc += 2 // past the jump: an empty iteration ends the loop
			} else {
				pc++
			}
		}
		if ok {
			continue
		}
		// Take the last way not tried.
		for {
			if len(r.stack) == base {
				return -1
			}
			b := &r.stack[len(r.stack)-1]
			if b.slot >= 0 {
				r.marks[b.slot] = b.old
				r.stack = r.stack[:len(r.stack)-1]
				continue
			}
			if b.slot == -2 { // a lazy repetition takes one more character
				set := r.prog[b.pc].set
				c, n := utf8.DecodeRuneInString(s[b.pos:])
				if n == 0 || b.limit == 0 || !set.has(c) {
					r.stack = r.stack[:len(r.stack)-1]
					continue
				}
				b.pos += n
				b.limit--
				pc, pos = b.pc+1, b.pos
				break
			}
			if b.pos > b.limit { // a greedy one gives a character back
				_, n := utf8.DecodeLastRuneInString(s[:b.pos])
				b.pos -= n
				pc, pos = b.pc, b.pos
				if b.pos == b.limit {
					r.stack = r.stack[:len(r.stack)-1]
				}
				break
			}
			pc, pos = b.pc, b.pos
			r.stack = r.stack[:len(r.stack)-1]
			break
		}
	}
}

// save remembers a position in a slot until backtracking takes it back.
func (r *regexRun) save(slot, pos int) {
	r.stack = append(r.stack, backtrack{slot: slot, old: r.marks[slot]})
	r.marks[slot] = pos
}

// undo takes back what was saved since the stack had n entries.
func (r *regexRun) undo(n int) {
	for i := len(r.stack) - 1; i >= n; i-- {
		if b := r.stack[i]; b.slot >= 0 {
			r.marks[b.slot] = b.old
		}
	}
	r.stack = r.stack[:n]
}

// behind looks for a start, min to max characters before pos, from where the program matches up to
// pos. Where its length varies, it sees no text behind pos.
func (r *regexRun) behind(in *instr, pos int) bool {
	at := pos
	back := func() bool {
		if at == 0 {
			return false
		}
		_, n := utf8.DecodeLastRuneInString(r.s[:at])
		at -= n
		return true
	}
	for range in.min {
		if !back() {
			return false
		}
	}
	reach, limit := r.reach, r.limit
	defer func() { r.reach, r.limit = reach, limit }()
	if in.min != in.max {
		r.limit = pos
	}
	for count := in.min; ; count++ {
		r.reach = pos
		if r.run(in.x, at) >= 0 {
			return true
		}
		if count == in.max || r.steps < 0 || !back() {
			return false
		}
	}
}

// backref returns the length of the text at pos that a back reference matches.
func (r *regexRun) backref(in *instr, pos int) (n int, ok bool) {
	for _, slot := range in.refs {
		start, end := r.marks[slot], r.marks[slot+1]
		if start < 0 || end < 0 {
			continue
		}
		if in.op == opCheck {
			return 0, true
		}
		group, rest := r.s[start:end], r.s[pos:r.limit]
		r.steps -= len(group) / 8
		if in.fold != foldNone {
			if n, ok := equalFold(group, rest, in.fold); ok {
				return n, true
			}
		} else if strings.HasPrefix(rest, group) {
			return len(group), true
		}
	}
	return 0, false
}

func (r *regexRun) assert(kind byte, pos int) bool {
	s := r.s
	switch kind {
	case '^':
		return pos == 0 || s[pos-1] == '\n' && pos < len(s)
	case '$':
		return pos == len(s) || s[pos] == '\n'
	case 'A':
		return pos == 0
	case 'z':
		return pos == len(s)
	case 'Z':
		return pos == len(s) || pos == len(s)-1 && s[pos] == '\n'
	case 'G':
		return pos == r.from
	case 'y':
		return unidata.ClusterBoundary(s, pos)
	case 'Y':
		return !unidata.ClusterBoundary(s, pos)
	}
	ascii := kind == 'c' || kind == 'C'
	word := func(c rune) bool {
		return unidata.Is(c, unidata.OnigWord) && (!ascii || c < utf8.RuneSelf)
	}
	before, _ := utf8.DecodeLastRuneInString(s[:pos])
	after, _ := utf8.DecodeRuneInString(s[pos:])
	edge := (pos > 0 && word(before)) != (pos < len(s) && word(after))
	return edge == (kind == 'b' || kind == 'c')
}
