package tokenize

// Pieces returns, for each id, the bytes that its token adds to a text that has begun: what a program
// needs that decides which tokens may come next. Tokens may hold a part of a character. Special tokens,
// which Decode can leave out, and ids without a token have nil.
func (t *Tokenizer) Pieces() [][]byte {
	vocab := t.Vocab()
	most := int64(-1)
	for _, id := range vocab {
		most = max(most, id)
	}
	pieces := make([][]byte, most+1)
	byteLevel, fallback := t.decodesBytes()
	before := t.NewStream(true)
	begin(before, vocab)
	for token, id := range vocab {
		switch {
		case id < 0 || t.added.special[token] || token == "":
		case byteLevel:
			raw, ok := rawBytes(nil, token)
			if !ok {
				raw = []byte(token)
			}
			pieces[id] = raw
		default:
			if b, ok := byteToken(token); ok && fallback {
				pieces[id] = []byte{b}
				continue
			}
			s := before.Clone()
			s.add(id)
			s.finish()
			pieces[id] = s.out.text[s.given:]
		}
	}
	return pieces
}

// begin has a stream write a word, behind which a token is not the first.
func begin(s *Stream, vocab map[string]int64) {
	for _, token := range []string{"a", "▁a", "e", "0", "."} {
		if id, ok := vocab[token]; ok {
			s.Push(id)
			s.given = len(s.out.text)
			return
		}
	}
}

// decodesBytes reports whether tokens stand for bytes: all of them, or those like <0x61>.
func (t *Tokenizer) decodesBytes() (all, some bool) {
	list := []decoder{t.decoder}
	for len(list) > 0 {
		d := list[0]
		list = list[1:]
		switch d := d.(type) {
		case decoders:
			list = append(list, d...)
		case spaceCleaner:
			list = append(list, d.decoder)
		case byteLevelDecoder:
			all = true
		case byteFallbackDecoder:
			some = true
		}
	}
	return all, some
}
