//go:build unix

package tokenize

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

type benchTexts struct{ Captions, Prose, Long []string }

var loadBenchTexts = sync.OnceValues(func() (benchTexts, error) {
	var texts benchTexts
	data, err := os.ReadFile(benchTextsFile)
	if err == nil {
		err = json.Unmarshal(data, &texts)
	}
	return texts, err
})

var benchTextsFile string

// benchInput returns the texts of bench.py, made where they are missing.
func benchInput(b testing.TB) benchTexts {
	dir := root(b)
	benchTextsFile = filepath.Join(dir, "build", "tokenize", "bench.json")
	if _, err := os.Stat(benchTextsFile); err != nil {
		runPython(b, filepath.Join(dir, "testdata", "tokenize", "bench.py"), "texts", benchTextsFile)
	}
	texts, err := loadBenchTexts()
	if err != nil {
		b.Fatal(err)
	}
	return texts
}

type referenceSpeed struct {
	Captions, Prose float64   // tokens a second
	Long            []float64 // seconds for each text
}

// reference runs bench.py for a tokenizer, now, so that both sides see the same machine.
func reference(b testing.TB, file string) referenceSpeed {
	cmd := exec.Command(python(b), filepath.Join(root(b), "testdata", "tokenize", "bench.py"), "run", benchTextsFile, file)
	out, err := cmd.Output()
	if err != nil {
		b.Fatal(err)
	}
	var r referenceSpeed
	if err := json.Unmarshal(out, &r); err != nil {
		b.Fatal(err)
	}
	return r
}

// BenchmarkEncode measures encoding on one thread with the reference beside it:
//
//	go test -run '^$' -bench Encode -cpu 1 ./tokenize
//
// x-ref is the ratio of tokens a second to the reference's, measured just before.
func BenchmarkEncode(b *testing.B) {
	texts := benchInput(b)
	for _, name := range families {
		file := tokenizerFile(b, name)
		tk, err := Open(file)
		if err != nil {
			b.Fatal(err)
		}
		var ref *referenceSpeed
		for _, kind := range []string{"captions", "prose"} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				if ref == nil {
					r := reference(b, file)
					ref = &r
				}
				list, speed := texts.Captions, ref.Captions
				if kind == "prose" {
					list, speed = texts.Prose, ref.Prose
				}
				benchEncode(b, tk, list, speed)
			})
		}
	}
}

func benchEncode(b *testing.B, tk *Tokenizer, list []string, speed float64) {
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
	b.ReportMetric(speed, "ref-tokens/s")
	b.ReportMetric(perSecond/speed, "x-ref")
}

// BenchmarkLength measures one text of growing length: time a character must stay the same.
func BenchmarkLength(b *testing.B) {
	texts := benchInput(b)
	for _, name := range []string{"bert", "clip", "gpt2", "llama2", "t5"} {
		file := tokenizerFile(b, name)
		tk, err := Open(file)
		if err != nil {
			b.Fatal(err)
		}
		var ref *referenceSpeed
		for i, text := range texts.Long {
			b.Run(fmt.Sprintf("%s/%d", name, len(text)), func(b *testing.B) {
				if ref == nil {
					r := reference(b, file)
					ref = &r
				}
				start := processTime(b)
				for b.Loop() {
					if _, err := tk.Encode(text, WithPadding(nil), WithTruncation(nil)); err != nil {
						b.Fatal(err)
					}
				}
				each := (processTime(b) - start) / time.Duration(b.N)
				b.ReportMetric(float64(each.Nanoseconds())/float64(len(text)), "ns/char")
				b.ReportMetric(ref.Long[i]/each.Seconds(), "x-ref")
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
