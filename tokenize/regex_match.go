package tokenize

import (
	"unicode/utf8"

	"github.com/crossattn/xpipe/tokenize/internal/unidata"
)

// regex is a compiled pattern, run by backtracking with a stack of its own.
type regex struct {
	prog  []instr
	first *[256]bool // bytes a match can begin with; nil where it may be empty
}

type opcode uint8

const (
	opMatch  opcode = iota
	opChar          // one character of set
	opRepeat        // min to max characters of set: the most first, lazy the fewest, keep the most alone
	opSplit         // try x, then y
	opJump          // go on at x
	opAssert        // the place named by min
	opLook          // the program at x must match here, or must not if negate; then y
	opBehind        // the same with text of min characters that ends here
	opAtomic        // the program at x, then y from where it ended, with no way back in
	opMark          // remember the position in slot min: a loop begins an iteration
	opLoop          // leave the loop if the iteration since the mark was empty
)

type instr struct {
	op         opcode
	lazy, keep bool
	negate     bool
	x, y       int
	min, max   int
	set        *charSet
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
	marks []int
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
	run := &regexRun{regex: re, s: s, steps: regexBudget + regexBudgetPerByte*len(s)}
	// Empty matches right behind a match are passed over, as in the iterator of the crate onig.
	for at, last := 0, -1; at <= len(s); {
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
		if end := r.run(0, at); end >= 0 {
			return at, end
		}
		if r.steps < 0 {
			return -1, -1
		}
	}
	return -1, -1
}

// run runs the program at pc from position pos; it returns where the match ends, or -1.
func (r *regexRun) run(pc, pos int) int {
	base := len(r.stack)
	s := r.s
	for {
		if r.steps--; r.steps < 0 {
			r.stack = r.stack[:base]
			return -1
		}
		in := &r.prog[pc]
		ok := true
		switch in.op {
		case opMatch:
			r.stack = r.stack[:base]
			return pos
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
		case opLook:
			if ok = (r.run(in.x, pos) >= 0) != in.negate; ok {
				pc = in.y
			}
		case opBehind:
			at := pos
			for k := 0; k < in.min && at >= 0; k++ {
				if at == 0 {
					at = -1
					break
				}
				_, n := utf8.DecodeLastRuneInString(s[:at])
				at -= n
			}
			if ok = (at >= 0 && r.run(in.x, at) == pos) != in.negate; ok {
				pc = in.y
			}
		case opAtomic:
			end := r.run(in.x, pos)
			if ok = end >= 0; ok {
				pos, pc = end, in.y
			}
		case opMark:
			for len(r.marks) <= in.min {
				r.marks = append(r.marks, -1)
			}
			r.stack = append(r.stack, backtrack{slot: in.min, old: r.marks[in.min]})
			r.marks[in.min] = pos
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
	}
	before, _ := utf8.DecodeLastRuneInString(s[:pos])
	after, _ := utf8.DecodeRuneInString(s[pos:])
	edge := (pos > 0 && unidata.Is(before, unidata.OnigWord)) !=
		(pos < len(s) && unidata.Is(after, unidata.OnigWord))
	return edge == (kind == 'b')
}
