package tokenize

import (
	"hash/maphash"
	"sync/atomic"
)

// model turns one word of pre-tokenized text into tokens.
type model interface {
	// tokenize appends the tokens of s to dst, their ranges in bytes of s. It fails where a
	// character is unknown and the file names no token for that.
	tokenize(dst []token, s string) ([]token, error)
	id(token string) (int32, bool)
	token(id int32) (string, bool)
	// size is the number of tokens, which is also the first id given to an added token that the
	// model lacks.
	size() int
	// vocab maps the different tokens to their ids. It is the model's own map, not to be changed.
	vocab() map[string]int32
}

// token is one token of a word: an id, the range of the word's bytes that it covers, and its text
// where that is not the one that the vocabulary has for its id.
type token struct {
	id         int32
	start, end int32
	text       string
}

// wordCache remembers the tokens of recent words. It is direct-mapped: a slot holds the last word
// that hashed to it, so its size is bounded, a hit costs one load, and goroutines need no lock.
type wordCache struct {
	seed  maphash.Seed
	slots [cacheSlots]atomic.Pointer[cachedWord]
}

const (
	cacheSlots   = 1 << 14
	cacheMaxWord = 64 // bytes; longer words hardly come twice
)

type cachedWord struct {
	word   string
	tokens []token
}

// tokenizeWord appends the tokens of a word to dst.
type tokenizeWord func(dst []token, word string) ([]token, error)

func newWordCache() *wordCache { return &wordCache{seed: maphash.MakeSeed()} }

func (c *wordCache) slot(word string) *atomic.Pointer[cachedWord] {
	return &c.slots[maphash.String(c.seed, word)&(cacheSlots-1)]
}

// through appends the tokens of word to dst, computing them only where the slot holds another word.
func (c *wordCache) through(dst []token, word string, compute tokenizeWord) ([]token, error) {
	if len(word) > cacheMaxWord {
		return compute(dst, word)
	}
	slot := c.slot(word)
	if hit := slot.Load(); hit != nil && hit.word == word {
		return append(dst, hit.tokens...), nil
	}
	n := len(dst)
	dst, err := compute(dst, word)
	if err == nil {
		// Clones, so that the cache keeps neither the caller's text nor the scratch space alive.
		kept := append([]token(nil), dst[n:]...)
		copied := string(append([]byte(nil), word...))
		for i := range kept {
			if kept[i].text != "" {
				kept[i].text = string(append([]byte(nil), kept[i].text...))
			}
		}
		slot.Store(&cachedWord{copied, kept})
	}
	return dst, err
}
