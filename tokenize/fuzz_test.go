package tokenize

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// miniature returns a tokenizer.json that has something of everything, small enough to mutate.
func miniature(model string) string {
	models := map[string]string{
		"bpe": `{"type":"BPE","unk_token":"<unk>","fuse_unk":true,"byte_fallback":true,"ignore_merges":false,"continuing_subword_prefix":null,"end_of_word_suffix":null,"dropout":null,
			"vocab":{"<unk>":0,"a":1,"b":2,"ab":3,"▁":4,"▁a":5,"<0xC3>":6,"<0xA9>":7},"merges":["a b",["▁","a"]]}`,
		"byte": `{"type":"BPE","vocab":` + byteVocab() + `,"merges":["a b","Ġ a"]}`,
		"wordpiece": `{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":10,
			"vocab":{"[UNK]":0,"a":1,"##b":2,"ab":3,"é":4}}`,
		"unigram": `{"type":"Unigram","unk_id":0,"byte_fallback":true,"vocab":[["<unk>",0.0],["▁",-2.5],["a",-1.25],["ab",-1.5e0],["▁a",-3]]}`,
		"word":    `{"type":"WordLevel","unk_token":"?","vocab":{"?":0,"a":1}}`,
	}
	pre := `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"(?i:'s)|\\p{L}+(?=\\s)|[^a-c&&\\w]{1,3}?|\\s+(?!\\S)"},"behavior":"Isolated","invert":false},
		{"type":"Digits","individual_digits":true},{"type":"Punctuation","behavior":"Contiguous"},{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":true}]}`
	if model == "byte" {
		pre = `{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true}`
	}
	merges := models[model]
	if model == "bpe" { // merges are all of one kind
		merges = strings.Replace(merges, `"a b",["▁","a"]`, `["a","b"],["▁","a"]`, 1)
	}
	return `{"version":"1.0","truncation":{"direction":"Right","max_length":9,"strategy":"LongestFirst","stride":1},
		"padding":{"strategy":"BatchLongest","direction":"Left","pad_to_multiple_of":4,"pad_id":0,"pad_type_id":0,"pad_token":"[PAD]"},
		"added_tokens":[{"id":90,"content":"<s>","single_word":false,"lstrip":true,"rstrip":true,"normalized":false,"special":true},
			{"id":91,"content":"Ab","single_word":true,"lstrip":false,"rstrip":false,"normalized":true,"special":false}],
		"normalizer":{"type":"Sequence","normalizers":[{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true},
			{"type":"NFKC"},{"type":"Replace","pattern":{"String":"x"},"content":"yz"},{"type":"Strip","strip_left":true,"strip_right":false}]},
		"pre_tokenizer":` + pre + `,
		"post_processor":{"type":"Sequence","processors":[{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},{"type":"TemplateProcessing",
			"single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"pair":[{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"<s>","type_id":1}},{"Sequence":{"id":"B","type_id":1}}],
			"special_tokens":{"<s>":{"id":"<s>","ids":[90],"tokens":["<s>"]}}}]},
		"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":1}]},
		"model":` + merges + `}`
}

func byteVocab() string {
	vocab := map[string]int{"ab": 256, "Ġa": 257}
	for b, c := range byteChars {
		vocab[string(c)] = b
	}
	out, _ := json.Marshal(vocab)
	return string(out)
}

var miniatures = []string{"bpe", "byte", "wordpiece", "unigram", "word"}

// use runs everything that may not panic on a tokenizer and a text.
func use(t *testing.T, tk *Tokenizer, text, pair string) {
	for _, opts := range [][]Option{{}, {WithPair(pair)}, {WithoutSpecialTokens(), WithTruncation(nil)}, {WithPair(text), WithTruncation(&Truncation{MaxLength: 4, Stride: 1, Left: true, Strategy: OnlySecond})}} {
		e, err := tk.Encode(text, opts...)
		if err != nil {
			if !errors.Is(err, ErrTokenizer) {
				t.Fatalf("error %v does not wrap ErrTokenizer", err)
			}
			continue
		}
		n := e.Len()
		if len(e.TypeIDs) != n || len(e.AttentionMask) != n || len(e.SpecialMask) != n || len(e.Tokens) != n || len(e.Offsets) != n || len(e.Words) != n {
			t.Fatalf("slices of different lengths: %+v", e)
		}
		if !utf8.ValidString(tk.Decode(e.IDs, true)) {
			t.Fatalf("%q decodes to invalid UTF-8", text)
		}
		whole := tk.Decode(e.IDs, false)
		if got := streamed(tk, e.IDs, false); got != whole {
			t.Fatalf("%v streams as %q, decodes to %q", e.IDs, got, whole)
		}
		if got := forked(tk, e.IDs); got != whole {
			t.Fatalf("%v streams as %q after a fork, decodes to %q", e.IDs, got, whole)
		}
	}
}

// FuzzNew loads mutated files: each is refused with an error or works without a panic.
func FuzzNew(f *testing.F) {
	for _, m := range miniatures {
		f.Add([]byte(miniature(m)), "Abab é\u0301 <s> 12!x", "\xff▁ a")
	}
	f.Add([]byte(`{"model":{"type":"Unigram","vocab":[]}}`), "a", "")
	f.Add([]byte(`{"normalizer":{"type":"Precompiled","precompiled_charsmap":"AAQAAAAEAAAA"},"model":{"type":"WordLevel","unk_token":"","vocab":{"":0}}}`), "a", "")
	f.Fuzz(func(t *testing.T, data []byte, text, pair string) {
		if len(data) > 1<<16 || len(text)+len(pair) > 1<<10 {
			return
		}
		tk, err := New(data)
		if err != nil {
			if !errors.Is(err, ErrTokenizer) {
				t.Fatalf("error %v does not wrap ErrTokenizer", err)
			}
			return
		}
		use(t, tk, text, pair)
	})
}

// FuzzEncode encodes and decodes any bytes. Invalid UTF-8 must give what its lossy decoding gives,
// and ids any caller may think of must decode to something.
func FuzzEncode(f *testing.F) {
	f.Add("Abab é\u0301 <s> 12!x", "\xff▁ a", int64(3))
	f.Add("\xe4\xb8", "a\xc3", int64(-1))
	f.Add("\xf0\x9f\x98\xed\xa0\x80", strings.Repeat("a", 300), int64(1<<40))
	var tokenizers []*Tokenizer
	for _, m := range miniatures {
		tk, err := New([]byte(miniature(m)))
		if err != nil {
			f.Fatal(err)
		}
		tokenizers = append(tokenizers, tk)
	}
	f.Fuzz(func(t *testing.T, text, pair string, id int64) {
		if len(text)+len(pair) > 1<<12 {
			return
		}
		for _, tk := range tokenizers {
			use(t, tk, text, pair)
			ids := []int64{id, 1, id}
			if got, whole := streamed(tk, ids, false), tk.Decode(ids, false); got != whole {
				t.Fatalf("%v streams as %q, decodes to %q", ids, got, whole)
			}
			a, err1 := tk.Encode(text, WithPair(pair))
			b, err2 := tk.Encode(lossy(text), WithPair(lossy(pair)))
			if (err1 == nil) != (err2 == nil) || err1 == nil && !equalEncodings(a, b) {
				t.Fatalf("%q and its lossy decoding differ", text)
			}
		}
	})
}

// FuzzPattern compiles and runs any pattern: it ends, whatever the pattern.
func FuzzPattern(f *testing.F) {
	for _, p := range []string{patternGPT2, patternQwen, patternCLIP, `(a*)*b`, `(?<=a|b)c++(?!d)`, `[a-z&&[^b]]{2,3}?`, `(?i:k)\p{^Lu}`, `((a|b|ab)*?c)+$`} {
		f.Add(p, "aaab 'S  aab ck\n")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 200 || len(text) > 200 || !utf8.ValidString(text) {
			return
		}
		re, err := compileRegex(pattern)
		if err != nil {
			return
		}
		matches, err := re.find(text)
		if err != nil {
			return
		}
		last := 0
		for _, m := range matches {
			if m.start < last || m.end < m.start || m.end > len(text) || !utf8.ValidString(text[m.start:m.end]) {
				t.Fatalf("%q on %q: matches %v", pattern, text, matches)
			}
			last = m.end
		}
	})
}

func equalEncodings(a, b *Encoding) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

// TestConcurrent uses one tokenizer from many goroutines, for the race detector.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	for _, m := range miniatures {
		tk, err := New([]byte(miniature(m)))
		if err != nil {
			t.Fatal(err)
		}
		texts := []string{"ab <s> ab", "é a ▁ b", "aaaa bbbb 中", "Ab x 1 2", ""}
		want := make([]*Encoding, len(texts))
		for i, text := range texts {
			if want[i], err = tk.Encode(text, WithPadding(nil)); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for i := range 200 {
					k := (g + i) % len(texts)
					e, err := tk.Encode(texts[k], WithPadding(nil))
					if err != nil || !equalEncodings(e, want[k]) {
						t.Errorf("%s: %q encodes to %v, %v", m, texts[k], e, err)
						return
					}
					tk.Decode(e.IDs, i%2 == 0)
					if i%20 == 0 {
						if _, err := tk.EncodeBatch(texts); err != nil {
							t.Error(err)
						}
					}
				}
			}()
		}
		wg.Wait()
	}
}
