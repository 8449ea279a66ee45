package decode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/tokenize"
)

// toyModel is a language model whose next-id scores depend on the row's prompt
// and ids so far, drawn from a seeded hash: small enough to try every text.
type toyModel struct {
	vocabulary int
	positions  int
	prompt     [][]int64
	rows       [][]int64 // prompt and ids of each row
	steps      int       // rows computed, over all steps
}

func newToy(vocabulary, positions int, prompts ...[]int64) *toyModel {
	m := &toyModel{vocabulary: vocabulary, positions: positions, prompt: prompts}
	for _, p := range prompts {
		m.rows = append(m.rows, slices.Clone(p))
	}
	return m
}

func (m *toyModel) logitsOf(ids []int64) []float32 {
	seed := uint64(17)
	for _, id := range ids {
		seed = seed*1000003 + uint64(id) + 1
	}
	r := rand.New(rand.NewPCG(seed, 5))
	logits := make([]float32, m.vocabulary)
	for i := range logits {
		logits[i] = float32(r.NormFloat64() * 2)
	}
	return logits
}

func (m *toyModel) logits() *tensor.Tensor {
	var all []float32
	for _, r := range m.rows {
		all = append(all, m.logitsOf(r)...)
	}
	m.steps += len(m.rows)
	return tensor.Must(tensor.New([]int{len(m.rows), m.vocabulary}, all))
}

func (m *toyModel) Prefill(context.Context) (*tensor.Tensor, error) { return m.logits(), nil }

func (m *toyModel) Step(_ context.Context, ids []int64) (*tensor.Tensor, error) {
	if len(ids) != len(m.rows) {
		return nil, fmt.Errorf("%d ids for %d rows", len(ids), len(m.rows))
	}
	for i, id := range ids {
		m.rows[i] = append(slices.Clone(m.rows[i]), id)
	}
	return m.logits(), nil
}

func (m *toyModel) Reorder(rows []int) error {
	next := make([][]int64, len(rows))
	for i, r := range rows {
		next[i] = m.rows[r]
	}
	m.rows = next
	return nil
}

func (m *toyModel) Prompts() [][]int64 { return m.prompt }
func (m *toyModel) Room() int          { return m.positions }

// plain are transformers' defaults, with id 0 as the end.
func plain() Options {
	return Options{
		MaxNewTokens: 6, NumBeams: 1, LengthPenalty: 1, EarlyStopping: StopHeuristic,
		Temperature: 1, TopK: 50, TopP: 1, TypicalP: 1, RepetitionPenalty: 1, NumReturnSequences: 1, EOS: []int64{0},
	}
}

// letters is a tokenizer whose ids 0, 1 ... are a, b ...
func letters(t *testing.T) *tokenize.Tokenizer {
	t.Helper()
	vocabulary := map[string]int{}
	for i := range 26 {
		vocabulary[string(rune('a'+i))] = i
	}
	data, err := json.Marshal(map[string]any{
		"model":   map[string]any{"type": "BPE", "vocab": vocabulary, "merges": []string{}},
		"decoder": map[string]any{"type": "Fuse"},
	})
	if err != nil {
		t.Fatal(err)
	}
	tokenizer, err := tokenize.New(data)
	if err != nil {
		t.Fatal(err)
	}
	return tokenizer
}

func runSearch(t *testing.T, lm Sequences, g Options) []Sequence {
	t.Helper()
	if err := g.Check(); err != nil {
		t.Fatal(err)
	}
	s := Search{Options: g, Tokenizer: letters(t)}
	results, err := s.Run(context.Background(), lm)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

// A batch gives each row what it gets alone, whatever ends first.
func TestBatchEqualsSingle(t *testing.T) {
	t.Parallel()
	prompts := [][]int64{{1}, {2, 3}, {}, {4, 4, 4}, {9}, {8, 7}}
	for name, change := range map[string]func(*Options){
		"greedy":   func(*Options) {},
		"beams":    func(g *Options) { g.NumBeams, g.NumReturnSequences = 3, 2 },
		"no early": func(g *Options) { g.NumBeams, g.EarlyStopping, g.LengthPenalty = 2, StopNever, 2 },
		"first":    func(g *Options) { g.NumBeams, g.EarlyStopping, g.LengthPenalty = 4, StopFirst, 0 },
		"sampling": func(g *Options) { g.DoSample, g.Seed, g.NumReturnSequences = true, 3, 4 },
		"drawn":    func(g *Options) { g.DoSample, g.Seed, g.NumBeams = true, 3, 3 },
		"strict":   func(g *Options) { g.NoRepeatNgramSize, g.RepetitionPenalty, g.MinNewTokens = 2, 1.5, 3 },
		"stop":     func(g *Options) { g.StopStrings = []string{"bc", "d"} },
	} {
		g := plain()
		change(&g)
		together := runSearch(t, newToy(10, 100, prompts...), g)
		for i, p := range prompts {
			alone := runSearch(t, newToy(10, 100, p), g)
			for j, a := range alone {
				b := together[i*g.NumReturnSequences+j]
				if !slices.Equal(a.IDs, b.IDs) || a.Score != b.Score {
					t.Errorf("%s: prompt %v alone %v (%v), in the batch %v (%v)", name, p, a.IDs, a.Score, b.IDs, b.Score)
				}
			}
		}
	}
}

// With enough beams for every text, beam search finds the best of all.
func TestBeamsFindTheBest(t *testing.T) {
	t.Parallel()
	const vocabulary, length = 4, 4
	for prompt := range int64(20) {
		for _, penalty := range []float64{0, 1, -1} {
			g := plain()
			g.MaxNewTokens, g.NumBeams, g.LengthPenalty, g.EarlyStopping = length, 150, penalty, StopNever
			lm := newToy(vocabulary, 100, []int64{prompt})
			got := runSearch(t, lm, g)[0]

			best, bestScore := []int64(nil), math.Inf(-1)
			var walk func(ids []int64, total float64)
			walk = func(ids []int64, total float64) {
				logs := LogSoftmax(lm.logitsOf(append([]int64{prompt}, ids...)))
				for id := range vocabulary {
					next, sum := append(slices.Clone(ids), int64(id)), total+float64(logs[id])
					if id == 0 || len(next) == length {
						if score := sum / math.Pow(float64(len(next)), penalty); score > bestScore {
							best, bestScore = next, score
						}
						continue
					}
					walk(next, sum)
				}
			}
			walk(nil, 0)
			if best[len(best)-1] == 0 {
				best = best[:len(best)-1]
			}
			if !slices.Equal(got.IDs, best) || math.Abs(got.Score-bestScore) > 1e-5 {
				t.Errorf("prompt %d, penalty %v: got %v (%v), best is %v (%v)", prompt, penalty, got.IDs, got.Score, best, bestScore)
			}
		}
	}
}

// Rows that have ended are not computed any more.
func TestFinishedRowsLeaveTheBatch(t *testing.T) {
	t.Parallel()
	prompts := [][]int64{{1}, {2}, {3}, {4}, {5}, {6}, {7}}
	lm := newToy(6, 100, prompts...)
	g := plain()
	g.MaxNewTokens = 30
	want := 0
	for _, r := range runSearch(t, lm, g) {
		want += min(len(r.IDs)+1, g.MaxNewTokens) // an end id costs a step as well
	}
	if lm.steps != want {
		t.Errorf("%d rows computed, want %d", lm.steps, want)
	}
}

func TestRoomBoundsTheText(t *testing.T) {
	t.Parallel()
	g := plain()
	g.MaxNewTokens, g.MinNewTokens = 50, 50
	if r := runSearch(t, newToy(6, 7, []int64{1}), g); len(r[0].IDs) != 7 {
		t.Errorf("%d ids in 7 positions", len(r[0].IDs))
	}
}

func TestEmitEndsTheRun(t *testing.T) {
	t.Parallel()
	n := 0
	s := Search{Options: plain(), Emit: func(int, Chosen) bool { n++; return n < 2 }}
	s.MinNewTokens = 6
	results, err := s.Run(context.Background(), newToy(6, 100, []int64{1}))
	if err != nil || n != 2 || len(results[0].IDs) != 2 {
		t.Errorf("%d ids emitted, %d kept, %v", n, len(results[0].IDs), err)
	}
}

// Draws follow the processed distribution: chi-square against it.
func TestSamplingDistribution(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Options){
		"plain":       func(*Options) {},
		"temperature": func(g *Options) { g.Temperature = 0.5 },
		"top-k":       func(g *Options) { g.TopK = 4 },
		"top-p":       func(g *Options) { g.TopP = 0.8 },
		"min-p":       func(g *Options) { g.MinP = 0.1 },
		"typical":     func(g *Options) { g.TypicalP = 0.7 },
	} {
		g := plain()
		g.DoSample, g.MaxNewTokens, g.EOS = true, 1, nil
		change(&g)
		const n = 20000
		g.NumReturnSequences = n
		lm := newToy(12, 100, []int64{3})
		counts := make([]float64, 12)
		for _, r := range runSearch(t, lm, g) {
			counts[r.IDs[0]]++
		}
		scores := lm.logitsOf([]int64{3})
		for _, process := range append(g.processors(), g.samplers()...) {
			process([]int64{3}, 0, scores)
		}
		chi, freedom := 0.0, -1.0
		for id, p := range Softmax(scores) {
			if p == 0 {
				if counts[id] > 0 {
					t.Errorf("%s: id %d was filtered, yet drawn %v times", name, id, counts[id])
				}
				continue
			}
			chi += (counts[id] - n*p) * (counts[id] - n*p) / (n * p)
			freedom++
		}
		// Mean freedom, standard deviation sqrt(2 freedom): five of them is far out.
		if chi > freedom+5*math.Sqrt(2*freedom)+5 {
			t.Errorf("%s: chi-square %.1f at %v degrees of freedom", name, chi, freedom)
		}
	}
}

func TestOptionsCheck(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Options){
		"max_new_tokens":       func(g *Options) { g.MaxNewTokens = 0 },
		"num_beams":            func(g *Options) { g.NumBeams = 0 },
		"temperature":          func(g *Options) { g.Temperature = 0 },
		"top_p":                func(g *Options) { g.TopP = 1.5 },
		"typical_p":            func(g *Options) { g.TypicalP = 0 },
		"early_stopping":       func(g *Options) { g.EarlyStopping = 7 },
		"num_return_sequences": func(g *Options) { g.NumReturnSequences = 2 },
		"stop_strings":         func(g *Options) { g.StopStrings = []string{""} },
		"bad_words_ids":        func(g *Options) { g.BadWordsIDs = [][]int64{{}} },
	} {
		g := plain()
		change(&g)
		if err := g.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Keys of generation_config.json that change texts and are not known are refused by name, where texts are
// written; values that change nothing are not.
func TestRefusedKeys(t *testing.T) {
	t.Parallel()
	for keys, want := range map[string]string{
		`{"guidance_scale": 1.5}`:                                                           "guidance_scale 1.5",
		`{"num_beam_groups": 2, "num_beams": 4}`:                                            "num_beam_groups 2",
		`{"penalty_alpha": 0.6, "top_k": 4}`:                                                "penalty_alpha 0.6",
		`{"encoder_no_repeat_ngram_size": 3}`:                                               "encoder_no_repeat_ngram_size 3",
		`{"force_words_ids": [[1]]}`:                                                        "force_words_ids [[1]]",
		`{"guidance_scale": null, "num_beam_groups": 1}`:                                    "",
		`{"diversity_penalty": 0.0, "encoder_repetition_penalty": 1.0, "penalty_alpha": 0}`: "",
	} {
		bundle, err := models.OpenFS(fstest.MapFS{
			"xpipe.json":             {Data: []byte(`{"format":1,"family":"clip","graphs":{"a":"a.onnx"}}`)},
			"generation_config.json": {Data: []byte(keys)},
		}, models.WithoutVerification())
		if err != nil {
			t.Fatal(err)
		}
		g, err := LoadOptions(bundle)
		if err != nil {
			t.Fatal(err)
		}
		err = g.Check()
		if want == "" && err != nil || want != "" && (!errors.Is(err, graph.ErrUnsupported) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", keys, err)
		}
	}
}

// The filtered scores of transformers' logits processors, exactly. The golden
// file is made by python -m xpipe_export.golden.processors.
func TestProcessorsEqualTransformers(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../testdata/families/logits_processors.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		PromptLength int         `json:"prompt_length"`
		InputIDs     [][]int64   `json:"input_ids"`
		Logits       [][]float32 `json:"logits"`
		Tied         [][]float32 `json:"logits_tied"`
		Cases        []struct {
			Parameters json.RawMessage `json:"parameters"`
			Tied       bool            `json:"tied"`
			Output     [][]any         `json:"output"` // numbers, and "-inf"
		} `json:"cases"`
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	for _, c := range golden.Cases {
		bundle, err := models.OpenFS(fstest.MapFS{
			"xpipe.json":             {Data: []byte(`{"format":1,"family":"clip","graphs":{"a":"a.onnx"}}`)},
			"generation_config.json": {Data: c.Parameters},
		}, models.WithoutVerification())
		if err != nil {
			t.Fatal(err)
		}
		g, err := LoadOptions(bundle)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(c.Parameters), "top_k") {
			g.TopK = 0
		}
		g.DoSample = true
		logits := golden.Logits
		if c.Tied {
			logits = golden.Tied
		}
		for row := range logits {
			scores := slices.Clone(logits[row])
			for _, process := range append(g.processors(), g.samplers()...) {
				process(golden.InputIDs[row], len(golden.InputIDs[row])-golden.PromptLength, scores)
			}
			for i, v := range c.Output[row] {
				want, finite := v.(float64)
				if !finite {
					want = math.Inf(-1)
				}
				if got := float64(scores[i]); got != want && (!finite || !(math.Abs(got-want) <= 1e-6*math.Abs(want))) {
					t.Errorf("%s: row %d, id %d: %v, want %v", c.Parameters, row, i, got, want)
					break
				}
			}
		}
	}
}

// Forced ids: the first behind a prompt of one id, and the end where the length is reached.
func TestForcedIDs(t *testing.T) {
	t.Parallel()
	first, last := int64(7), int64(2)
	g := plain()
	g.MaxNewTokens, g.EOS, g.ForcedBOS, g.ForcedEOS = 5, []int64{last}, &first, &last
	g.BadWordsIDs = [][]int64{{last}, {1, last}} // a forced id is written all the same
	for _, beams := range []int{1, 3} {
		g.NumBeams = beams
		got := runSearch(t, newToy(12, 100, []int64{3}), g)[0].IDs
		if beams > 1 && len(got) > 0 && got[len(got)-1] == last {
			got = got[:len(got)-1]
		}
		if len(got) != 4 || got[0] != first {
			t.Errorf("%d beams: %v, want 4 ids behind %d", beams, got, first)
		}
		got = runSearch(t, newToy(12, 100, []int64{3, 4}), g)[0].IDs
		if got[0] == first {
			t.Errorf("%d beams: forced behind a longer prompt: %v", beams, got)
		}
	}
}
