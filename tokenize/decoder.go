package tokenize

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// A decoder turns tokens into text. The decoders of a file form a chain that tokens pass through in
// order, one at a time; Decode and Stream are both built on it.
type decoder interface {
	// onto begins a text: it returns the sink for the tokens, which writes its output to out.
	onto(out sink) sink
}

// A sink takes the tokens of one text. It writes only final text to the next sink, and holds back
// text that a later token may still change.
type sink interface {
	// write takes a token, or the next part of one that is still growing.
	write(part string)
	// next ends the current token.
	next()
	// close ends the text. No token is open then.
	close()
	// fork copies the sink and those that it writes to; the copies write to end.
	fork(end *decoded) sink
}

// decoders are the decoders of a Sequence.
type decoders []decoder

func (ds decoders) onto(out sink) sink {
	for _, d := range slices.Backward(ds) {
		out = d.onto(out)
	}
	return out
}

// decoded is the end of the chain: the text itself.
type decoded struct{ text []byte }

func (d *decoded) write(part string)      { d.text = append(d.text, part...) }
func (d *decoded) next()                  {}
func (d *decoded) close()                 {}
func (d *decoded) fork(end *decoded) sink { return end }

// spaced joins tokens with spaces, as the reference does without a decoder.
type spaced struct{}

func (spaced) onto(out sink) sink { return &rewriter{out: out, rewrite: spaced{}.rewrite} }

func (spaced) rewrite(i int, _, token string) (string, bool) {
	if i > 0 {
		token = " " + token
	}
	return token, true
}

// growing is a token that is put together from its parts.
type growing struct {
	first string // its first part
	parts []byte // all parts, where there are more
}

func (g *growing) write(part string) {
	switch {
	case g.first == "":
		g.first = part
	case len(g.parts) == 0:
		g.parts = append(append(g.parts, g.first...), part...)
	default:
		g.parts = append(g.parts, part...)
	}
}

// take returns the token and starts another one.
func (g *growing) take() string {
	token := g.first
	if len(g.parts) > 0 {
		token = string(g.parts)
	}
	g.first, g.parts = "", g.parts[:0]
	return token
}

// copied returns a copy that shares no memory with g.
func (g *growing) copied() growing { return growing{g.first, slices.Clone(g.parts)} }

// rewriter is the sink of decoders that rewrite tokens one by one. The function rewrite is given
// the index of a token, the token before it and the token. It returns the token to write, or false
// for none.
type rewriter struct {
	growing
	out      sink
	rewrite  func(i int, previous, token string) (string, bool)
	i        int
	previous string
}

func (r *rewriter) next() {
	token := r.take()
	text, ok := r.rewrite(r.i, r.previous, token)
	r.i++
	r.previous = token
	if ok {
		r.out.write(text)
		r.out.next()
	}
}

func (r *rewriter) close() { r.out.close() }

func (r *rewriter) fork(end *decoded) sink {
	c := *r
	c.growing, c.out = r.copied(), r.out.fork(end)
	return &c
}

// wordPieceDecoder puts a space before each token but the first, or takes the prefix off that
// marks the rest of a word.
type wordPieceDecoder struct {
	prefix  string
	cleanup bool
}

func (d wordPieceDecoder) onto(out sink) sink { return &rewriter{out: out, rewrite: d.rewrite} }

func (d wordPieceDecoder) rewrite(i int, _, token string) (string, bool) {
	if i > 0 {
		if rest, ok := strings.CutPrefix(token, d.prefix); ok {
			token = rest
		} else {
			token = " " + token
		}
	}
	if d.cleanup {
		token = cleanUp(token)
	}
	return token, true
}

// cleanUp takes out spaces that tokenizing English has left. The steps run one after the other, as
// in the reference's wordpiece::cleanup.
func cleanUp(token string) string {
	for _, step := range [...][2]string{
		{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"},
		{" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
	} {
		token = strings.ReplaceAll(token, step[0], step[1])
	}
	return token
}

// metaspaceDecoder writes spaces for the character that stands for them, in the first token
// nothing if one was put in front of the text.
type metaspaceDecoder struct {
	replacement string // one character
	prepended   bool
}

func (d metaspaceDecoder) onto(out sink) sink { return &rewriter{out: out, rewrite: d.rewrite} }

func (d metaspaceDecoder) rewrite(i int, _, token string) (string, bool) {
	space := " "
	if i == 0 && d.prepended {
		space = ""
	}
	return strings.ReplaceAll(token, d.replacement, space), true
}

// ctcDecoder drops repeated tokens and the padding token, which separates true repetitions
// (Connectionist Temporal Classification).
type ctcDecoder struct {
	pad, delimiter string
	cleanup        bool
}

func (d ctcDecoder) onto(out sink) sink { return &rewriter{out: out, rewrite: d.rewrite} }

func (d ctcDecoder) rewrite(i int, previous, token string) (string, bool) {
	if i > 0 && token == previous {
		return "", false
	}
	token = strings.ReplaceAll(token, d.pad, "")
	if d.cleanup {
		token = strings.ReplaceAll(cleanUp(token), d.delimiter, " ")
	}
	return token, token != ""
}

// replaceDecoder writes content for each match of a pattern in a token.
type replaceDecoder struct {
	pattern finder
	content string
}

func (d replaceDecoder) onto(out sink) sink {
	if text, ok := d.pattern.(literal); ok && text != "" {
		return &literalReplacer{out: out, old: string(text), new: d.content}
	}
	return &rewriter{out: out, rewrite: d.rewrite}
}

func (d replaceDecoder) rewrite(_ int, _, token string) (string, bool) {
	if token == "" {
		return token, true
	}
	matches, err := d.pattern.find(token)
	if err != nil {
		return token, true // matching took too long; there is nothing better to show
	}
	var b strings.Builder
	at := 0
	for _, m := range matches {
		b.WriteString(token[at:m.start])
		b.WriteString(d.content)
		at = m.end
	}
	b.WriteString(token[at:])
	return b.String(), true
}

// literalReplacer replaces a fixed text in a token that may be growing. It holds back an end that
// more text may complete to a match.
type literalReplacer struct {
	out      sink
	old, new string
	held     string // shorter than old
}

func (r *literalReplacer) write(part string) {
	part = r.held + part
	for {
		before, after, found := strings.Cut(part, r.old)
		if !found {
			break
		}
		r.out.write(before)
		r.out.write(r.new)
		part = after
	}
	cut := max(0, len(part)-len(r.old)+1)
	for !strings.HasPrefix(r.old, part[cut:]) {
		cut++
	}
	r.out.write(part[:cut])
	r.held = part[cut:]
}

func (r *literalReplacer) next() {
	r.out.write(r.held)
	r.held = ""
	r.out.next()
}

func (r *literalReplacer) close() { r.out.close() }

func (r *literalReplacer) fork(end *decoded) sink {
	c := *r
	c.out = r.out.fork(end)
	return &c
}

// stripDecoder cuts up to start characters equal to content off the front of each token, and up to
// stop off its end.
type stripDecoder struct {
	content     string // one character
	start, stop int
}

func (d stripDecoder) onto(out sink) sink { return &stripper{stripDecoder: d, out: out} }

type stripper struct {
	stripDecoder
	out  sink
	cut  int  // characters cut off the front of the current token
	open bool // no more are cut off there
	held int  // characters equal to content that are held back, to be cut if the token ends
}

func (s *stripper) write(part string) {
	for !s.open && part != "" {
		rest, ok := strings.CutPrefix(part, s.content)
		if s.open = !ok || s.cut == s.start; !s.open {
			part = rest
			s.cut++
		}
	}
	text := strings.TrimRight(part, s.content)
	if text != "" {
		s.release(s.held)
		s.out.write(text)
	}
	s.held += (len(part) - len(text)) / len(s.content)
	s.release(s.held - s.stop)
}

// release writes n of the characters held back, if n is above 0.
func (s *stripper) release(n int) {
	if n > 0 {
		s.out.write(strings.Repeat(s.content, n))
		s.held -= n
	}
}

func (s *stripper) next() {
	s.cut, s.open, s.held = 0, false, 0
	s.out.next()
}

func (s *stripper) close() { s.out.close() }

func (s *stripper) fork(end *decoded) sink {
	c := *s
	c.out = s.out.fork(end)
	return &c
}

// bpeDecoder writes a space for the suffix that ends a word, and nothing for that of the last
// token.
type bpeDecoder struct{ suffix string }

func (d bpeDecoder) onto(out sink) sink { return &suffixReplacer{bpeDecoder: d, out: out} }

type suffixReplacer struct {
	bpeDecoder
	growing
	out  sink
	last bool   // a token is complete and not yet ended, as it may be the last one
	held string // that token, from its first suffix on
}

func (s *suffixReplacer) next() {
	s.release(" ")
	token := s.take()
	cut := strings.Index(token, s.suffix)
	if cut < 0 {
		cut = len(token)
	}
	s.out.write(token[:cut])
	s.last, s.held = true, token[cut:]
}

// release ends the token that is held back, now that it is known what to write for its suffix.
func (s *suffixReplacer) release(instead string) {
	if s.last {
		s.out.write(strings.ReplaceAll(s.held, s.suffix, instead))
		s.out.next()
	}
}

func (s *suffixReplacer) close() {
	s.release("")
	s.out.close()
}

func (s *suffixReplacer) fork(end *decoded) sink {
	c := *s
	c.growing, c.out = s.copied(), s.out.fork(end)
	return &c
}

// fuseDecoder makes one token of all.
type fuseDecoder struct{}

func (fuseDecoder) onto(out sink) sink { return &fused{out} }

type fused struct{ out sink }

func (f *fused) write(part string)      { f.out.write(part) }
func (f *fused) next()                  {}
func (f *fused) fork(end *decoded) sink { return &fused{f.out.fork(end)} }

func (f *fused) close() {
	f.out.next()
	f.out.close()
}

// byteLevelDecoder turns byte-level text into the text it stands for, as one token. A token with
// other characters stands for itself.
type byteLevelDecoder struct{}

func (byteLevelDecoder) onto(out sink) sink { return &byteJoiner{out: out} }

type byteJoiner struct {
	growing
	out  sink
	held []byte // a character that lacks its last bytes
}

func (j *byteJoiner) next() {
	token, n := j.take(), len(j.held)
	raw, ok := rawBytes(j.held, token)
	if !ok {
		raw = append(raw[:n], token...)
	}
	cut := len(raw) - unfinished(raw)
	j.out.write(lossy(string(raw[:cut])))
	j.held = append(raw[:0], raw[cut:]...)
}

func (j *byteJoiner) close() {
	j.out.write(lossy(string(j.held)))
	j.out.next()
	j.out.close()
}

func (j *byteJoiner) fork(end *decoded) sink {
	return &byteJoiner{j.copied(), j.out.fork(end), slices.Clone(j.held)}
}

// byteFallbackDecoder turns runs of tokens like <0x61> into the text of those bytes, or into one
// U+FFFD for each byte if the run as a whole is not UTF-8. So a run is held back until it ends.
type byteFallbackDecoder struct{}

func (byteFallbackDecoder) onto(out sink) sink { return &byteRun{out: out} }

type byteRun struct {
	growing
	out  sink
	held []byte
}

func (r *byteRun) next() {
	token := r.take()
	if b, ok := byteToken(token); ok {
		r.held = append(r.held, b)
		return
	}
	r.end()
	r.out.write(token)
	r.out.next()
}

// end hands on the run that is held back.
func (r *byteRun) end() {
	if utf8.Valid(r.held) {
		if len(r.held) > 0 {
			r.out.write(string(r.held))
			r.out.next()
		}
	} else {
		for range r.held {
			r.out.write("\uFFFD")
			r.out.next()
		}
	}
	r.held = r.held[:0]
}

func (r *byteRun) close() {
	r.end()
	r.out.close()
}

func (r *byteRun) fork(end *decoded) sink {
	return &byteRun{r.copied(), r.out.fork(end), slices.Clone(r.held)}
}
