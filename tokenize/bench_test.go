//go:build unix

package tokenize

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/crossattn/xpipe/internal/references"
)

// benchTexts are what the benchmarks encode, with the tokenizers that they do it with.
type benchTexts struct {
	Captions, Prose, Long []string

	tokenizers []string // their files
	file       string   // of these texts, for the reference; none where that is not installed
}

// benchInput returns bench.py's texts and the tokenizers of the model families. Where the reference
// is not installed the benchmarks go without: with the embedded models' tokenizers, on the
// repository's own pages.
func benchInput(b *testing.B) *benchTexts {
	texts, err := loadBenchTexts()
	if err != nil {
		b.Fatal(err)
	}
	return texts
}

var loadBenchTexts = sync.OnceValues(func() (*benchTexts, error) {
	dir, err := references.Root()
	if err != nil {
		return nil, err
	}
	interpreter, err := references.Find(hasTokenizers)
	if err != nil {
		return ownTexts(dir)
	}
	folder := filepath.Join(dir, "build", "tokenize")
	texts := &benchTexts{file: filepath.Join(folder, "bench.json")}
	scripts := filepath.Join(dir, "testdata", "tokenize")
	for _, args := range [][]string{
		{filepath.Join(scripts, "prepare.py")},
		{filepath.Join(scripts, "bench.py"), "texts", texts.file},
	} {
		if out, err := exec.Command(interpreter, args...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%v: %w\n%s", args, err, out)
		}
	}
	for _, name := range families {
		texts.tokenizers = append(texts.tokenizers, filepath.Join(folder, name+".json"))
	}
	data, err := os.ReadFile(texts.file)
	if err != nil {
		return nil, err
	}
	return texts, json.Unmarshal(data, texts)
})

// ownTexts cuts the repository's pages into paragraphs and short lines.
func ownTexts(dir string) (*benchTexts, error) {
	texts := new(benchTexts)
	var err error
	texts.tokenizers, err = filepath.Glob(filepath.Join(dir, "models", "mini", "*", "tokenizer.json"))
	if err != nil {
		return nil, err
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		return nil, err
	}
	for _, page := range pages {
		data, err := os.ReadFile(page)
		if err != nil {
			return nil, err
		}
		for paragraph := range strings.SplitSeq(string(data), "\n\n") {
			texts.Prose = append(texts.Prose, strings.Join(strings.Fields(paragraph), " "))
			texts.Captions = append(texts.Captions, strings.FieldsFunc(paragraph, func(r rune) bool {
				return strings.ContainsRune("\n.,;:|()", r)
			})...)
		}
	}
	everything := strings.Join(texts.Prose, " ")
	for n := 1000; n <= 128000; n *= 2 {
		for len(everything) < n {
			everything += everything
		}
		texts.Long = append(texts.Long, strings.ToValidUTF8(everything[:n], ""))
	}
	return texts, nil
}

type referenceSpeed struct {
	Captions, Prose float64   // tokens a second
	Long            []float64 // seconds for each text
}

// reference runs bench.py for a tokenizer, now, so that both sides see the same machine. It is nil
// where the reference is not installed.
func (t *benchTexts) reference(b *testing.B, tokenizer string) *referenceSpeed {
	if t.file == "" {
		return nil
	}
	script := filepath.Join(root(b), "testdata", "tokenize", "bench.py")
	out, err := exec.Command(python(b), script, "run", t.file, tokenizer).Output()
	if err != nil {
		b.Fatal(err)
	}
	r := new(referenceSpeed)
	if err := json.Unmarshal(out, r); err != nil {
		b.Fatal(err)
	}
	return r
}

// benchName is a tokenizer's name: that of its file, or of the folder where it is a model's.
func benchName(file string) string {
	name := strings.TrimSuffix(filepath.Base(file), ".json")
	if name == "tokenizer" {
		name = filepath.Base(filepath.Dir(file))
	}
	return name
}

// BenchmarkEncode measures encoding on one thread with the reference beside it:
//
//	go test -run '^$' -bench Encode -cpu 1 ./tokenize
//
// x-ref is the ratio of tokens a second to the reference's, measured just before; it is left out
// where the reference is not installed (make test-env does that).
func BenchmarkEncode(b *testing.B) {
	texts := benchInput(b)
	for _, file := range texts.tokenizers {
		tk, err := Open(file)
		if err != nil {
			b.Fatal(err)
		}
		reference := sync.OnceValue(func() *referenceSpeed { return texts.reference(b, file) })
		b.Run(benchName(file)+"/captions", func(b *testing.B) {
			perSecond := benchEncode(b, tk, texts.Captions)
			if r := reference(); r != nil {
				b.ReportMetric(perSecond/r.Captions, "x-ref")
			}
		})
		b.Run(benchName(file)+"/prose", func(b *testing.B) {
			perSecond := benchEncode(b, tk, texts.Prose)
			if r := reference(); r != nil {
				b.ReportMetric(perSecond/r.Prose, "x-ref")
			}
		})
	}
}

// benchEncode returns tokens a second.
func benchEncode(b *testing.B, tk *Tokenizer, list []string) float64 {
	b.ReportAllocs()
	tokens, i := 0, 0
	start := processTime(b)
	for b.Loop() {
		e, err := tk.Encode(list[i%len(list)], WithPadding(nil), WithTruncation(nil))
		if err != nil {
			b.Fatal(err)
		}
		tokens += e.Len()
		i++
	}
	perSecond := float64(tokens) / (processTime(b) - start).Seconds()
	b.ReportMetric(perSecond, "tokens/s")
	return perSecond
}

// BenchmarkLength measures one text of growing length: time a character must stay the same.
func BenchmarkLength(b *testing.B) {
	texts := benchInput(b)
	for _, file := range texts.tokenizers {
		tk, err := Open(file)
		if err != nil {
			b.Fatal(err)
		}
		reference := sync.OnceValue(func() *referenceSpeed { return texts.reference(b, file) })
		for i, text := range texts.Long {
			b.Run(fmt.Sprintf("%s/%d", benchName(file), len(text)), func(b *testing.B) {
				start := processTime(b)
				for b.Loop() {
					if _, err := tk.Encode(text, WithPadding(nil), WithTruncation(nil)); err != nil {
						b.Fatal(err)
					}
				}
				each := (processTime(b) - start) / time.Duration(b.N)
				b.ReportMetric(float64(each.Nanoseconds())/float64(len(text)), "ns/char")
				if r := reference(); r != nil {
					b.ReportMetric(r.Long[i]/each.Seconds(), "x-ref")
				}
			})
		}
	}
}

// processTime is the processor time this process has taken, garbage collection included: on a busy
// machine the clock would measure the others.
func processTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
