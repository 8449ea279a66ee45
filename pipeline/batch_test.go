package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"iter"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/vision"
)

// The items of a batch that cannot be used are named, and the others have their results.
func TestBatchNamesItems(t *testing.T) {
	t.Parallel()
	small := Limits{ImagePixels: 90_000, PromptTokens: 20}
	huge := image.NewGray(image.Rect(0, 0, 640, 640))
	good := image.NewGray(image.Rect(0, 0, 40, 40))
	var none *vision.RGB
	pictures := []image.Image{good, huge, good, none, nil}
	failed := func(t *testing.T, what string, err error, want map[int]error) {
		t.Helper()
		items := ItemErrors(err)
		if len(items) != len(want) {
			t.Fatalf("%d failed, want %d: %v", len(items), len(want), err)
		}
		for _, item := range items {
			said := fmt.Sprintf("%s %d: ", what, item.Index+1)
			if what == "" { // alone
				what, said = item.What, ""
			}
			if item.What != what || !errors.Is(item, want[item.Index]) || !errors.Is(err, want[item.Index]) ||
				!strings.HasPrefix(item.Error(), said+want[item.Index].Error()) {
				t.Errorf("%+v: %v", item, item)
			}
		}
	}
	bad := map[int]error{1: ErrLimit, 3: ErrImage, 4: ErrImage}
	ctx := t.Context()

	p := openEmbedded(t, mini.BLIP2, WithLimits(small))
	texts, err := p.CaptionBatch(ctx, pictures)
	failed(t, "picture", err, bad)
	alone, oneErr := p.Caption(ctx, good)
	if oneErr != nil {
		t.Fatal(oneErr)
	}
	for i, text := range texts {
		if (text == nil) != (bad[i] != nil) || text != nil && text.Text != alone.Text {
			t.Errorf("caption %d is %v, alone it is %v", i, text, alone)
		}
	}
	var limit *LimitError
	if !errors.As(err, &limit) || limit.Field != "ImagePixels" ||
		limit.Error() != "limit: pixels of a picture: 409600, the limit is 90000 (Limits.ImagePixels)" {
		t.Errorf("%v", limit)
	}
	// One picture needs no number.
	var item *ItemError
	if _, err := p.Caption(ctx, none); !errors.Is(err, ErrImage) || errors.As(err, &item) {
		t.Error(err)
	}
	_, err = p.Generate(ctx, []Request{{Image: none}})
	failed(t, "", err, map[int]error{0: ErrImage})
	long := strings.Repeat("what is it ", 40)
	answers, err := p.AnswerBatch(ctx, []Request{
		{Image: good, Question: "what?"}, {Image: good, Question: " "}, {Image: good, Question: long}, {Question: "what?"},
	})
	failed(t, "question", err, map[int]error{1: ErrPrompt, 2: ErrLimit, 3: ErrImage})
	if answers[0] == nil || answers[1] != nil || answers[2] != nil {
		t.Errorf("answers %v", answers)
	}
	encoded, err := p.Encode(ctx, media.Picture{Image: good}, media.Picture{Image: none}, nil)
	failed(t, "item", err, map[int]error{1: ErrImage, 2: ErrImage})
	if encoded[0] == nil || encoded[1] != nil {
		t.Errorf("encoded %v", encoded)
	}
	scored, err := p.ChooseBatch(ctx, []Request{{Image: huge, Question: "what?"}, {Encoded: encoded[0], Question: "what?"}}, "red", "blue")
	failed(t, "request", err, map[int]error{0: ErrLimit})
	if scored[0] != nil || len(scored[1]) != 2 {
		t.Errorf("scored %v", scored)
	}
	// What is wrong with the call is no item's fault.
	if _, err := p.CaptionBatch(ctx, pictures, WithNumBeams(0)); !errors.Is(err, ErrOption) || ItemErrors(err) != nil {
		t.Error(err)
	}
	if _, err := p.EmbedImages(ctx, pictures...); !errors.Is(err, ErrUnsupported) || ItemErrors(err) != nil {
		t.Error(err)
	}

	c := openEmbedded(t, mini.CLIP, WithLimits(small))
	rows, err := c.EmbedImages(ctx, pictures...)
	failed(t, "picture", err, bad)
	for i, row := range rows {
		if (row == nil) != (bad[i] != nil) {
			t.Errorf("row %d: %d numbers", i, len(row))
		}
	}
	rows, err = c.EmbedTexts(ctx, "a dog", "", strings.Repeat("x", 100_000), "a cat")
	failed(t, "text", err, map[int]error{1: ErrPrompt, 2: ErrLimit})
	if rows[0] == nil || rows[1] != nil || rows[2] != nil || rows[3] == nil {
		t.Errorf("rows %v", rows)
	}
	_, err = c.Match(ctx, good, "a dog", "")
	failed(t, "text", err, map[int]error{1: ErrPrompt})
}

// Where trying each item on its own comes to an end, what was done stays.
func TestBatchKeepsResults(t *testing.T) {
	t.Parallel()
	work := func(at []int) ([]string, error) {
		switch {
		case len(at) > 1 || at[0] == 1:
			return nil, ErrPrompt
		case at[0] == 3:
			return nil, context.Canceled
		}
		return []string{"done"}, nil
	}
	results, err := inBatch("text", 5, func(i int) error { return nil }, work)
	if !slices.Equal(results, []string{"done", "", "done", "", ""}) || !errors.Is(err, context.Canceled) {
		t.Errorf("%q, %v", results, err)
	}
	var failed []int
	for _, item := range ItemErrors(err) {
		failed = append(failed, item.Index)
	}
	if !slices.Equal(failed, []int{1, 3, 4}) {
		t.Errorf("failed %v", failed)
	}
}

// Nothing to do gives nothing.
func TestNothingToDo(t *testing.T) {
	t.Parallel()
	p, c := sharedEmbedded(t, mini.BLIP2, goEngine), sharedEmbedded(t, mini.CLIP, goEngine)
	ctx := t.Context()
	for name, call := range map[string]func() (int, error){
		"CaptionBatch": func() (int, error) { r, err := p.CaptionBatch(ctx, nil); return len(r), err },
		"AnswerBatch":  func() (int, error) { r, err := p.AnswerBatch(ctx, nil); return len(r), err },
		"Generate":     func() (int, error) { r, err := p.Generate(ctx, nil); return len(r), err },
		"ChooseBatch":  func() (int, error) { r, err := p.ChooseBatch(ctx, nil, "a", "b"); return len(r), err },
		"Encode":       func() (int, error) { r, err := p.Encode(ctx); return len(r), err },
		"EmbedImages":  func() (int, error) { r, err := c.EmbedImages(ctx); return len(r), err },
		"EmbedTexts":   func() (int, error) { r, err := c.EmbedTexts(ctx); return len(r), err },
		"Match":        func() (int, error) { r, err := c.Match(ctx, blankImage); return len(r), err },
		"Classify":     func() (int, error) { r, err := c.Classify(ctx, blankImage); return len(r), err },
		"CaptionAll": func() (int, error) {
			for range p.CaptionAll(ctx, p.DecodeFiles()) {
				return 1, nil
			}
			return 0, nil
		},
	} {
		if n, err := call(); n != 0 || err != nil {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}

// A Pipeline that failed to open gives errors.
func TestNilPipeline(t *testing.T) {
	t.Parallel()
	var p *Pipeline
	if _, err := p.Caption(t.Context(), blankImage); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// All pictures get their result in order, few are held at once, and the sequence is left early where
// the loop is.
func TestEmbedAll(t *testing.T) {
	t.Parallel()
	p := sharedEmbedded(t, mini.CLIP, goEngine)
	damaged := errors.New("a damaged file")
	taken := 0
	pictures := func(n int) iter.Seq2[image.Image, error] {
		return func(yield func(image.Image, error) bool) {
			for i := range n {
				taken = i + 1
				img := image.Image(image.NewGray(image.Rect(0, 0, 10+i, 10)))
				var err error
				switch i {
				case 1:
					img, err = nil, damaged
				case 3:
					img = (*vision.RGB)(nil)
				}
				if !yield(img, err) {
					return
				}
			}
		}
	}
	want := map[int]error{1: damaged, 3: ErrImage}
	n := 0
	for row, err := range p.EmbedAll(t.Context(), pictures(11)) {
		var item *ItemError
		if want[n] != nil {
			if row != nil || !errors.Is(err, want[n]) || !errors.As(err, &item) || item.Index != n {
				t.Errorf("picture %d: %v", n, err)
			}
		} else if err != nil || len(row) == 0 {
			t.Errorf("picture %d: %v", n, err)
		}
		n++
	}
	if n != 11 {
		t.Errorf("%d results", n)
	}
	for range p.EmbedAll(t.Context(), pictures(1000)) {
		break
	}
	if taken > allPictures {
		t.Errorf("%d pictures were taken for the first result", taken)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n = 0
	for _, err := range p.EmbedAll(ctx, pictures(1000)) {
		if n++; n == 5 {
			cancel()
		}
		if n > allPictures && !errors.Is(err, context.Canceled) {
			t.Errorf("after the cancel: %v", err)
		}
	}
	if n != allPictures+1 {
		t.Errorf("%d results, the error included", n)
	}
}

func TestCosineAndTopK(t *testing.T) {
	t.Parallel()
	if c := Cosine([]float32{3, 0}, []float32{1, 1}); math.Abs(c-math.Sqrt2/2) > 1e-12 {
		t.Error(c)
	}
	for _, b := range [][]float32{{1}, {0, 0}, nil} {
		if c := Cosine([]float32{1, 2}, b); !math.IsNaN(c) {
			t.Errorf("%v: %v", b, c)
		}
	}
	rows := [][]float32{{0, 1}, {1, 0}, {1, 1}, {0, 0}, {-1, 0}, {2, 0}, {1}}
	for k, want := range [][]int{{}, {1}, {1, 5}, {1, 5, 2}, {1, 5, 2, 0}, {1, 5, 2, 0, 4}, {1, 5, 2, 0, 4}} {
		got := []int{}
		for _, h := range TopK([]float32{1, 0}, rows, k) {
			got = append(got, h.Index)
		}
		if !slices.Equal(got, want) {
			t.Errorf("the first %d: %v, want %v", k, got, want)
		}
	}
	if TopK(nil, rows, 3) != nil || TopK([]float32{1, 0}, rows, -1) != nil {
		t.Error("hits of nothing")
	}
}

// A text in JSON has the command's keys, durations in seconds, and can be read again.
func TestTextJSON(t *testing.T) {
	t.Parallel()
	text := &Text{
		Text: "red apple", LogProb: -3, Score: -1, Tokens: []Token{{ID: 421, Text: " red", LogProb: -3}}, IDs: []int64{421, 2},
		Confidence: &Confidence{Probability: 0.25, Unsure: true},
		Stats:      Stats{Preprocess: 5e8, Encode: 1e9, FirstToken: 25e7, Generate: 5e8, Tokens: 1},
	}
	const want = `{"text":"red apple","tokens":1,"logprob":-3,"seconds":2,` +
		`"token_logprobs":[{"id":421,"text":" red","logprob":-3}],"ids":[421,2],"confidence":0.25,"unsure":true}`
	for _, v := range []any{text, *text} {
		if got, err := json.Marshal(v); err != nil || string(got) != want {
			t.Errorf("%v\n%s\n%s", err, got, want)
		}
	}
	var again Text
	if err := json.Unmarshal([]byte(want), &again); err != nil || again.String() != "red apple" || *again.Confidence != *text.Confidence || len(again.Tokens) != 1 || !slices.Equal(again.IDs, text.IDs) {
		t.Errorf("%+v, %v", again, err)
	}
	var stats Stats
	got, err := json.Marshal(text.Stats)
	if err != nil || string(got) != `{"preprocess_seconds":0.5,"encode_seconds":1,"first_token_seconds":0.25,"generate_seconds":0.5,"tokens":1}` {
		t.Errorf("%s, %v", got, err)
	}
	if err := json.Unmarshal(got, &stats); err != nil || stats != text.Stats {
		t.Errorf("%+v, %v", stats, err)
	}
	if s := fmt.Sprint(text) + (*Text)(nil).String(); s != "red apple" {
		t.Error(s)
	}
	if got, err := json.Marshal(&Text{}); err != nil || !strings.Contains(string(got), `"token_logprobs":[],"ids":[]`) {
		t.Errorf("%s, %v", got, err)
	}
}

// Captions carry their confidence, answers have none.
func TestConfidenceInside(t *testing.T) {
	t.Parallel()
	p := sharedEmbedded(t, mini.BLIP2, goEngine)
	caption, err := p.CaptionFile(t.Context(), "../testdata/images/apple.png")
	if err != nil {
		t.Fatal(err)
	}
	if c := caption.Confidence; c == nil || *c != *p.CaptionConfidence(caption.Tokens) {
		t.Errorf("%+v", c)
	}
	answer, err := p.Answer(t.Context(), blankImage, "what color is it?")
	if err != nil || answer.Confidence != nil {
		t.Errorf("%+v, %v", answer, err)
	}
	if _, err := p.CaptionFile(t.Context(), "nowhere.png"); !errors.Is(err, ErrImage) || !strings.Contains(err.Error(), "nowhere.png") {
		t.Error(err)
	}
	if got := p.Tasks(); !slices.Equal(got, []string{"caption", "answer"}) {
		t.Errorf("tasks %v", got)
	}
}
