package tokenize

import "fmt"

// bpe is byte pair encoding as the reference runs it: adjacent symbols are merged in order of rank,
// the leftmost of equal rank first.
type bpe struct {
	*vocabulary
	merges       pairTable
	unk          string // the unknown token
	dropUnk      bool   // the file names none, and unknown characters are dropped
	unkID        int32  // -1 without one in the vocabulary: an unknown character is an error
	prefix       string // continuing_subword_prefix
	suffix       string // end_of_word_suffix
	fuseUnk      bool
	byteFallback bool
	ignoreMerges bool
	byteIDs      [256]int32 // ids of <0x00> to <0xFF>, -1 where the vocabulary lacks one

	// raw is set where the text comes from a byte-level pre-tokenizer. Words are then given as the
	// bytes themselves, not as the characters that stand for them: a byte is a symbol, and the
	// vocabulary is looked up by bytes.
	raw      bool
	rawIDs   [256]int32       // id of the symbol of each byte
	rawLast  [256]int32       // the same at the end of a word, suffix included
	rawWords map[string]int32 // whole words by their bytes, for ignoreMerges

	// cutSpaces is set where no merge joins anything before a "▁" to it, so that a text may be cut
	// there without changing its tokens or offsets.
	cutSpaces bool
	cache     *wordCache
}

// metaspace is the character that stands for a space in SentencePiece vocabularies, U+2581.
const metaspace = "▁"

func (m *bpe) tokenize(dst []token, s string) ([]token, error) {
	if len(s) == 0 {
		return dst, nil
	}
	if !m.cutSpaces {
		return m.cache.through(dst, s, m.word)
	}
	// Cut before each "▁" that follows something else.
	for at := 0; at < len(s); {
		end := nextCut(s, at)
		n := len(dst)
		var err error
		if dst, err = m.cache.through(dst, s[at:end], m.word); err != nil {
			return dst, err
		}
		for i := n; at > 0 && i < len(dst); i++ {
			dst[i].start += int32(at)
			dst[i].end += int32(at)
		}
		at = end
	}
	return dst, nil
}

// nextCut returns the first position after at where a "▁" follows another character.
func nextCut(s string, at int) int {
	spaces := true
	for i := at; i < len(s); i++ {
		if s[i] == metaspace[0] && i+2 < len(s) && s[i+1] == metaspace[1] &&
			s[i+2] == metaspace[2] {
			if !spaces {
				return i
			}
			i += 2
			continue
		}
		spaces = false
	}
	return len(s)
}

// word tokenizes one word.
func (m *bpe) word(dst []token, s string) ([]token, error) {
	if m.ignoreMerges {
		words := m.ids
		if m.raw {
			words = m.rawWords
		}
		if id, ok := words[s]; ok {
			return append(dst, token{id: id, end: int32(len(s))}), nil
		}
	}
	var small [scanLimit]bpeSymbol
	w := bpeWord{small[:0]}
	if len(s) > len(small) {
		w.syms = make([]bpeSymbol, 0, len(s))
	}
	if m.raw {
		for i := 0; i < len(s)-1; i++ {
			w.add(m.rawIDs[s[i]], 1)
		}
		w.add(m.rawLast[s[len(s)-1]], 1)
	} else if err := m.symbols(&w, s); err != nil {
		return dst, err
	}
	w.merge(&m.merges)
	at := int32(0)
	for _, sym := range w.syms {
		dst = append(dst, token{id: sym.id, start: at, end: at + sym.len})
		at += sym.len
	}
	return dst, nil
}

// symbols fills w with the characters of s. It follows BPE::merge_word of the reference, its order
// of unknown and byte symbols included.
func (m *bpe) symbols(w *bpeWord, s string) error {
	unkLen := int32(0) // length of the unknown characters not yet added
	for i := 0; i < len(s); {
		n := runeLen(s[i:])
		c := s[i : i+n]
		if i > 0 && m.prefix != "" {
			c = m.prefix + c
		}
		if i+n == len(s) && m.suffix != "" {
			c += m.suffix
		}
		i += n
		if id, ok := m.ids[c]; ok {
			if unkLen > 0 {
				w.add(m.unkID, unkLen)
				unkLen = 0
			}
			w.add(id, int32(n))
			continue
		}
		if m.byteFallback && m.addBytes(w, c) {
			continue
		}
		if m.dropUnk {
			continue
		}
		if m.unkID < 0 {
			return refuse("the text holds the unknown character %q and the unknown token %q "+
				"is not in the vocabulary", c, m.unk)
		}
		if unkLen > 0 && !m.fuseUnk {
			w.add(m.unkID, unkLen)
			unkLen = 0
		}
		unkLen += int32(n)
	}
	if unkLen > 0 {
		w.add(m.unkID, unkLen)
	}
	return nil
}

// addBytes adds c byte by byte if the vocabulary has every byte of it.
func (m *bpe) addBytes(w *bpeWord, c string) bool {
	for i := 0; i < len(c); i++ {
		if m.byteIDs[c[i]] < 0 {
			return false
		}
	}
	for i := 0; i < len(c); i++ {
		w.add(m.byteIDs[c[i]], 1)
	}
	return true
}

// prepare fills the tables that follow from the vocabulary and the merges. rawInput says that words
// come as bytes of a byte-level pre-tokenizer; the answer says whether the vocabulary allows that
// (it must hold a symbol for each byte).
func (m *bpe) prepare(results []string, rawInput bool) bool {
	m.cache = newWordCache()
	allBytes := true
	for b := range 256 {
		id, ok := m.ids[fmt.Sprintf("<0x%02X>", b)]
		if !ok {
			id, allBytes = -1, false
		}
		m.byteIDs[b] = id
	}
	if rawInput && m.prefix == "" {
		m.raw = true
		for b, c := range byteChars {
			first, ok1 := m.ids[string(c)]
			last, ok2 := m.ids[string(c)+m.suffix]
			m.rawIDs[b], m.rawLast[b] = first, last
			m.raw = m.raw && ok1 && ok2
		}
		if m.raw && m.ignoreMerges {
			m.rawWords = make(map[string]int32, len(m.ids))
			var buf []byte
			for t, id := range m.ids {
				if raw, ok := rawBytes(buf[:0], t); ok {
					m.rawWords[string(raw)] = id
				}
			}
		}
		return m.raw
	}
	// Characters that are dropped shift the offsets of all that follow them in the same word, so
	// none may be.
	_, ok := m.ids[metaspace]
	m.cutSpaces = ok && m.prefix == "" && m.suffix == "" && !m.ignoreMerges &&
		(!m.dropUnk || m.byteFallback && allBytes)
	for _, t := range results {
		m.cutSpaces = m.cutSpaces && nextCut(t, 0) == len(t)
	}
	return false
}

// bpeWord is a word while it is merged.
type bpeWord struct {
	syms []bpeSymbol
}

type bpeSymbol struct {
	id, len    int32
	rank, into uint32 // of the merge with the next symbol; rank noMerge where there is none
	prev, next int32  // neighbours, used in long words only
}

const noMerge = ^uint32(0)

func (w *bpeWord) add(id, n int32) { w.syms = append(w.syms, bpeSymbol{id: id, len: n}) }

// scanLimit is the number of symbols up to which searching the lowest rank anew for each merge
// beats keeping a heap.
const scanLimit = 24

func (w *bpeWord) merge(merges *pairTable) {
	for i := 0; i+1 < len(w.syms); i++ {
		s := &w.syms[i]
		s.rank, s.into = merges.get(s.id, w.syms[i+1].id)
	}
	if n := len(w.syms); n > 0 {
		w.syms[n-1].rank = noMerge
	}
	if len(w.syms) <= scanLimit {
		w.mergeScanning(merges)
	} else {
		w.mergeHeap(merges)
	}
}

// mergeScanning looks for the leftmost symbol of the lowest rank until none is left.
func (w *bpeWord) mergeScanning(merges *pairTable) {
	syms := w.syms
	for {
		best, rank := -1, noMerge
		for i := range syms {
			if syms[i].rank < rank {
				best, rank = i, syms[i].rank
			}
		}
		if best < 0 {
			break
		}
		s := &syms[best]
		s.id, s.len = int32(s.into), s.len+syms[best+1].len
		copy(syms[best+1:], syms[best+2:])
		syms = syms[:len(syms)-1]
		s.rank = noMerge
		if best+1 < len(syms) {
			s.rank, s.into = merges.get(s.id, syms[best+1].id)
		}
		if best > 0 {
			p := &syms[best-1]
			p.rank, p.into = merges.get(p.id, s.id)
		}
	}
	w.syms = syms
}

// mergeHeap does the same with the candidates in a heap ordered by rank and position: n log n for
// any length. An entry whose symbol has another rank by now is out of date and dropped.
func (w *bpeWord) mergeHeap(merges *pairTable) {
	syms := w.syms
	heap := make(minHeap, 0, len(syms))
	for i := range syms {
		syms[i].prev, syms[i].next = int32(i-1), int32(i+1)
		if syms[i].rank != noMerge {
			heap = append(heap, uint64(syms[i].rank)<<32|uint64(i))
		}
	}
	heap.init()
	for len(heap) > 0 {
		top := heap.pop()
		i := int32(uint32(top))
		s := &syms[i]
		if s.len == 0 || s.rank != uint32(top>>32) {
			continue
		}
		right := &syms[s.next]
		s.id, s.len, s.next = int32(s.into), s.len+right.len, right.next
		right.len, right.rank = 0, noMerge
		s.rank = noMerge
		if int(s.next) < len(syms) {
			syms[s.next].prev = i
			if s.rank, s.into = merges.get(s.id, syms[s.next].id); s.rank != noMerge {
				heap.push(uint64(s.rank)<<32 | uint64(i))
			}
		}
		if s.prev >= 0 {
			p := &syms[s.prev]
			if p.rank, p.into = merges.get(p.id, s.id); p.rank != noMerge {
				heap.push(uint64(p.rank)<<32 | uint64(s.prev))
			}
		}
	}
	kept := syms[:0]
	for i := range syms {
		if syms[i].len != 0 {
			kept = append(kept, syms[i])
		}
	}
	w.syms = kept
}

// minHeap is a binary heap of keys.
type minHeap []uint64

func (h minHeap) init() {
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}

func (h minHeap) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && h[c+1] < h[c] {
			c++
		}
		if h[i] <= h[c] {
			return
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
}

func (h *minHeap) pop() uint64 {
	old := *h
	top, n := old[0], len(old)-1
	old[0] = old[n]
	*h = old[:n]
	h.down(0)
	return top
}

func (h *minHeap) push(v uint64) {
	*h = append(*h, v)
	old := *h
	for i := len(old) - 1; i > 0; {
		p := (i - 1) / 2
		if old[p] <= old[i] {
			return
		}
		old[p], old[i] = old[i], old[p]
		i = p
	}
}

// pairTable maps a pair of symbols to the rank of their merge and the symbol it makes. Open
// addressing, at most half full.
type pairTable struct {
	slots []pairSlot
	shift uint8
}

type pairSlot struct {
	left, right int32 // left is -1 in a free slot
	rank, into  uint32
}

func newPairTable(n int) pairTable {
	size, bits := 16, uint8(4)
	for size < 2*n {
		size *= 2
		bits++
	}
	t := pairTable{make([]pairSlot, size), 64 - bits}
	for i := range t.slots {
		t.slots[i].left = -1
	}
	return t
}

func (t *pairTable) slot(left, right int32) uint64 {
	return (uint64(uint32(left))<<32 | uint64(uint32(right))) * 0x9E3779B97F4A7C15 >> t.shift
}

// put enters a merge; a later one for the same pair takes its place, as in the reference.
func (t *pairTable) put(left, right int32, rank, into uint32) {
	i := t.slot(left, right)
	for t.slots[i].left >= 0 && (t.slots[i].left != left || t.slots[i].right != right) {
		i = (i + 1) & uint64(len(t.slots)-1)
	}
	t.slots[i] = pairSlot{left, right, rank, into}
}

func (t *pairTable) get(left, right int32) (rank, into uint32) {
	for i := t.slot(left, right); ; i = (i + 1) & uint64(len(t.slots)-1) {
		s := &t.slots[i]
		if s.left == left && s.right == right {
			return s.rank, s.into
		}
		if s.left < 0 {
			return noMerge, 0
		}
	}
}
