package tokenize

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// streamed joins what a stream gives out for ids.
func streamed(tk *Tokenizer, ids []int64, skip bool) string {
	s := tk.NewStream(skip)
	var text strings.Builder
	for _, id := range ids {
		text.WriteString(s.Push(id))
	}
	text.WriteString(s.Flush())
	return text.String()
}

// forked is streamed by way of a clone, made half-way, whose original goes on with other ids.
func forked(tk *Tokenizer, ids []int64) string {
	s := tk.NewStream(false)
	half := len(ids) / 2
	for _, id := range ids[:half] {
		s.Push(id)
	}
	c := s.Clone()
	for i := range ids {
		s.Push(ids[len(ids)-1-i])
		if half+i < len(ids) {
			c.Push(ids[half+i])
		}
	}
	s.Flush()
	c.Flush()
	return c.Text()
}

// whole is the plain way to stream: decode all ids each time, leave out U+FFFD at the end, and give
// out what is new. It is not exact where a later token changes an earlier one's text.
type whole struct {
	tk   *Tokenizer
	ids  []int64
	done int
}

func (w *whole) push(id int64) string {
	w.ids = append(w.ids, id)
	text := strings.TrimRight(w.tk.Decode(w.ids, true), "\uFFFD")
	if len(text) <= w.done {
		return ""
	}
	piece := text[w.done:]
	w.done = len(text)
	return piece
}

// TestStreamPieces holds the pieces to those of decoding everything each time: they are the same,
// token by token, but for runs of byte tokens, which a Stream gives out when they end.
func TestStreamPieces(t *testing.T) {
	t.Parallel()
	texts := []string{
		"two cats on a couch.", "naïve café 👨‍👩‍👧 中文 ok", "e\u0301 \u200d x", "", "don't  stop , it 's ' fine '",
		" leading and trailing ", "\xff\xfe broken \xe4\xb8", "a\n\n\tb", "ﾊﾟ 😀😀 𝔘𝔫𝔦", "do not, I 've n't!?",
	}
	for _, name := range families {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tk := openFamily(t, name)
			r := rand.New(rand.NewPCG(5, 6))
			var sequences [][]int64
			for _, text := range texts {
				e, err := tk.Encode(text, WithPadding(nil))
				if err != nil {
					t.Fatal(err)
				}
				sequences = append(sequences, e.IDs)
			}
			for range 200 {
				ids := make([]int64, r.IntN(24))
				for i := range ids {
					n := 300 // byte tokens and single characters stand in front
					if r.IntN(2) == 0 {
						n = tk.VocabSize() + 3
					}
					ids[i] = r.Int64N(int64(n))
				}
				sequences = append(sequences, ids)
			}
			same := 0
			for _, ids := range sequences {
				inRun := func(i int) bool { // id i is a byte token, or follows one
					for ; i >= 0; i-- {
						token, ok := tk.IDToToken(ids[i])
						if ok && !tk.added.special[token] {
							_, isByte := byteToken(token)
							return isByte
						}
					}
					return false
				}
				s, w := tk.NewStream(true), &whole{tk: tk}
				for i, id := range ids {
					got, want := s.Push(id), w.push(id)
					if strings.HasSuffix(got, "\uFFFD") {
						t.Fatalf("%v: piece %d ends in half a character: %q", ids, i, got)
					}
					if name == "llama2" && (inRun(i) || inRun(i-1)) {
						w.done = len(s.Text())
						continue
					}
					if got != want {
						t.Fatalf("%v: piece %d is %q, want %q", ids, i, got, want)
					}
					same++
				}
				before := s.Text()
				if all := before + s.Flush(); all != tk.Decode(ids, true) || all != s.Text() {
					t.Fatalf("%v: %q in all, want %q", ids, all, tk.Decode(ids, true))
				}
				if s.Push(1) != "" || s.Flush() != "" {
					t.Fatal("a stream goes on after its end")
				}
			}
			t.Logf("%d pieces compared", same)
		})
	}
}

// counted counts what is written to a decoder.
type counted struct {
	decoder
	tokens *int
}

func (c counted) onto(out sink) sink { return &countedSink{c.decoder.onto(out), c.tokens} }

type countedSink struct {
	sink
	tokens *int
}

func (c *countedSink) write(part string) {
	*c.tokens++
	c.sink.write(part)
}

// TestStreamCost counts the ids that are decoded: each once, however long the stream is.
func TestStreamCost(t *testing.T) {
	t.Parallel()
	for _, name := range families {
		for _, n := range []int{64, 4096} {
			whole, tokens := openFamily(t, name), 0
			tk := &Tokenizer{model: whole.model, added: whole.added, decoder: counted{whole.decoder, &tokens}}
			s := tk.NewStream(false)
			for i := range n {
				s.Push(int64(3 + i%250))
			}
			s.Flush()
			if tokens > n {
				t.Errorf("%s: a stream of %d ids decodes %d", name, n, tokens)
			}
		}
	}
}

// TestStreamHolds lists what must be held back, and when it comes.
func TestStreamHolds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ decoder, tokens, want string }{
		{`{"type":"BPEDecoder","suffix":"</w>"}`, "two</w> c at</w>", "two| c|at|"},
		{`{"type":"BPEDecoder","suffix":"</w>"}`, "a</w>b c", "a| bc|"},
		{`{"type":"WordPiece","prefix":"##","cleanup":true}`, "two cat ##s .", "two| cat|s|.|"},
		{`{"type":"Metaspace","replacement":"▁","prepend_scheme":"always"}`, "▁two ▁cat s", "two| cat|s|"},
		{`{"type":"ByteFallback"}`, "a <0xE4> <0xB8> <0xAD> b", "a||||中b|"},
		{`{"type":"ByteFallback"}`, "a <0xE4> <0xB8> b <0xE4>", "a|||\uFFFD\uFFFDb||\uFFFD"},
		{`{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false}`, "a ä ¸ Ń b ä", "a|||中|b||\uFFFD"},
		{`{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false}`, "a ä b", "a||\uFFFDb|"},
		{`{"type":"CTC","pad_token":"<pad>","word_delimiter_token":"|","cleanup":true}`, "a a <pad> a b |", "a|||a|b| |"},
		{`{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"Strip","content":"_","start":1,"stop":1}]}`,
			"_ _ a _ _ b _", "||_a||_|_b||"},
		{`{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"Replace","pattern":{"String":"aab"},"content":"X"}]}`,
			"a a a b aa c", "||a|X||aac|"},
		{`null`, "two cats", "two| cats|"},
	} {
		tokens := strings.Fields(c.tokens)
		vocab := map[string]int{}
		for _, token := range tokens {
			if _, ok := vocab[token]; !ok {
				vocab[token] = len(vocab)
			}
		}
		written, err := json.Marshal(vocab)
		if err != nil {
			t.Fatal(err)
		}
		tk, err := New(fmt.Appendf(nil, `{"decoder":%s,"model":{"type":"WordLevel","unk_token":"?","vocab":%s}}`, c.decoder, written))
		if err != nil {
			t.Fatal(err)
		}
		s := tk.NewStream(false)
		var ids []int64
		var got []string
		for _, token := range tokens {
			ids = append(ids, int64(vocab[token]))
			got = append(got, s.Push(int64(vocab[token])))
		}
		got = append(got, s.Flush())
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("%s: %s gives %q, want %q", c.decoder, c.tokens, s, c.want)
		}
		if whole := tk.Decode(ids, false); strings.Join(got, "") != whole {
			t.Errorf("%s: %q, want %q", c.decoder, got, whole)
		}
	}
}
