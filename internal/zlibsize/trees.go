package zlibsize

import "slices"

const (
	endOfBlock                    = 256
	literals, distances, lengths  = 286, 30, 19
	mostBits, mostLengthBits      = 15, 7
	repeat, shortZeros, longZeros = 16, 17, 18
)

var (
	lengthExtra   = [29]int{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distanceExtra = [30]int{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
	lengthOrder   = [lengths]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
)

// frequencies are those of a block's symbols.
type frequencies struct {
	literals  [literals]int // and lengths
	distances [distances]int
	extra     int // bits beside the codes
}

func (f *frequencies) literal(b byte) { f.literals[b]++ }

func (f *frequencies) match(length, distance int) {
	code := codeOf(length-leastMatch, lengthExtra[:])
	if length == mostMatch {
		code = len(lengthExtra) - 1
	}
	f.literals[endOfBlock+1+code]++
	f.extra += lengthExtra[code]
	code = codeOf(distance-1, distanceExtra[:])
	f.distances[code]++
	f.extra += distanceExtra[code]
}

// codeOf returns the code whose range has a value, each code having 1<<extra values.
func codeOf(value int, extra []int) int {
	for code, bits := range extra {
		if value < 1<<bits {
			return code
		}
		value -= 1 << bits
	}
	return len(extra) - 1
}

// blockBytes returns the bytes of the block in the shortest of its forms: stored, with fixed codes, or
// with codes of its own (_tr_flush_block of trees.c).
func (f *frequencies) blockBytes(stored int) int {
	f.literals[endOfBlock] = 1
	fixed := 3 + f.extra
	for s, n := range f.literals {
		fixed += n * fixedBits(s)
	}
	for _, n := range f.distances {
		fixed += n * 5
	}
	own := 3 + f.extra
	literalBits, mostLiteral := codeLengths(f.literals[:], mostBits)
	distanceBits, mostDistance := codeLengths(f.distances[:], mostBits)
	for s, n := range f.literals {
		own += n * literalBits[s]
	}
	for s, n := range f.distances {
		own += n * distanceBits[s]
	}
	var runs [lengths]int
	own += countRuns(literalBits[:mostLiteral+1], &runs) + countRuns(distanceBits[:mostDistance+1], &runs)
	runBits, _ := codeLengths(runs[:], mostLengthBits)
	for s, n := range runs {
		own += n * runBits[s]
	}
	last := lengths - 1
	for last > 2 && runBits[lengthOrder[last]] == 0 {
		last--
	}
	own += 3*(last+1) + 5 + 5 + 4
	best := min((own+7)/8, (fixed+7)/8)
	if stored+4 <= best {
		return 1 + stored + 4
	}
	return best
}

func fixedBits(symbol int) int {
	switch {
	case symbol < 144:
		return 8
	case symbol < 256:
		return 9
	case symbol < 280:
		return 7
	}
	return 8
}

// countRuns counts the symbols that tell lengths of codes, and returns the bits beside them (scan_tree
// of trees.c).
func countRuns(bits []int, runs *[lengths]int) (extra int) {
	before := -1
	for i := 0; i < len(bits); {
		now, n := bits[i], 1
		most := 6
		switch {
		case now == 0:
			most = 138
		case now != before:
			most = 7
		}
		for i+n < len(bits) && n < most && bits[i+n] == now {
			n++
		}
		least := 3
		if now != 0 && now != before {
			least = 4
		}
		switch {
		case n < least:
			runs[now] += n
		case now != 0:
			if now != before {
				runs[now]++
			}
			runs[repeat]++
			extra += 2
		case n <= 10:
			runs[shortZeros]++
			extra += 3
		default:
			runs[longZeros]++
			extra += 7
		}
		before = now
		i += n
	}
	return extra
}

// tree is Huffman's algorithm with zlib's order of equals (build_tree of trees.c): which lengths codes
// have decides how long their description is.
type tree struct {
	count, depth []int
	heap         []int // from 1
}

func (t *tree) smaller(a, b int) bool {
	return t.count[a] < t.count[b] || t.count[a] == t.count[b] && t.depth[a] <= t.depth[b]
}

func (t *tree) sink(at int) {
	node := t.heap[at]
	for child := 2 * at; child < len(t.heap); child *= 2 {
		if child+1 < len(t.heap) && t.smaller(t.heap[child+1], t.heap[child]) {
			child++
		}
		if t.smaller(node, t.heap[child]) {
			break
		}
		t.heap[at], at = t.heap[child], child
	}
	t.heap[at] = node
}

// codeLengths returns the bits of each symbol's code, at most so many, and the last symbol that has one.
// There are two codes at least.
func codeLengths(counts []int, most int) (bits []int, last int) {
	symbols := len(counts)
	t := &tree{count: slices.Grow(slices.Clone(counts), symbols)[:2*symbols], depth: make([]int, 2*symbols), heap: []int{0}}
	last = -1
	for s, n := range counts {
		if n != 0 {
			t.heap, last = append(t.heap, s), s
		}
	}
	for len(t.heap) < 3 {
		forced := 0
		if last < 2 {
			last++
			forced = last
		}
		t.count[forced] = 1
		t.heap = append(t.heap, forced)
	}
	for at := (len(t.heap) - 1) / 2; at >= 1; at-- {
		t.sink(at)
	}
	parent := make([]int, 2*symbols)
	var order []int // nodes from the rarest on
	next := symbols
	for {
		a := t.heap[1]
		t.heap[1] = t.heap[len(t.heap)-1]
		t.heap = t.heap[:len(t.heap)-1]
		t.sink(1)
		b := t.heap[1]
		order = append(order, a, b)
		t.count[next], t.depth[next] = t.count[a]+t.count[b], max(t.depth[a], t.depth[b])+1
		parent[a], parent[b] = next, next
		t.heap[1] = next
		next++
		t.sink(1)
		if len(t.heap) == 2 {
			break
		}
	}
	return limitLengths(append(order, t.heap[1]), parent, symbols, most), last
}

// limitLengths gives codes their lengths from the root down, and shortens those that are too long by
// lengthening others (gen_bitlen of trees.c).
func limitLengths(order, parent []int, symbols, most int) []int {
	depth := make([]int, len(parent))
	counts := make([]int, most+1)
	over := 0
	for i := len(order) - 2; i >= 0; i-- {
		n := order[i]
		depth[n] = depth[parent[n]] + 1
		if depth[n] > most {
			depth[n] = most
			over++
		}
		if n < symbols {
			counts[depth[n]]++
		}
	}
	if over == 0 {
		return depth[:symbols]
	}
	for ; over > 0; over -= 2 {
		bits := most - 1
		for counts[bits] == 0 {
			bits--
		}
		counts[bits]--
		counts[bits+1] += 2
		counts[most]--
	}
	at := 0
	for bits := most; bits > 0; bits-- {
		for n := counts[bits]; n > 0; at++ {
			if order[at] < symbols {
				depth[order[at]] = bits
				n--
			}
		}
	}
	return depth[:symbols]
}
