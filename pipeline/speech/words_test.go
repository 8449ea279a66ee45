package speech

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/tokenize"
)

// wordsGolden is what openai-whisper's functions give; testdata/speech/words.py makes it.
type wordsGolden struct {
	Paths []struct {
		Matrix [][]float64
		Begins []int
	}
	Alignments []struct {
		Heads, Tokens, States, Used int
		Scores                      string // base64, of bytes that stand for sixteenths
		Times                       []float64
	}
	Splits []struct {
		Language string
		IDs      []int64
		Words    []string
		Lengths  []int
	}
	Vocabulary map[string]int64
	Merges     []struct {
		Words, Merged []string
		IDs           [][]int64
	}
	Windows []timedGolden
	Clip    struct {
		timedGolden
		Begins     []int
		Vocabulary map[string]int64
		Eot        int64
	}
}

type timedGolden struct {
	Segments []struct {
		Start, End float64
		IDs        []int64
	}
	Words []struct {
		Text          string
		IDs           []int64
		Start, End, P float64
	}
	Last, Start float64
	Timed       []struct {
		Start, End float64
		Words      [][4]any
	}
}

func loadWords(t *testing.T) (g wordsGolden) {
	t.Helper()
	data, err := os.ReadFile("../../testdata/speech/words.json")
	if err == nil {
		err = json.Unmarshal(data, &g)
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// decoder returns a byte-level tokenizer's decoding of a vocabulary.
func decoder(t *testing.T, vocabulary map[string]int64) func([]int64) string {
	t.Helper()
	file, err := json.Marshal(map[string]any{
		"model": map[string]any{"type": "BPE", "vocab": vocabulary, "merges": []string{}},
		"decoder": map[string]any{
			"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenize.New(file)
	if err != nil {
		t.Fatal(err)
	}
	return func(ids []int64) string { return tok.Decode(ids, false) }
}

func TestPath(t *testing.T) {
	t.Parallel()
	for _, c := range loadWords(t).Paths {
		rows, columns := len(c.Matrix), len(c.Matrix[0])
		if got := path(slices.Concat(c.Matrix...), rows, columns); !slices.Equal(got, c.Begins) {
			t.Errorf("%d by %d: %v, want %v", rows, columns, got, c.Begins)
		}
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for i := range 2000 {
		var n [7]float32
		for k := range n {
			n[k] = float32(rand.IntN(2 + i%9))
		}
		sorted := slices.Sorted(slices.Values(n[:]))
		if got := median(&n); got != sorted[3] {
			t.Fatalf("%v of %v", got, sorted)
		}
	}
}

// Tokens start where find_alignment has them start, whatever the heads attend to behind the sound.
func TestTokenTimes(t *testing.T) {
	t.Parallel()
	for _, c := range loadWords(t).Alignments {
		scores, err := base64.StdEncoding.DecodeString(c.Scores)
		if err != nil {
			t.Fatal(err)
		}
		a := &family.Alignment{Tokens: c.Tokens, States: c.States, Probabilities: make([]float64, c.Tokens-3)}
		for head := range slices.Chunk(scores, c.Tokens*c.States) {
			var maps []float32
			for row := range slices.Chunk(head, c.States) {
				maps = append(maps, softmax(row)...)
			}
			a.Heads = append(a.Heads, maps)
		}
		if got := tokenTimes(a, len(a.Probabilities), c.Used); !slices.Equal(got, c.Times) {
			t.Errorf("%d tokens over %d states: %v, want %v", c.Tokens, c.Used, got, c.Times)
		}
	}
}

func softmax(sixteenths []byte) []float32 {
	exps, sum := make([]float32, len(sixteenths)), 0.0
	for _, s := range sixteenths {
		sum += math.Exp(float64(s) / 16)
	}
	for i, s := range sixteenths {
		exps[i] = float32(math.Exp(float64(s)/16) / sum)
	}
	return exps
}

// Without sound, and where all heads attend to nothing, times are of the beginning, and nothing fails.
func TestTokenTimesOfNothing(t *testing.T) {
	t.Parallel()
	a := &family.Alignment{
		Tokens: 5, States: 8, Probabilities: make([]float64, 2), Heads: [][]float32{make([]float32, 40)},
	}
	for _, states := range []int{0, 1, 8, 9} {
		if got := tokenTimes(a, len(a.Probabilities), states); len(got) != 3 || got[0] != 0 {
			t.Errorf("%d states: %v", states, got)
		}
	}
}

func TestSplitWords(t *testing.T) {
	t.Parallel()
	g := loadWords(t)
	decode := decoder(t, g.Vocabulary)
	for _, c := range g.Splits {
		var texts []string
		var lengths []int
		for _, w := range splitWords(c.IDs, c.Language, decode) {
			texts, lengths = append(texts, w.text), append(lengths, len(w.ids))
		}
		if !slices.Equal(texts, c.Words) || !slices.Equal(lengths, c.Lengths) {
			t.Errorf("%s %v: %q %v, want %q %v", c.Language, c.IDs, texts, lengths, c.Words, c.Lengths)
		}
	}
}

// A text that breaks off inside a character keeps all of its tokens.
func TestSplitBrokenText(t *testing.T) {
	t.Parallel()
	decode := decoder(t, map[string]int64{"a": 0, "Ġb": 1, "ð": 2, "Ł": 3, "Ļ": 4, "Ĥ": 5})
	for _, ids := range [][]int64{{0, 1, 2}, {0, 1, 2, 3}, {0, 1, 2, 3, 4}, {2, 3, 2, 3, 4, 5, 1}, {3, 3}, nil} {
		for _, language := range []string{"en", "zh"} {
			var all []int64
			for _, w := range splitWords(ids, language, decode) {
				all = append(all, w.ids...)
			}
			if !slices.Equal(all, ids) {
				t.Errorf("%v became %v", ids, all)
			}
		}
	}
}

func TestMergePunctuation(t *testing.T) {
	t.Parallel()
	for _, c := range loadWords(t).Merges {
		words := make([]word, len(c.Words))
		for i, text := range c.Words {
			words[i] = word{text: text, ids: []int64{int64(i)}}
		}
		mergePunctuation(words)
		for i, w := range words {
			if w.text != c.Merged[i] || !slices.Equal(w.ids, c.IDs[i]) {
				t.Errorf("%q: word %d is %q %v, want %q %v", c.Words, i, w.text, w.ids, c.Merged[i], c.IDs[i])
			}
		}
	}
}

// Segments get the words and the times that add_word_timestamps gives them.
func TestWordTimes(t *testing.T) {
	t.Parallel()
	for i, c := range loadWords(t).Windows {
		var words []word
		for _, w := range c.Words {
			words = append(words, word{w.Text, w.IDs, w.Start, w.End, w.P})
		}
		segments, lengths := c.segments(func(id int64) bool { return id < 1000 })
		hand(segments, lengths, words, c.Start, c.Last)
		c.check(t, i, segments)
	}
}

// The words of a clip are cut out of its tokens and lie where transcribe has them.
func TestWordTimesOfClip(t *testing.T) {
	t.Parallel()
	c := loadWords(t).Clip
	segments, lengths := c.segments(func(id int64) bool { return id < c.Eot })
	var text []int64
	for _, s := range segments {
		for _, id := range s.IDs {
			if id < c.Eot {
				text = append(text, id)
			}
		}
	}
	times := make([]float64, len(c.Begins))
	for i, state := range c.Begins {
		times[i] = float64(state) / 50
	}
	words := splitWords(text, "en", decoder(t, c.Vocabulary))
	setTimes(words, times, make([]float64, len(text)))
	hand(segments, lengths, words, 0, 0)
	for _, s := range c.Timed { // which reads no probabilities here
		for i := range s.Words {
			s.Words[i][3] = 0.0
		}
	}
	c.check(t, 0, segments)
}

func (c *timedGolden) segments(isText func(int64) bool) (segments []Segment, lengths []int) {
	for _, s := range c.Segments {
		segments = append(segments, Segment{Start: s.Start, End: s.End, IDs: s.IDs})
		lengths = append(lengths, 0)
		for _, id := range s.IDs {
			if isText(id) {
				lengths[len(lengths)-1]++
			}
		}
	}
	return segments, lengths
}

func (c *timedGolden) check(t *testing.T, number int, segments []Segment) {
	t.Helper()
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }
	for i, want := range c.Timed {
		got := segments[i]
		if !near(got.Start, want.Start) || !near(got.End, want.End) || len(got.Words) != len(want.Words) {
			t.Errorf("window %d, segment %d: %v-%v, %d words; want %v-%v, %d",
				number, i, got.Start, got.End, len(got.Words), want.Start, want.End, len(want.Words))
			continue
		}
		for k, w := range want.Words {
			g := got.Words[k]
			if g.Text != w[0] || !near(g.Start, w[1].(float64)) || !near(g.End, w[2].(float64)) ||
				!near(g.Probability, w[3].(float64)) {
				t.Errorf("window %d, segment %d: %+v, want %v", number, i, g, w)
			}
		}
	}
}
