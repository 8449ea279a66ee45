package tokenize

import (
	"encoding/json"
	"fmt"
	"math"
)

// unigram takes the segmentation of the highest total score, by dynamic programming over byte
// positions (Unigram::encode_optimized).
type unigram struct {
	ids      map[string]int32 // the last of equal tokens counts
	tokens   []string
	scores   []float64
	words    *trie
	unkID    int32 // -1 where the file names none
	unkScore float64
	fallback bool       // unknown text becomes byte tokens
	byteIDs  [256]int32 // -1 where there is none
	cache    *wordCache
}

// unkPenalty is what an unknown character scores below the worst token.
const unkPenalty = 10

func buildUnigram(o *object) (model, error) {
	m := &unigram{unkID: -1, cache: newWordCache(), fallback: o.flag("byte_fallback", false)}
	s := jsonText{text: string(o.fields["vocab"])}
	pieces, ok := s.pieces()
	if !ok {
		var err error
		if pieces, err = o.decodePieces(); err != nil {
			return nil, err
		}
	}
	if !o.null("unk_id") {
		m.unkID = int32(o.integer("unk_id"))
	}
	if *o.err != nil {
		return nil, *o.err
	}
	if int(m.unkID) >= len(pieces) {
		return nil, refuse("model.unk_id: %d is not in the vocabulary of %d tokens",
			m.unkID, len(pieces))
	}
	m.ids = make(map[string]int32, len(pieces))
	m.words = newTrie(4 * len(pieces))
	size := 0
	least := math.Inf(1)
	for i, p := range pieces {
		t := p.token
		score, ok := score(p.score)
		if !ok {
			return nil, refuse("model.vocab[%d]: %s is no score", i, p.score)
		}
		if size += len(t); size >= maxVocabularyBytes {
			return nil, refuse("model.vocab: more than %d bytes of tokens", maxVocabularyBytes)
		}
		m.ids[t] = int32(i)
		m.tokens, m.scores = append(m.tokens, t), append(m.scores, score)
		m.words.add(t, int32(i), false)
		least = min(least, score)
	}
	m.unkScore = least - unkPenalty
	for b := range m.byteIDs {
		m.byteIDs[b] = -1
		if id, ok := m.ids[fmt.Sprintf("<0x%02X>", b)]; ok {
			m.byteIDs[b] = id
		}
	}
	return m, nil
}

// decodePieces is what jsonText.pieces does, by encoding/json: slower, and with words for what is
// wrong.
func (o *object) decodePieces() ([]piece, error) {
	var entries [][]json.RawMessage
	if o.require("vocab", &entries, "a list of tokens with scores"); *o.err != nil {
		return nil, *o.err
	}
	pieces := make([]piece, len(entries))
	for i, e := range entries {
		if len(e) != 2 || json.Unmarshal(e[0], &pieces[i].token) != nil {
			return nil, refuse("model.vocab[%d]: a token with its score expected", i)
		}
		pieces[i].score = string(e[1])
	}
	return pieces, nil
}

func (m *unigram) size() int { return len(m.tokens) }

func (m *unigram) id(t string) (int32, bool) {
	id, ok := m.ids[t]
	return id, ok
}

func (m *unigram) token(id int32) (string, bool) {
	if id < 0 || int(id) >= len(m.tokens) {
		return "", false
	}
	return m.tokens[id], true
}

func (m *unigram) vocab() map[string]int32 { return m.ids }

func (m *unigram) tokenize(dst []token, s string) ([]token, error) {
	if len(s) == 0 {
		return dst, nil
	}
	return m.cache.through(dst, s, m.word)
}

// unigramNode is the best way to reach a position.
type unigramNode struct {
	score float64
	start int32 // of the last token, -1 where the position was not reached
	id    int32
}

func (m *unigram) word(dst []token, s string) ([]token, error) {
	var small [cacheMaxWord + 1]unigramNode
	best := small[:]
	if len(s) >= len(small) {
		best = make([]unigramNode, len(s)+1)
	}
	best = best[:len(s)+1]
	for i := range best {
		best[i].start = -1
	}
	best[0].score = 0
	for at := 0; at < len(s); {
		here := best[at].score
		first := runeLen(s[at:])
		single := false
		node := int32(0)
		for i := at; i < len(s); i++ {
			if node = m.words.child(node, s[i]); node == 0 {
				break
			}
			id := m.words.words[node]
			if id < 0 {
				continue
			}
			single = single || i+1-at == first
			if to := &best[i+1]; to.start < 0 || m.scores[id]+here > to.score {
				*to = unigramNode{m.scores[id] + here, int32(at), id}
			}
		}
		if !single {
			if to := &best[at+first]; to.start < 0 || m.unkScore+here > to.score {
				if m.unkID < 0 {
					return dst, refuse("the text holds the unknown character %q "+
						"and the file names no unknown token", s[at:at+first])
				}
				*to = unigramNode{m.unkScore + here, int32(at), m.unkID}
			}
		}
		at += first
	}
	// Walk back, joining neighbours that are unknown, then put the tokens in order.
	n := len(dst)
	for end := int32(len(s)); end > 0; {
		b := best[end]
		if k := len(dst) - 1; b.id == m.unkID && k >= n && dst[k].id == m.unkID {
			dst[k].start = b.start
		} else {
			dst = append(dst, token{id: b.id, start: b.start, end: end})
		}
		end = b.start
	}
	for i, j := n, len(dst)-1; i < j; i, j = i+1, j-1 {
		dst[i], dst[j] = dst[j], dst[i]
	}
	return m.resolve(dst, n, s), nil
}

// resolve looks the segments up again by their text, as the reference does: an unknown one may be
// in the vocabulary after all, or become bytes.
func (m *unigram) resolve(dst []token, n int, s string) []token {
	known := true
	for i := n; i < len(dst); i++ {
		t := &dst[i]
		if t.id != m.unkID {
			continue
		}
		text := s[t.start:t.end]
		if id, ok := m.ids[text]; ok {
			t.id = id
		} else {
			t.text = text
			known = known && !m.fallback
		}
	}
	if known {
		return dst
	}
	segments := append([]token(nil), dst[n:]...)
	dst = dst[:n]
	for _, t := range segments {
		if t.text == "" || !m.hasBytes(t.text) {
			dst = append(dst, t)
			continue
		}
		for i := 0; i < len(t.text); i++ {
			dst = append(dst, token{id: m.byteIDs[t.text[i]], start: t.start, end: t.end})
		}
	}
	return dst
}

func (m *unigram) hasBytes(s string) bool {
	for i := 0; i < len(s); i++ {
		if m.byteIDs[s[i]] < 0 {
			return false
		}
	}
	return true
}
