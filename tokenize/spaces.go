package tokenize

import "strings"

// CleaningSpaces returns a tokenizer whose texts lose the spaces that tokenizing English leaves, as
// transformers' clean_up_tokenization_spaces says: before punctuation and in front of n't, 's and such. It
// shares everything else with t.
func (t *Tokenizer) CleaningSpaces() *Tokenizer {
	clean := t.sharing()
	clean.decoder = spaceCleaner{t.decoder}
	return clean
}

// IsBPE reports whether tokens are merged pairs of characters or bytes, of which texts transformers 5
// keeps all spaces.
func (t *Tokenizer) IsBPE() bool {
	_, ok := t.model.(*bpe)
	return ok
}

// spaceCleaner cleans the text that a decoder makes.
type spaceCleaner struct{ decoder }

func (d spaceCleaner) onto(out sink) sink { return d.decoder.onto(&spaceSink{out: out}) }

// spaceSink is the cleaning as a text grows. It holds back what a later character may still change.
type spaceSink struct {
	out  sink
	held []byte
}

func (s *spaceSink) write(part string) {
	s.held = append(s.held, part...)
	n := len(s.held) - undecided(s.held)
	s.out.write(cleanText(string(s.held[:n])))
	s.held = append(s.held[:0], s.held[n:]...)
}

func (s *spaceSink) next() { s.out.next() }

func (s *spaceSink) close() {
	s.out.write(cleanText(string(s.held)))
	s.held = nil
	s.out.close()
}

func (s *spaceSink) fork(end *decoded) sink {
	return &spaceSink{s.out.fork(end), append([]byte(nil), s.held...)}
}

// cleanText is clean_up_tokenization of transformers 4.57 and 5: the steps run one after the other.
func cleanText(text string) string {
	if !strings.Contains(text, " ") {
		return text
	}
	for _, step := range [...][2]string{
		{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"},
		{" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
	} {
		text = strings.ReplaceAll(text, step[0], step[1])
	}
	return text
}

// beginnings are the ends of a text that the steps may change together with what follows. Those with
// spaces around ' are of what becomes 's or n't by two steps.
var beginnings = map[string]bool{
	" ": true, "  ": true, " '": true, "  '": true, " ' ": true, "  ' ": true, "  ' v": true, "  ' r": true,
	" 'v": true, " 'r": true, " n": true, " n'": true, " n ": true, " n '": true, " n ' ": true,
}

// undecided returns the length of the end of a text that may change: the longest of beginnings, with each
// ' between spaces before it whose second space is its first.
func undecided(text []byte) int {
	for n := min(len(text), 5); n > 0; n-- {
		if !beginnings[string(text[len(text)-n:])] {
			continue
		}
		at := len(text) - n
		for at >= 2 && string(text[at-2:at+1]) == " ' " {
			at -= 2
		}
		return len(text) - at
	}
	return 0
}
