package tokenize

// Span is a half-open range of bytes in the text given to Encode.
type Span struct{ Start, End int }

// Encoding holds the tokens of a text or of a pair of texts. Its slices have one entry per token.
type Encoding struct {
	IDs           []int64 // ids, as ONNX graphs take them
	TypeIDs       []int64 // 0 for the first text, 1 for the second, unless the file says otherwise
	AttentionMask []int64 // 1 for tokens, 0 for padding
	SpecialMask   []int64 // 1 for tokens that the post-processor or the padding added

	// Tokens are as the vocabulary writes them; an unknown or added token is the text that it
	// matched, as in the reference.
	Tokens []string

	// Offsets are the bytes of its text that each token covers. Tokens of the second text of a pair
	// have offsets in that one, tokens that the post-processor or the padding added have {0, 0}.
	Offsets []Span

	// Words are the indexes of the pre-tokenized words that the tokens belong to, -1 for tokens
	// that were added.
	Words []int

	// Sequences holds the range of tokens of each text, the added ones left out. It is empty where
	// that is not known: without a post-processor, or after truncation.
	Sequences []Span

	// Overflowing holds the parts that truncation cut off, each a full encoding.
	Overflowing []*Encoding

	text   string // the text of Offsets, while there is only one
	shared bool   // part of the tokenizer, not to be changed
}

// Len is the number of tokens.
func (e *Encoding) Len() int { return len(e.IDs) }

func newEncoding(n int) *Encoding {
	ints := make([]int64, 4*n)
	return &Encoding{
		IDs:           ints[0:0:n],
		TypeIDs:       ints[n : n : 2*n],
		AttentionMask: ints[2*n : 2*n : 3*n],
		SpecialMask:   ints[3*n : 3*n : 4*n],
		Tokens:        make([]string, 0, n),
		Offsets:       make([]Span, 0, n),
		Words:         make([]int, 0, n),
	}
}

func (e *Encoding) push(id int64, text string, at Span, word int, typeID int64, special int64) {
	e.IDs = append(e.IDs, id)
	e.TypeIDs = append(e.TypeIDs, typeID)
	e.AttentionMask = append(e.AttentionMask, 1)
	e.SpecialMask = append(e.SpecialMask, special)
	e.Tokens = append(e.Tokens, text)
	e.Offsets = append(e.Offsets, at)
	e.Words = append(e.Words, word)
}

// part returns a copy of the tokens [a, b); the ranges of the sequences are lost, as in the
// reference.
func (e *Encoding) part(a, b int) *Encoding {
	p := newEncoding(b - a)
	p.text = e.text
	p.append(&Encoding{
		IDs:           e.IDs[a:b],
		TypeIDs:       e.TypeIDs[a:b],
		AttentionMask: e.AttentionMask[a:b],
		SpecialMask:   e.SpecialMask[a:b],
		Tokens:        e.Tokens[a:b],
		Offsets:       e.Offsets[a:b],
		Words:         e.Words[a:b],
	})
	return p
}

// append adds the tokens of o, not its overflowing parts.
func (e *Encoding) append(o *Encoding) {
	for i, r := range o.Sequences {
		if r.End > r.Start || i >= len(e.Sequences) {
			e.setSequence(i, Span{r.Start + e.Len(), r.End + e.Len()})
		}
	}
	e.IDs = append(e.IDs, o.IDs...)
	e.TypeIDs = append(e.TypeIDs, o.TypeIDs...)
	e.AttentionMask = append(e.AttentionMask, o.AttentionMask...)
	e.SpecialMask = append(e.SpecialMask, o.SpecialMask...)
	e.Tokens = append(e.Tokens, o.Tokens...)
	e.Offsets = append(e.Offsets, o.Offsets...)
	e.Words = append(e.Words, o.Words...)
}

func (e *Encoding) setSequence(i int, r Span) {
	for len(e.Sequences) <= i {
		e.Sequences = append(e.Sequences, Span{})
	}
	e.Sequences[i] = r
}

func (e *Encoding) setTypeIDs(id int64) {
	for i := range e.TypeIDs {
		e.TypeIDs[i] = id
	}
}

// clone copies e; the overflowing parts stay shared.
func (e *Encoding) clone() *Encoding {
	c := e.part(0, e.Len())
	c.Sequences = append(c.Sequences, e.Sequences...)
	c.Overflowing = e.Overflowing
	return c
}

// deepClone copies e with its overflowing parts.
func (e *Encoding) deepClone() *Encoding {
	c := e.clone()
	c.Overflowing = nil
	for _, o := range e.Overflowing {
		c.Overflowing = append(c.Overflowing, o.deepClone())
	}
	return c
}

// mergeWith appends o, and combines the overflowing parts of both with each other
// (Encoding::merge_with).
func (e *Encoding) mergeWith(o *Encoding) {
	var over []*Encoding
	for _, mine := range e.Overflowing {
		c := mine.clone()
		c.mergeWith(o)
		over = append(over, c)
		for _, theirs := range o.Overflowing {
			c := mine.clone()
			c.mergeWith(theirs)
			over = append(over, c)
		}
	}
	for _, theirs := range o.Overflowing {
		c := e.clone()
		c.mergeWith(theirs)
		over = append(over, c)
	}
	e.append(o)
	e.Overflowing = over
}

// merge joins encodings into one.
func merge(parts []*Encoding) *Encoding {
	n := 0
	for _, p := range parts {
		n += p.Len()
	}
	e := newEncoding(n)
	for _, p := range parts {
		e.mergeWith(p)
	}
	return e
}

// truncate keeps maxLen tokens and moves the rest to Overflowing, in windows that share stride
// tokens.
func (e *Encoding) truncate(maxLen, stride int, left bool) error {
	n := e.Len()
	if maxLen >= n {
		return nil
	}
	if maxLen <= 0 {
		all := *e
		*e = *newEncoding(0)
		e.Overflowing = []*Encoding{&all}
		return nil
	}
	if stride >= maxLen {
		return refuse("truncation: the stride of %d leaves nothing of the %d tokens kept",
			stride, maxLen)
	}
	var parts []match
	for i := 0; i < n; i += maxLen - stride {
		if !left {
			p := match{i, min(i+maxLen, n)}
			parts = append(parts, p)
			if p.end == n {
				break
			}
		} else {
			p := match{max(n-i-maxLen, 0), n - i}
			parts = append(parts, p)
			if p.start == 0 {
				break
			}
		}
	}
	kept := e.part(parts[0].start, parts[0].end)
	for _, p := range parts[1:] {
		kept.Overflowing = append(kept.Overflowing, e.part(p.start, p.end))
	}
	*e = *kept
	return nil
}

// pad fills e up to n tokens.
func (e *Encoding) pad(n int, p *Padding) {
	for _, o := range e.Overflowing {
		o.pad(n, p)
	}
	k := n - e.Len()
	if k <= 0 {
		return
	}
	fill := newEncoding(n)
	if !p.Left {
		fill.append(e)
	}
	for range k {
		fill.push(p.ID, p.Token, Span{}, -1, p.TypeID, 1)
		fill.AttentionMask[fill.Len()-1] = 0
	}
	if p.Left {
		fill.append(e)
	}
	fill.Overflowing = e.Overflowing
	*e = *fill
}
