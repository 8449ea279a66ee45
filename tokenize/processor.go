package tokenize

import (
	"unicode/utf8"

	"github.com/crossattn/xpipe/tokenize/internal/unidata"
)

// processor adds the tokens a model expects around the texts. It is given one encoding a text, and
// may return any number, which are joined in the end.
type processor interface {
	process(parts []*Encoding, special bool) ([]*Encoding, error)
	// added is the number of tokens that process adds, for truncation.
	added(pair bool) int
}

type processors []processor

func (ps processors) process(parts []*Encoding, special bool) ([]*Encoding, error) {
	var err error
	for i, p := range ps {
		for k := range parts {
			if i > 0 && parts[k].shared {
				parts[k] = parts[k].clone()
			}
		}
		if parts, err = p.process(parts, special); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

func (ps processors) added(pair bool) int {
	n := 0
	for _, p := range ps {
		n += p.added(pair)
	}
	return n
}

// templateProcessing lays the texts and special tokens out as two templates say.
type templateProcessing struct {
	single, pair []templatePiece
}

// templatePiece is one text, or one special token with the ids it stands for.
type templatePiece struct {
	sequence int  // 0 or 1; -1 for a special token
	repeated bool // the template names the text more than once
	typeID   int64
	special  *Encoding // the special token's tokens
}

func (t *templateProcessing) process(parts []*Encoding, special bool) ([]*Encoding, error) {
	template := t.single
	switch len(parts) {
	case 1:
	case 2:
		template = t.pair
	default:
		return nil, refuse("post_processor: a template takes one or two texts, "+
			"an earlier step made %d parts", len(parts))
	}
	out := make([]*Encoding, 0, len(template))
	for _, piece := range template {
		if piece.sequence >= 0 {
			if piece.sequence >= len(parts) {
				return nil, refuse("post_processor: the template for one text names a second one")
			}
			e := parts[piece.sequence]
			if piece.repeated {
				e = e.deepClone()
			}
			e.setTypeIDs(piece.typeID)
			e.setSequence(piece.sequence, Span{0, e.Len()})
			out = append(out, e)
		} else if special {
			out = append(out, piece.special)
		}
	}
	return out, nil
}

func (t *templateProcessing) added(pair bool) int {
	template := t.single
	if pair {
		template = t.pair
	}
	n := 0
	for _, piece := range template {
		if piece.special != nil {
			n += piece.special.Len()
		}
	}
	return n
}

// specialToken is a token with its id.
type specialToken struct {
	text string
	id   int64
}

// bertProcessing is [CLS] A [SEP] and B [SEP].
type bertProcessing struct{ sep, cls specialToken }

func (b bertProcessing) added(pair bool) int {
	if pair {
		return 3
	}
	return 2
}

func (b bertProcessing) process(parts []*Encoding, special bool) ([]*Encoding, error) {
	if !special {
		return parts, nil
	}
	out := make([]*Encoding, len(parts))
	for i, p := range parts {
		if i == 0 {
			out[i] = surround(p, &b.cls, &b.sep, 0, 0)
		} else {
			out[i] = surround(p, nil, &b.sep, 1, 1)
		}
	}
	return out, nil
}

// robertaProcessing is <s> A </s> and </s> B </s>, all of type 0, with trimmed offsets.
type robertaProcessing struct {
	sep, cls                    specialToken
	trimOffsets, addPrefixSpace bool
}

func (r robertaProcessing) added(pair bool) int {
	if pair {
		return 4
	}
	return 2
}

func (r robertaProcessing) process(parts []*Encoding, special bool) ([]*Encoding, error) {
	for _, p := range parts {
		if r.trimOffsets {
			trimOffsets(p, r.addPrefixSpace)
		}
		p.setTypeIDs(0)
	}
	if !special {
		return parts, nil
	}
	out := make([]*Encoding, len(parts))
	for i, p := range parts {
		first := &r.sep
		if i == 0 {
			first = &r.cls
		}
		for _, o := range p.Overflowing {
			o.setTypeIDs(0)
		}
		out[i] = surround(p, first, &r.sep, min(i, 1), 0)
	}
	return out, nil
}

// surround puts special tokens of one type around e and its overflowing parts. The tokens of the
// text keep their types, but count as ordinary from here on.
func surround(e *Encoding, first, last *specialToken, sequence int, typeID int64) *Encoding {
	out := newEncoding(e.Len() + 2)
	if first != nil {
		out.push(first.id, first.text, Span{}, -1, typeID, 1)
	}
	start := out.Len()
	e.Sequences = nil
	out.append(e)
	out.setSequence(sequence, Span{start, out.Len()})
	for i := start; i < out.Len(); i++ {
		out.SpecialMask[i], out.AttentionMask[i] = 0, 1
	}
	out.push(last.id, last.text, Span{}, -1, typeID, 1)
	for _, o := range e.Overflowing {
		o.Overflowing = nil
		out.Overflowing = append(out.Overflowing, surround(o, first, last, sequence, typeID))
	}
	out.text = e.text
	return out
}

// byteLevelProcessing trims white space from offsets.
type byteLevelProcessing struct{ trimOffsets, addPrefixSpace bool }

func (b byteLevelProcessing) added(bool) int { return 0 }

func (b byteLevelProcessing) process(parts []*Encoding, special bool) ([]*Encoding, error) {
	for i, p := range parts {
		if b.trimOffsets {
			trimOffsets(p, b.addPrefixSpace)
		}
		p.setSequence(i, Span{0, p.Len()})
	}
	return parts, nil
}

// trimOffsets takes the white space at the ends of each token out of its offsets. The reference
// counts in characters of the text (its Python face does; counting bytes could end inside a
// character), and leaves a single space in front of the text alone where addPrefixSpace says that
// it may not have been there.
func trimOffsets(e *Encoding, addPrefixSpace bool) {
	for i, t := range e.Tokens {
		lead, trail := spacesAround(t)
		if lead == 0 && trail == 0 {
			continue
		}
		at := &e.Offsets[i]
		if lead == 1 && addPrefixSpace && (i == 0 || at.Start == 0) {
			lead = 0
		}
		for ; lead > 0 && at.Start < at.End; lead-- {
			at.Start += max(runeLen(e.text[min(at.Start, len(e.text)):]), 1)
		}
		end := at.End
		for ; trail > 0 && end > 0; trail-- {
			_, n := utf8.DecodeLastRuneInString(e.text[:min(end, len(e.text))])
			end -= max(n, 1)
		}
		if trail == 0 {
			at.End = max(end, at.Start)
		}
	}
	for _, o := range e.Overflowing {
		trimOffsets(o, addPrefixSpace)
	}
}

// spacesAround counts the spaces, plain or as byte-level tokens write them, at the ends of a token.
func spacesAround(t string) (lead, trail int) {
	space := func(r rune) bool { return r == byteChars[' '] || unidata.Is(r, unidata.White) }
	for _, r := range t {
		if !space(r) {
			break
		}
		lead++
	}
	for len(t) > 0 {
		r, n := utf8.DecodeLastRuneInString(t)
		if !space(r) {
			break
		}
		trail++
		t = t[:len(t)-n]
	}
	return lead, trail
}
