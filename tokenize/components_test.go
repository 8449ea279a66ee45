package tokenize

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/crossattn/xpipe/internal/sweep"
)

// drawn is one line of components.py: a tokenizer drawn at random with what the reference makes of
// random texts.
type drawn struct {
	Tokenizer string
	Error     string
	Size      int
	Cases     []drawnCase
	Batch     struct {
		Texts   []string
		Results []drawnEncoding
	}
}

type drawnCase struct {
	Text  string
	Pair  *string
	Bare  bool
	Error string
	drawnEncoding
	IDs2             []int64
	Decoded, Skipped string
	DecodeError      string `json:"decode_error"`
}

type drawnEncoding struct {
	IDs      []int64
	Chars    [][3]int // start and end in characters, and the text they are of
	Tokens   []string
	Types    []int64
	Words    []int
	Special  []int64
	Mask     []int64
	Overflow []drawnEncoding
}

// TestComponents compares tokenizers drawn at random, every component with every option, with the
// reference. XPIPE_TOKENIZE_SEED draws others.
func TestComponents(t *testing.T) {
	t.Parallel()
	seed, count, texts := "1", sweep.Count(t, 50, 300), 30
	if s := os.Getenv("XPIPE_TOKENIZE_SEED"); s != "" {
		seed, count, texts = s, 1000, 40
	}
	dir := root(t)
	scripts := filepath.Join(dir, "testdata", "tokenize")
	h := sha256.New()
	for _, name := range []string{"components.py", "corpus.py"} {
		data, err := os.ReadFile(filepath.Join(scripts, name))
		if err != nil {
			t.Fatal(err)
		}
		h.Write(data)
	}
	path := filepath.Join(dir, "build", "tokenize", "refs", fmt.Sprintf("components-%s-%d-%d-%s.jsonl.gz", seed, count, texts, hex.EncodeToString(h.Sum(nil))[:12]))
	if _, err := os.Stat(path); err != nil {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		runPython(t, filepath.Join(scripts, "components.py"), seed, strconv.Itoa(count), strconv.Itoa(texts), path)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	var stats struct{ tokenizers, rejected, refused, cases, panics, wrong int }
	refusals := map[string]int{}
	for dec := json.NewDecoder(z); dec.More(); {
		var d drawn
		if err := dec.Decode(&d); err != nil {
			t.Fatal(err)
		}
		if stats.tokenizers++; raceEnabled && stats.tokenizers > 30 {
			break
		}
		tk, err := New([]byte(d.Tokenizer))
		if err != nil && !errors.Is(err, ErrTokenizer) {
			t.Fatalf("error %v does not wrap ErrTokenizer", err)
		}
		if d.Error != "" {
			stats.rejected++
			if err == nil && !strings.Contains(d.Error, "Panic") {
				t.Errorf("accepted where the reference says %q: %s", d.Error, brief(d.Tokenizer))
			}
			continue
		}
		if err != nil {
			stats.refused++
			refusals[refusalKind(err)]++
			continue
		}
		if tk.VocabSize() != d.Size {
			t.Errorf("vocabulary of %d tokens, want %d", tk.VocabSize(), d.Size)
		}
		for i := range d.Cases {
			c := &d.Cases[i]
			stats.cases++
			if c.Error != "" {
				stats.panics++
			}
			if diff := c.compare(tk); diff != "" {
				if stats.wrong++; stats.wrong <= 12 {
					t.Errorf("%q pair %q bare %v: %s\n\t%s",
						c.Text, deref(c.Pair), c.Bare, diff, brief(d.Tokenizer))
				}
			}
		}
		if len(d.Batch.Results) > 0 {
			got, err := tk.EncodeBatch(d.Batch.Texts)
			if err != nil {
				t.Errorf("batch: %v", err)
				continue
			}
			for i := range got {
				if diff := d.Batch.Results[i].compare(got[i], d.Batch.Texts[i], ""); diff != "" {
					t.Errorf("batch, text %d %q: %s\n\t%s",
						i, d.Batch.Texts[i], diff, brief(d.Tokenizer))
				}
			}
		}
	}
	t.Logf("%+v; refused here: %v", stats, refusals)
	if stats.refused*20 > stats.tokenizers {
		t.Errorf("%d of %d tokenizers refused", stats.refused, stats.tokenizers)
	}
}

// refusalKind groups refusals for the log.
func refusalKind(err error) string {
	s := err.Error()
	if i := strings.LastIndex(s, ": "); i >= 0 {
		s = s[i+2:]
	}
	return s
}

func deref(s *string) string {
	if s == nil {
		return "<none>"
	}
	return *s
}

// brief is a tokenizer file without its vocabulary.
func brief(doc string) string {
	var m map[string]any
	json.Unmarshal([]byte(doc), &m)
	model := m["model"].(map[string]any)
	delete(model, "vocab")
	delete(model, "merges")
	for _, part := range []string{"normalizer", "pre_tokenizer", "post_processor", "decoder", "padding", "truncation"} {
		if m[part] == nil {
			delete(m, part)
		}
	}
	out, _ := json.Marshal(m)
	s := string(out)
	for {
		i := strings.Index(s, `"precompiled_charsmap":"`)
		if i < 0 {
			return s
		}
		j := strings.Index(s[i+24:], `"`)
		s = s[:i] + "charsmap" + s[i+24+j+1:]
	}
}

func (c *drawnCase) compare(tk *Tokenizer) string {
	var opts []Option
	if c.Pair != nil {
		opts = append(opts, WithPair(*c.Pair))
	}
	if c.Bare {
		opts = append(opts, WithoutSpecialTokens())
	}
	e, err := tk.Encode(c.Text, opts...)
	switch {
	case err != nil && !errors.Is(err, ErrTokenizer):
		return "error " + err.Error()
	case c.Error != "":
		if err == nil && !strings.Contains(c.Error, "Panic") {
			return "encoded where the reference says " + c.Error
		}
	case err != nil:
		return err.Error()
	default:
		pair := ""
		if c.Pair != nil {
			pair = *c.Pair
		}
		if diff := c.drawnEncoding.compare(e, c.Text, pair); diff != "" {
			return diff
		}
	}
	got, skipped := tk.Decode(c.IDs2, false), tk.Decode(c.IDs2, true)
	if s := streamed(tk, c.IDs2, false); s != got {
		return fmt.Sprintf("%v streams as %q, want %q", c.IDs2, s, got)
	}
	if s := forked(tk, c.IDs2); s != got {
		return fmt.Sprintf("%v streams as %q after a fork, want %q", c.IDs2, s, got)
	}
	if c.DecodeError == "" && got != c.Decoded {
		return fmt.Sprintf("%v decodes to %q, want %q", c.IDs2, got, c.Decoded)
	}
	if c.DecodeError == "" && skipped != c.Skipped {
		return fmt.Sprintf("%v decodes without special tokens to %q, want %q", c.IDs2, skipped, c.Skipped)
	}
	return ""
}

func (x *drawnEncoding) compare(e *Encoding, text, pair string) string {
	switch {
	case !slices.Equal(e.IDs, x.IDs):
		return fmt.Sprintf("ids %v, want %v (tokens %q, want %q)", clip(e.IDs), clip(x.IDs), e.Tokens, x.Tokens)
	case !slices.Equal(e.Tokens, x.Tokens):
		return fmt.Sprintf("tokens %q, want %q", e.Tokens, x.Tokens)
	case !slices.Equal(e.TypeIDs, x.Types):
		return fmt.Sprintf("type ids %v, want %v", e.TypeIDs, x.Types)
	case !slices.Equal(e.Words, x.Words):
		return fmt.Sprintf("words %v, want %v", e.Words, x.Words)
	case !slices.Equal(e.SpecialMask, x.Special):
		return fmt.Sprintf("special mask %v, want %v", e.SpecialMask, x.Special)
	case !slices.Equal(e.AttentionMask, x.Mask):
		return fmt.Sprintf("attention mask %v, want %v", e.AttentionMask, x.Mask)
	case len(e.Overflowing) != len(x.Overflow):
		return fmt.Sprintf("%d overflowing parts, want %d", len(e.Overflowing), len(x.Overflow))
	}
	for i, at := range e.Offsets {
		want := [2]int{x.Chars[i][0], x.Chars[i][1]}
		raw := [2]int{at.Start, at.End}
		// Offsets that begin at the end of a text or beyond are bytes in the reference too, unless
		// it moved them later on.
		beyond := (at.Start >= len(text) || at.Start >= len(pair)) && raw == want
		if !beyond && inChars(text, at) != want && inChars(pair, at) != want {
			return fmt.Sprintf("token %d %q at bytes %v, characters %v, want %v", i, e.Tokens[i], at, inChars(text, at), want)
		}
	}
	for i, o := range e.Overflowing {
		if diff := x.Overflow[i].compare(o, text, pair); diff != "" {
			return fmt.Sprintf("overflowing part %d: %s", i, diff)
		}
	}
	return ""
}

func inChars(s string, at Span) [2]int {
	return [2]int{charIndex(s, at.Start), charIndex(s, at.End)}
}

// charIndex is the index of the character that byte i of s belongs to.
func charIndex(s string, i int) int {
	for i < len(s) && !utf8.RuneStart(s[i]) {
		i--
	}
	if i > len(s) { // beyond the text, where some impossible ranges end
		return utf8.RuneCountInString(s) + i - len(s)
	}
	return utf8.RuneCountInString(s[:i])
}
