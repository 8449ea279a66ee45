package tokenize

import "fmt"

// vocabulary maps tokens to ids and back. Ids need not be dense.
type vocabulary struct {
	ids    map[string]int32
	tokens []string         // token of each id below len(tokens), "" where there is none
	sparse map[int32]string // tokens of ids beyond
}

// newVocabulary builds the way back. Two tokens with one id are refused: which of them decoding
// gives is a matter of chance in the reference.
func newVocabulary(ids map[string]int32) (*vocabulary, error) {
	v := &vocabulary{ids: ids}
	size := int32(0)
	limit := int32(min(4*len(ids)+1024, 1<<30))
	for _, id := range ids {
		if id < limit {
			size = max(size, id+1)
		}
	}
	v.tokens = make([]string, size)
	filled := make([]bool, size)
	for token, id := range ids {
		if id >= size {
			if v.sparse == nil {
				v.sparse = make(map[int32]string)
			}
			if other, ok := v.sparse[id]; ok {
				return nil, fmt.Errorf("tokens %q and %q share the id %d", other, token, id)
			}
			v.sparse[id] = token
			continue
		}
		if filled[id] {
			return nil, fmt.Errorf("tokens %q and %q share the id %d", v.tokens[id], token, id)
		}
		v.tokens[id], filled[id] = token, true
	}
	if token, ok := ids[""]; ok && v.sparse[token] == "" {
		// The empty token is legal; keep it apart since "" marks a hole in tokens.
		if v.sparse == nil {
			v.sparse = make(map[int32]string)
		}
		v.sparse[token] = ""
	}
	return v, nil
}

func (v *vocabulary) id(token string) (int32, bool) {
	id, ok := v.ids[token]
	return id, ok
}

func (v *vocabulary) token(id int32) (string, bool) {
	if id >= 0 && int(id) < len(v.tokens) && v.tokens[id] != "" {
		return v.tokens[id], true
	}
	token, ok := v.sparse[id]
	return token, ok
}

func (v *vocabulary) size() int { return len(v.ids) }

func (v *vocabulary) vocab() map[string]int32 { return v.ids }
