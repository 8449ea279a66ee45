package jpeg

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var errHuffman = errors.New("damaged: a Huffman code that does not exist")

// lookBits is the length of the codes, with the bits of the coefficient that follow them where
// there is room, that one table look-up decodes.
const lookBits = 10

// An entry of the look-up table packs, from the low end: 6 bits, how many bits to consume; 1 bit,
// whether the value is in the entry; 4 bits of size and 4 of run, or rather the symbol; 16 bits of
// value. Zero: a longer code.
type entry uint32

const (
	entryDone   = 1 << 6 // the value is in the entry
	symbolShift = 7
	valueShift  = 16
)

type huffman struct {
	look [1 << lookBits]entry
	// Codes of length n are maxCode[n] at most, left-aligned in 16 bits with all bits after them
	// set; -1 where there are none. The symbol of code c is symbols[c+offset[n]].
	maxCode [18]int32
	offset  [17]int32
	symbols [256]uint8
}

func (d *decoder) readHuffman(s []byte) error {
	for len(s) > 0 {
		if len(s) < 17 {
			return errors.New("a Huffman table is cut off")
		}
		class, id := s[0]>>4, s[0]&15
		if class > 1 || id > 3 {
			return fmt.Errorf("the Huffman table %d of class %d", id, class)
		}
		var counts [17]int
		total := 0
		for i := 1; i <= 16; i++ {
			counts[i] = int(s[i])
			total += counts[i]
		}
		if total > 256 || len(s) < 17+total {
			return errors.New("a Huffman table is cut off")
		}
		h, err := newHuffman(counts, s[17:17+total], class == 0)
		if err != nil {
			return err
		}
		if class == 0 {
			d.dc[id] = h
		} else {
			d.ac[id] = h
		}
		s = s[17+total:]
	}
	return nil
}

// newHuffman makes the canonical code of T.81 annex C.
func newHuffman(counts [17]int, symbols []byte, dc bool) (*huffman, error) {
	h := new(huffman)
	copy(h.symbols[:], symbols)
	code, k := int32(0), int32(0)
	for n := 1; n <= 16; n++ {
		h.offset[n] = k - code
		h.maxCode[n] = -1
		for range counts[n] {
			symbol := h.symbols[k]
			if dc && symbol > 15 {
				return nil, fmt.Errorf("a Huffman table has a DC size of %d bits", symbol)
			}
			if code >= 1<<n {
				return nil, errors.New("a Huffman table has more codes than fit")
			}
			if n <= lookBits {
				h.fill(code, n, symbol)
			}
			code++
			k++
		}
		if counts[n] > 0 {
			h.maxCode[n] = code<<(16-n) - 1
		}
		code <<= 1
	}
	h.maxCode[17] = 1<<31 - 1
	return h, nil
}

// fill enters all bit strings that start with a code of n bits.
func (h *huffman) fill(code int32, n int, symbol uint8) {
	size := int(symbol & 15)
	for rest := range int32(1) << (lookBits - n) {
		e := entry(n) | entry(symbol)<<symbolShift
		if n+size <= lookBits {
			v := int32(0)
			if size > 0 {
				v = extend(uint32(rest)>>(lookBits-n-size), size)
			}
			e = entry(n+size) | entryDone | entry(symbol)<<symbolShift | entry(uint16(v))<<valueShift
		}
		h.look[code<<(lookBits-n)|rest] = e
	}
}

// extend gives the value of a coefficient whose size bits are v (T.81 F.2.2.1).
func extend(v uint32, size int) int32 {
	if v < 1<<(size-1) {
		return int32(v) - 1<<size + 1
	}
	return int32(v)
}

// bitReader reads the entropy-coded bits between two markers.
type bitReader struct {
	data []byte
	pos  int
	acc  uint64 // the next n bits, from the top; what lies below them is void
	n    int
	// padded counts zero bits made up since a marker, or the end of the file, was reached; ended
	// tells which.
	padded int
	ended  bool
}

func (b *bitReader) start(pos int) {
	b.pos, b.acc, b.n, b.padded, b.ended = pos, 0, 0, 0, false
}

// overrun reports whether bits were used that were not in the file.
func (b *bitReader) overrun() bool { return b.padded > b.n }

// refill makes sure that there are at least 32 bits, and takes up to 64.
func (b *bitReader) refill() {
	if b.pos+8 <= len(b.data) {
		x := binary.BigEndian.Uint64(b.data[b.pos:])
		// Is one of the bytes 0xff?
		if y := ^x; (y-0x0101010101010101)&^y&0x8080808080808080 == 0 {
			b.acc |= x >> b.n
			k := (64 - b.n) >> 3
			b.pos += k
			b.n += k << 3
			return
		}
	}
	b.refillSlow()
}

func (b *bitReader) refillSlow() {
	b.acc &= ^uint64(0) << (64 - b.n) // b.n < 64, or the shift gives all
	for b.n <= 56 {
		v := uint64(0)
		switch {
		case b.padded > 0:
			b.padded += 8
		case b.pos >= len(b.data):
			b.ended = true
			b.padded += 8
		default:
			v = uint64(b.data[b.pos])
			if v != 0xff {
				b.pos++
				break
			}
			next := b.pos + 1
			for next < len(b.data) && b.data[next] == 0xff {
				next++
			}
			switch {
			case next >= len(b.data):
				b.ended = true
				v = 0
				b.padded += 8
			case b.data[next] == 0:
				b.pos = next + 1
			default: // a marker: stay before it
				v = 0
				b.padded += 8
			}
		}
		b.acc |= v << (56 - b.n)
		b.n += 8
	}
}

// take returns the next n bits, 1 to 16.
func (b *bitReader) take(n int) uint32 {
	if b.n < 32 {
		b.refill()
	}
	v := uint32(b.acc >> (64 - n))
	b.acc <<= n
	b.n -= n
	return v
}

// symbol decodes one symbol without the value that may follow it.
func (b *bitReader) symbol(h *huffman) (uint8, error) {
	if b.n < 32 {
		b.refill()
	}
	e := h.look[b.acc>>(64-lookBits)]
	if e == 0 {
		return b.symbolLoaded(h)
	}
	symbol, n := uint8(e>>symbolShift), int(e&63)
	if e&entryDone != 0 {
		n -= int(symbol & 15) // leave the value
	}
	b.acc <<= n
	b.n -= n
	return symbol, nil
}

// symbolLoaded is symbol where 16 bits are known to be there.
func (b *bitReader) symbolLoaded(h *huffman) (uint8, error) {
	top := int32(b.acc >> 48)
	n := 1
	for top > h.maxCode[n] {
		n++
	}
	if n > 16 {
		return 0, errHuffman
	}
	b.acc <<= n
	b.n -= n
	return h.symbols[uint8(top>>(16-n)+h.offset[n])], nil
}
