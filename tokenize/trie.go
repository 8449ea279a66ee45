package tokenize

// trie finds the words of a vocabulary that begin a text, byte by byte. Edges live in one hash
// table keyed by node and byte, which is quick to build for large vocabularies and needs two or
// three cache lines a step.
type trie struct {
	first [256]int32 // children of the root, 0 where there is none
	edges []trieEdge
	shift uint8
	count int
	words []int32 // value of each node, -1 where no word ends
}

type trieEdge struct {
	key  uint32 // node<<8 | byte; 0 is a free slot: the root's edges are in trie.first
	node int32
}

func newTrie(capacity int) *trie {
	t := &trie{words: []int32{-1}}
	size, bits := 64, uint8(6)
	for size < capacity {
		size *= 2
		bits++
	}
	t.edges, t.shift = make([]trieEdge, size), 32-bits
	return t
}

func (t *trie) slot(key uint32) uint32 { return key * 0x9E3779B1 >> t.shift }

// child returns the node that c leads to from node, 0 where there is none.
func (t *trie) child(node int32, c byte) int32 {
	if node == 0 {
		return t.first[c]
	}
	key := uint32(node)<<8 | uint32(c)
	for i := t.slot(key); ; i = (i + 1) & uint32(len(t.edges)-1) {
		if e := &t.edges[i]; e.key == key {
			return e.node
		} else if e.key == 0 {
			return 0
		}
	}
}

func (t *trie) link(node int32, c byte, to int32) {
	if node == 0 {
		t.first[c] = to
		return
	}
	if 2*t.count >= len(t.edges) {
		old := t.edges
		t.edges = make([]trieEdge, 2*len(old))
		t.shift--
		for _, e := range old {
			if e.key != 0 {
				t.put(e)
			}
		}
	}
	t.count++
	t.put(trieEdge{uint32(node)<<8 | uint32(c), to})
}

func (t *trie) put(e trieEdge) {
	i := t.slot(e.key)
	for t.edges[i].key != 0 {
		i = (i + 1) & uint32(len(t.edges)-1)
	}
	t.edges[i] = e
}

// add enters a word with its value. Of equal words the first one stays if keep is set, else the
// last.
func (t *trie) add(word string, value int32, keep bool) {
	node := int32(0)
	for i := 0; i < len(word); i++ {
		next := t.child(node, word[i])
		if next == 0 {
			next = int32(len(t.words))
			t.words = append(t.words, -1)
			t.link(node, word[i], next)
		}
		node = next
	}
	if t.words[node] < 0 || !keep {
		t.words[node] = value
	}
}

// longest returns the value and the length of the longest word that begins s, -1 where there is
// none.
func (t *trie) longest(s string) (value int32, n int) {
	value = -1
	node := int32(0)
	for i := 0; i < len(s); i++ {
		if node = t.child(node, s[i]); node == 0 {
			break
		}
		if w := t.words[node]; w >= 0 {
			value, n = w, i+1
		}
	}
	return value, n
}
