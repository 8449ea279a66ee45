package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/crossattn/xpipe/internal/sweep"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/grammar"
)

const labelsSchema = `{"type":"object","properties":{
	"labels":{"type":"array","items":{"type":"object","properties":{
		"name":{"type":"string","minLength":1,"maxLength":12},"confidence":{"type":"number"}},
		"required":["name","confidence"],"additionalProperties":false}},
	"kind":{"enum":["photo","drawing"]}},"required":["labels","kind"],"additionalProperties":false}`

// Texts that are held to a schema parse and fit, greedy, sampled and by beams, alone and in common
// batches with texts that are held to nothing, however few tokens they may have.
func TestTextsHeldToSchema(t *testing.T) {
	t.Parallel()
	shape, err := grammar.Schema([]byte(labelsSchema))
	if err != nil {
		t.Fatal(err)
	}
	p := openEmbedded(t, "blip2-mini", WithScheduler(&decode.Scheduler{}), WithLimits(Limits{Concurrent: 32}))
	img := loadImage(t, "../testdata/images/cat.jpg")
	plain, err := p.Caption(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range sweep.Count(t, 8, 24) {
		all.Go(func() {
			if i%4 == 3 {
				text, err := p.Caption(t.Context(), img)
				if err != nil || !slices.Equal(text.IDs, plain.IDs) {
					t.Errorf("%v, %v", text, err)
				}
				return
			}
			r := rand.New(rand.NewPCG(uint64(i), 3))
			opts := []GenerateOption{WithGrammar(shape), WithMaxNewTokens(30 + r.IntN(40))}
			switch i % 4 {
			case 1:
				opts = append(opts, WithSampling(1.5, uint64(i)))
			case 2:
				opts = append(opts, WithNumBeams(3))
			}
			text, err := p.Answer(t.Context(), img, "what is it?", opts...)
			if err != nil {
				t.Error(err)
				return
			}
			if err := fitsLabels(text.Text); err != nil {
				t.Errorf("%q: %v", text.Text, err)
			}
		})
	}
	all.Wait()
	_, err = p.Caption(t.Context(), img, WithGrammar(shape), WithMaxNewTokens(5))
	if !errors.Is(err, ErrOption) {
		t.Errorf("too few tokens: %v", err)
	}
}

// fitsLabels checks a text against labelsSchema.
func fitsLabels(text string) error {
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return err
	}
	labels, ok := v["labels"].([]any)
	if !ok || len(v) != 2 || v["kind"] != "photo" && v["kind"] != "drawing" {
		return fmt.Errorf("keys %v", v)
	}
	for _, l := range labels {
		label, _ := l.(map[string]any)
		name, named := label["name"].(string)
		_, sure := label["confidence"].(float64)
		if n := len([]rune(name)); !named || !sure || len(label) != 2 || n < 1 || n > 12 {
			return fmt.Errorf("label %v", l)
		}
	}
	return nil
}
