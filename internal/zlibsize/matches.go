package zlibsize

const (
	leastMatch, mostMatch = 3, 258
	hashBits, hashShift   = 15, 5
	tooFar                = 4096 // a match of three bytes is not worth a longer distance

	// configuration_table of deflate.c, level 6.
	good, lazy, nice, chain = 8, 16, 128, 128
)

// finder finds earlier places of the bytes at a place. Positions are those of the text; 0 stands for
// none, so that nothing matches the text's beginning, as in zlib.
type finder struct {
	text []byte
	head [1 << hashBits]int
	prev []int
	hash int
}

// insert notes the three bytes at a place and returns the latest place with their hash.
func (f *finder) insert(at int) int {
	f.hash = (f.hash<<hashShift ^ int(f.text[at+leastMatch-1])) & (1<<hashBits - 1)
	before := f.head[f.hash]
	f.prev[at], f.head[f.hash] = before, at
	return before
}

// longest returns the place and the length of the longest match at a place, of those longer than
// least, trying candidates from the latest on.
func (f *finder) longest(at, candidate, least int) (place, length int) {
	ahead := f.text[at:]
	tries, enough := chain, min(nice, len(ahead))
	if least >= good {
		tries >>= 2
	}
	length = least
	for ; candidate > 0 && tries > 0; candidate, tries = f.prev[candidate], tries-1 {
		n := 0
		for n < min(mostMatch, len(ahead)) && f.text[candidate+n] == ahead[n] {
			n++
		}
		if n > length {
			if place, length = candidate, n; n >= enough {
				break
			}
		}
	}
	return place, min(length, len(ahead))
}

// matches gives the literals and matches of a text in their order (deflate_slow of deflate.c).
func matches(text []byte, literal func(byte), match func(length, distance int)) {
	f := &finder{text: text, prev: make([]int, len(text))}
	if len(text) >= leastMatch {
		f.hash = int(text[0])<<hashShift ^ int(text[1])
	}
	length, place := leastMatch-1, 0
	waiting := false // whether the byte before is not yet given out
	for at := 0; at < len(text); {
		candidate := 0
		if len(text)-at >= leastMatch {
			candidate = f.insert(at)
		}
		lengthBefore, placeBefore := length, place
		length = leastMatch - 1
		if candidate != 0 && lengthBefore < lazy {
			if p, n := f.longest(at, candidate, lengthBefore); n > lengthBefore {
				place, length = p, n
			} else {
				length = n
			}
			if length == leastMatch && at-place > tooFar {
				length = leastMatch - 1
			}
		}
		if lengthBefore >= leastMatch && length <= lengthBefore {
			match(lengthBefore, at-1-placeBefore)
			end := at - 1 + lengthBefore
			for at++; at < end; at++ {
				if len(text)-at >= leastMatch {
					f.insert(at)
				}
			}
			waiting, length = false, leastMatch-1
			continue
		}
		if waiting {
			literal(text[at-1])
		}
		waiting = true
		at++
	}
	if waiting {
		literal(text[len(text)-1])
	}
}
