package tokenize

import (
	"encoding/json"
	"math"
	"strings"
)

func buildModel(o *object, byteLevelInput bool) (m model, raw bool, err error) {
	if *o.err != nil {
		return nil, false, *o.err
	}
	kind := ""
	switch {
	case o.fields["type"] != nil:
		kind = o.str("type")
	case o.fields["merges"] != nil:
		kind = "BPE" // files from before models had a type
	case o.fields["continuing_subword_prefix"] != nil &&
		o.fields["max_input_chars_per_word"] != nil:
		kind = "WordPiece"
	}
	switch kind {
	case "BPE":
		return buildBPE(o, byteLevelInput)
	case "WordPiece":
		prefix, unk := o.str("continuing_subword_prefix"), o.str("unk_token")
		limit := o.integer("max_input_chars_per_word")
		v, err := o.vocabulary()
		if err != nil {
			return nil, false, err
		}
		return newWordPiece(v, unk, prefix, limit), false, nil
	case "WordLevel":
		unk := o.str("unk_token")
		v, err := o.vocabulary()
		if err != nil {
			return nil, false, err
		}
		return &wordLevel{v, unk}, false, nil
	case "Unigram":
		m, err := buildUnigram(o)
		return m, false, err
	}
	return nil, false, refuse("model.type: the model %q is not known", kind)
}

// maxVocabularyBytes bounds the text of a vocabulary, so that a trie of it has node numbers of 24
// bits.
const maxVocabularyBytes = 1 << 24

// vocabulary reads the field vocab, an object from token to id.
func (o *object) vocabulary() (*vocabulary, error) {
	s := jsonText{text: string(o.fields["vocab"])}
	ids, size, ok := s.ids()
	if *o.err != nil {
		return nil, *o.err
	}
	if !ok {
		var err error
		if ids, size, err = o.decodeVocabulary(); err != nil {
			return nil, err
		}
	}
	if size >= maxVocabularyBytes {
		return nil, refuse("model.vocab: more than %d bytes of tokens", maxVocabularyBytes)
	}
	v, err := newVocabulary(ids)
	if err != nil {
		return nil, refuse("model.vocab: %v", err)
	}
	return v, nil
}

// decodeVocabulary is what jsonText.ids does, by encoding/json: slower, and with words for what is
// wrong.
func (o *object) decodeVocabulary() (ids map[string]int32, size int, err error) {
	var numbers map[string]uint32
	o.require("vocab", &numbers, "an object from token to id")
	if *o.err != nil {
		return nil, 0, *o.err
	}
	ids = make(map[string]int32, len(numbers))
	for t, id := range numbers {
		if id > math.MaxInt32 {
			return nil, 0, refuse("model.vocab: the id %d of %q is too large", id, t)
		}
		ids[t] = int32(id)
		size += len(t)
	}
	return ids, size, nil
}

func buildBPE(o *object, byteLevelInput bool) (model, bool, error) {
	m := &bpe{
		unk:          o.optionalStr("unk_token"),
		prefix:       o.optionalStr("continuing_subword_prefix"),
		suffix:       o.optionalStr("end_of_word_suffix"),
		fuseUnk:      o.optionalBool("fuse_unk", false),
		byteFallback: o.optionalBool("byte_fallback", false),
		ignoreMerges: o.optionalBool("ignore_merges", false),
	}
	if !o.null("dropout") { // of use in training only: Encode never drops merges
		var p float64
		if o.require("dropout", &p, "a number"); p < 0 || p > 1 {
			o.fail("dropout", "not between 0 and 1")
		}
	}
	var err error
	if m.vocabulary, err = o.vocabulary(); err != nil {
		return nil, false, err
	}
	m.dropUnk, m.unkID = o.null("unk_token"), -1
	if id, ok := m.ids[m.unk]; ok {
		m.unkID = id
	}
	merges, err := o.merges()
	if err != nil {
		return nil, false, err
	}
	m.merges = newPairTable(len(merges))
	results := make([]string, 0, len(merges))
	for rank, pair := range merges {
		left, ok1 := m.ids[pair[0]]
		right, ok2 := m.ids[pair[1]]
		if !ok1 || !ok2 || len(pair[1]) < len(m.prefix) {
			return nil, false, refuse("model.merges[%d]: %q or %q is not in the vocabulary",
				rank, pair[0], pair[1])
		}
		whole := pair[0] + pair[1][len(m.prefix):]
		into, ok := m.ids[whole]
		if !ok {
			return nil, false, refuse("model.merges[%d]: its result %q is not in the vocabulary",
				rank, whole)
		}
		m.merges.put(left, right, uint32(rank), uint32(into))
		results = append(results, whole)
	}
	raw := m.prepare(results, byteLevelInput)
	return m, raw, nil
}

// merges reads the field merges, a list of "a b" or of ["a", "b"].
func (o *object) merges() ([][2]string, error) {
	raw, ok := o.fields["merges"]
	if !ok || string(raw) == "null" {
		return nil, refuse("model.merges: missing")
	}
	s := jsonText{text: string(raw)}
	if pairs, ok := s.pairs(); ok {
		return pairs, nil
	}
	s.at = 0
	lines, ok := s.strings()
	if !ok {
		lines = nil
		ok = json.Unmarshal(raw, &lines) == nil
	}
	if ok {
		pairs := make([][2]string, 0, len(lines))
		for i, line := range lines {
			if strings.HasPrefix(line, "#version") {
				continue
			}
			a, b, ok := strings.Cut(line, " ")
			if !ok || strings.Contains(b, " ") {
				return nil, refuse("model.merges[%d]: %q is not two tokens with a space between",
					i, line)
			}
			pairs = append(pairs, [2]string{a, b})
		}
		return pairs, nil
	}
	var lists [][]string
	if json.Unmarshal(raw, &lists) != nil {
		return nil, refuse("model.merges: a list of strings or of pairs expected")
	}
	pairs := make([][2]string, len(lists))
	for i, l := range lists {
		if len(l) != 2 {
			return nil, refuse("model.merges[%d]: a pair expected", i)
		}
		pairs[i] = [2]string{l[0], l[1]}
	}
	return pairs, nil
}
