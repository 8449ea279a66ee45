package tokenize

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/crossattn/xpipe/internal/references"
	"github.com/crossattn/xpipe/internal/sweep"
)

// The tests in this file hold the package to the reference, Hugging Face tokenizers 0.22.2 run by
// Python. Tokenizer files come from testdata/tokenize/prepare.py, texts and expected results from
// reference.py; both are kept in build/tokenize between runs.

const (
	corpusSize = 20500
	sampleSize = 1000 // without the build tag slow: the first texts of the corpus
)

// hasTokenizers is what an interpreter with the reference runs.
const hasTokenizers = "import tokenizers"

// root is the folder of go.mod.
func root(t testing.TB) string {
	dir, err := references.Root()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func python(t testing.TB) string { return references.Python(t, hasTokenizers) }

func runPython(t testing.TB, args ...string) {
	cmd := exec.Command(python(t), args...)
	// Where the reference panics, walking the stack would take longer than all else.
	cmd.Env = append(os.Environ(), "TOKENIZERS_PARALLELISM=false", "RUST_BACKTRACE=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

var prepareOnce sync.Once

// tokenizerFile returns the path of one of prepare.py's files.
func tokenizerFile(t testing.TB, name string) string {
	dir := root(t)
	python(t) // each test that needs it is skipped, not the first alone
	prepareOnce.Do(func() { runPython(t, filepath.Join(dir, "testdata", "tokenize", "prepare.py")) })
	return filepath.Join(dir, "build", "tokenize", name+".json")
}

var (
	openedMu sync.Mutex
	opened   = map[string]*Tokenizer{}
)

// openFamily opens one of prepare.py's files, once for all tests.
func openFamily(t testing.TB, name string) *Tokenizer {
	file := tokenizerFile(t, name)
	openedMu.Lock()
	defer openedMu.Unlock()
	if tk, ok := opened[name]; ok {
		return tk
	}
	tk, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	opened[name] = tk
	return tk
}

// expectation is one record of reference.py's output.
type expectation struct {
	Text, Pair       string
	Decoded, Skipped string
	HasPair, Bare    bool
	IDs              []int64
	Offsets          []int
	Types            []int64
	Words            []int
	Special          []int64
	IDs2             []int64
	Tokens           []string // nil where they were left out
}

// record is the rest of a record while it is read.
type record []byte

func (r *record) bytes(n int) []byte {
	b := (*r)[:n]
	*r = (*r)[n:]
	return b
}

func (r *record) length() int { return int(binary.LittleEndian.Uint32(r.bytes(4))) }

func (r *record) string() string { return string(r.bytes(r.length())) }

// numbers reads a list into the memory of list.
func numbers[T int | int64](r *record, list []T) []T {
	list = list[:0]
	for b := r.bytes(4 * r.length()); len(b) > 0; b = b[4:] {
		list = append(list, T(int32(binary.LittleEndian.Uint32(b))))
	}
	return list
}

// read fills x in, in the order in which reference.py writes. Slices keep their memory.
func (x *expectation) read(r record) {
	x.Text, x.Pair, x.Decoded, x.Skipped = r.string(), r.string(), r.string(), r.string()
	flags := numbers[int](&r, nil)
	x.HasPair, x.Bare = flags[0] == 1, flags[1] == 1
	x.IDs = numbers(&r, x.IDs)
	x.Offsets = numbers(&r, x.Offsets)
	x.Types = numbers(&r, x.Types)
	x.Words = numbers(&r, x.Words)
	x.Special = numbers(&r, x.Special)
	x.IDs2 = numbers(&r, x.IDs2)
	lengths := numbers[int](&r, nil)
	joined := r.string()
	x.Tokens = x.Tokens[:0]
	for _, n := range lengths {
		x.Tokens = append(x.Tokens, joined[:n])
		joined = joined[n:]
	}
	if flags[2] == 0 {
		x.Tokens = nil
	}
}

// expectations runs reference.py for a tokenizer file, or reads what it wrote before: the result's
// name holds a hash of all it follows from. What is yielded holds until yield returns.
func expectations(
	t testing.TB, file, corpus string, count int, yield func(n int, x *expectation) bool,
) {
	scripts := filepath.Join(root(t), "testdata", "tokenize")
	h := sha256.New()
	fmt.Fprintln(h, corpus, count)
	for _, f := range []string{file, filepath.Join(scripts, "reference.py"), filepath.Join(scripts, "corpus.py")} {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		h.Write(data)
	}
	base := filepath.Base(file[:len(file)-len(".json")])
	dir := filepath.Join(root(t), "build", "tokenize", "refs", hex.EncodeToString(h.Sum(nil))[:16])
	path := filepath.Join(dir, base+"."+corpus+".gz")
	if _, err := os.Stat(path); err != nil {
		runPython(t, filepath.Join(scripts, "reference.py"), corpus, strconv.Itoa(count), dir, file)
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
	var x expectation
	var length [4]byte
	var data []byte
	for n := range count {
		if _, err := io.ReadFull(z, length[:]); err != nil {
			t.Fatalf("%s holds %d texts, %d expected: %v", path, n, count, err)
		}
		size := int(binary.LittleEndian.Uint32(length[:]))
		data = slices.Grow(data[:0], size)[:size]
		if _, err := io.ReadFull(z, data); err != nil {
			t.Fatal(err)
		}
		x.read(data)
		if !yield(n, &x) {
			return
		}
	}
	if _, err := io.ReadFull(z, length[:]); err != io.EOF {
		t.Fatalf("%s holds more than %d texts", path, count)
	}
}

// compare returns what differs between the reference and this package for one text, "" where
// nothing does.
func (x *expectation) compare(tk *Tokenizer) string {
	opts := []Option{WithTruncation(nil), WithPadding(nil)}
	if x.HasPair {
		opts = append(opts, WithPair(x.Pair))
	}
	if x.Bare {
		opts = append(opts, WithoutSpecialTokens())
	}
	e, err := tk.Encode(x.Text, opts...)
	if err != nil {
		return err.Error()
	}
	if !slices.Equal(e.IDs, x.IDs) {
		return fmt.Sprintf("ids %s, want %s", clip(e.IDs), clip(x.IDs))
	}
	offsets := make([]int, 0, 2*len(e.Offsets))
	for _, o := range e.Offsets {
		offsets = append(offsets, o.Start, o.End)
	}
	switch {
	case !slices.Equal(offsets, x.Offsets):
		return fmt.Sprintf("offsets %s, want %s", clip(offsets), clip(x.Offsets))
	case x.Tokens != nil && !slices.Equal(e.Tokens, x.Tokens):
		return fmt.Sprintf("tokens %q, want %q", e.Tokens, x.Tokens)
	case !slices.Equal(e.TypeIDs, x.Types):
		return fmt.Sprintf("type ids %s, want %s", clip(e.TypeIDs), clip(x.Types))
	case !slices.Equal(e.Words, x.Words):
		return fmt.Sprintf("words %s, want %s", clip(e.Words), clip(x.Words))
	case !slices.Equal(e.SpecialMask, x.Special):
		return fmt.Sprintf("special mask %s, want %s", clip(e.SpecialMask), clip(x.Special))
	}
	if got := streamed(tk, x.IDs2, false); got != x.Decoded {
		return fmt.Sprintf("%s streams as %q, want %q", clip(x.IDs2), got, x.Decoded)
	}
	if got := tk.Decode(x.IDs2, false); got != x.Decoded {
		return fmt.Sprintf("%s decodes to %q, want %q", clip(x.IDs2), got, x.Decoded)
	}
	if got := tk.Decode(x.IDs2, true); got != x.Skipped {
		return fmt.Sprintf("%s decodes without special tokens to %q, want %q", clip(x.IDs2), got, x.Skipped)
	}
	return ""
}

func clip[T any](s []T) string {
	if len(s) > 60 {
		return fmt.Sprint(s[:60]) + "..."
	}
	return fmt.Sprint(s)
}

func clipText(s string) string {
	if len(s) > 200 {
		return s[:200] + "..."
	}
	return s
}

var families = []string{"bert", "clip", "gpt2", "opt", "llama2", "t5", "smollm2", "qwen3"}

// TestReference compares every tokenizer the model families use with the reference, on a corpus of
// every kind of text.
func TestReference(t *testing.T) {
	t.Parallel()
	count := sweep.Count(t, sampleSize, corpusSize)
	for _, name := range families {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkCorpus(t, name, "main", count)
		})
	}
	// A second corpus, of another shape: XPIPE_TOKENIZE_CORPUS=held-1 go test -run TestReference
	// ./tokenize
	if corpus := os.Getenv("XPIPE_TOKENIZE_CORPUS"); corpus != "" {
		for _, name := range families {
			t.Run(name+"/"+corpus, func(t *testing.T) {
				t.Parallel()
				checkCorpus(t, name, corpus, corpusSize)
			})
		}
	}
}

func checkCorpus(t *testing.T, name, corpus string, count int) {
	file, tk := tokenizerFile(t, name), openFamily(t, name)
	wrong, tokens := 0, 0
	if raceEnabled {
		t.Log("under the race detector: the sample only")
	}
	expectations(t, file, corpus, count, func(n int, x *expectation) bool {
		tokens += len(x.IDs)
		if diff := x.compare(tk); diff != "" {
			if wrong++; wrong <= 5 {
				t.Errorf("text %d %q pair %v bare %v: %s",
					n, clipText(x.Text), x.HasPair, x.Bare, diff)
			}
		}
		return !raceEnabled || n < sampleSize
	})
	t.Logf("%s, corpus %s: %d of %d texts differ (%d tokens)", name, corpus, wrong, count, tokens)
}
