package grammar

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
)

// Vocabulary is the tokens of a model, as the bytes that they add to a text. It is safe for concurrent
// use.
type Vocabulary struct {
	pieces [][]byte
	sorted []int32 // ids by their pieces
	alone  [256]bool
}

// NewVocabulary makes a vocabulary of the piece of each id; ids without one are never chosen.
func NewVocabulary(pieces [][]byte) *Vocabulary {
	v := &Vocabulary{pieces: pieces}
	for id, p := range pieces {
		if len(p) > 0 {
			v.sorted = append(v.sorted, int32(id))
		}
		if len(p) == 1 {
			v.alone[p[0]] = true
		}
	}
	slices.SortFunc(v.sorted, func(a, b int32) int { return bytes.Compare(pieces[a], pieces[b]) })
	return v
}

// Check returns an error if the vocabulary cannot write what the grammar needs, byte by byte: a text
// could then come to where no token goes on.
func (g *Grammar) Check(v *Vocabulary) error {
	needed := []byte(`{}[],:"0`)
	for _, n := range g.nodes {
		for _, t := range n.texts {
			needed = append(needed, t...)
		}
		for _, p := range n.properties {
			needed = append(needed, p.key...)
		}
	}
	for _, b := range needed {
		if !v.alone[b] {
			return fmt.Errorf("the model has no token for %q alone, and cannot be held to a schema", string(rune(b)))
		}
	}
	return nil
}

// Choice is a token that may come next, and what the rest of the text needs at least behind it.
type Choice struct {
	ID   int32
	Need int32 // bytes
}

// Matcher says which tokens may come next in texts of one grammar. It remembers what it found, and is
// for one search.
type Matcher struct {
	Grammar    *Grammar
	Vocabulary *Vocabulary

	mu    sync.Mutex
	known map[string][]Choice // by signature
}

// mostKnown bounds what a Matcher remembers.
const mostKnown = 64

// Choices returns the tokens that may come next. The text may end where s.Done() says so.
func (m *Matcher) Choices(s State) []Choice {
	sig := string(s.append(nil))
	m.mu.Lock()
	defer m.mu.Unlock()
	if list, ok := m.known[sig]; ok {
		return list
	}
	list := m.Vocabulary.choices(nil, s, 0, 0, len(m.Vocabulary.sorted))
	if m.known == nil || len(m.known) >= mostKnown {
		m.known = map[string][]Choice{}
	}
	m.known[sig] = list
	return list
}

// After returns the state behind some tokens; ok is false if one of them is none of its choices.
func (m *Matcher) After(ids []int64) (s State, ok bool) {
	s = m.Grammar.Start()
	for _, id := range ids {
		if id < 0 || id >= int64(len(m.Vocabulary.pieces)) || len(m.Vocabulary.pieces[id]) == 0 {
			return nil, false
		}
		if s = s.NextAll(m.Vocabulary.pieces[id]); len(s) == 0 {
			return nil, false
		}
	}
	return s, true
}

// choices walks the tokens from..to-1 of the sorted ones, which share their first depth bytes; s is the
// state behind those.
func (v *Vocabulary) choices(list []Choice, s State, depth, from, to int) []Choice {
	need := int32(-1)
	for from < to && len(v.pieces[v.sorted[from]]) == depth {
		if need < 0 {
			need = int32(s.Need())
		}
		list = append(list, Choice{v.sorted[from], need})
		from++
	}
	for from < to {
		b := v.pieces[v.sorted[from]][depth]
		end := from + 1
		for end < to && v.pieces[v.sorted[end]][depth] == b {
			end++
		}
		if next := s.Next(b); len(next) > 0 {
			list = v.choices(list, next, depth+1, from, end)
		}
		from = end
	}
	return list
}
