package family

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/attend"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// Aligner is a Hearer whose cross-attention tells when each token is said.
type Aligner interface {
	Hearer
	// Align has the decoder read a prompt and a text behind it, as it hears the one window that begin is
	// for. prompt are the tokens before the text, such as those of the language and the task. Errors wrap
	// graph.ErrUnsupported where the decoder does not show its cross-attention, graph.ErrPrompt where the
	// text is longer than the decoder has positions for.
	Align(ctx context.Context, begin Begin, prompt, text []int64, o AlignOptions) (*Alignment, error)
}

// AlignOptions say what an Alignment needs.
type AlignOptions struct {
	// MapsAlone leaves Probabilities out, for which the decoder computes the logits of every token. One whose
	// graph gives those of the last position alone would read token by token.
	MapsAlone bool
}

// Alignment is what a decoder attends to in a sound while it reads a text.
type Alignment struct {
	// Heads are the probabilities [Tokens,States] of the attention heads that follow the sound. The
	// rows are those of the prompt's tokens, of the text's, and of the end.
	Heads          [][]float32
	Tokens, States int
	// Probabilities are the text's tokens', among the tokens of texts alone: one each. What the
	// decoder gives to times, tasks and the end counts nothing.
	Probabilities []float64
}

// alignment is what Align needs to know of a model.
type alignment struct {
	model  string            // its name
	graphs map[string]string // its files, by role
	heads  [][2]int          // those that follow the sound: layer and head
}

// newAlignment takes the heads that generation_config.json names; none of them where it names one of a
// layer that the decoder lacks: some distilled models have their teacher's (kotoba-tech/kotoba-whisper,
// early distil-whisper).
func newAlignment(b *models.Bundle, heads [][2]int) (alignment, error) {
	var config struct {
		Layers *int `json:"decoder_layers"`
	}
	if err := b.JSON("config.json", &config); ignoreMissing(err) != nil {
		return alignment{}, err
	}
	lacking := func(head [2]int) bool { return config.Layers != nil && head[0] >= *config.Layers }
	if slices.ContainsFunc(heads, lacking) {
		heads = nil
	}
	return alignment{b.Name, b.Graphs, heads}, nil
}

// Align reads the text in one pass, with what generation_config.json calls alignment_heads or, where it
// names none, the heads of the later half of the layers. Source: find_alignment of timing.py,
// openai-whisper 20250625.
func (m *whisper) Align(
	ctx context.Context, begin Begin, prompt, text []int64, o AlignOptions,
) (*Alignment, error) {
	s, err := m.Speech()
	if err != nil {
		return nil, err
	}
	w := attend.NewWatch(m.align.graphs, graph.Decoder, graph.DecoderFirst, graph.DecoderNext)
	w.Wants = func(kind attend.Kind, layer int) bool {
		named := func(head [2]int) bool { return head[0] == layer }
		return kind == attend.CrossAttention && (len(m.align.heads) == 0 || slices.ContainsFunc(m.align.heads, named))
	}
	ctx = attend.Under(ctx, w)
	a := &Alignment{Tokens: len(prompt) + len(text) + 1}
	one := func(ids []int64) (decode.Sequences, error) { return begin(ctx, [][]int64{ids}) }
	read := append(slices.Clip(text), s.End)
	if o.MapsAlone {
		var sequences decode.Sequences
		if sequences, err = one(slices.Concat(prompt, read)); err == nil {
			_, err = sequences.Prefill(ctx)
		}
	} else {
		err = decode.Follow(ctx, one, prompt, read, func(i int, logits []float32) error {
			if i >= len(text) {
				return nil
			}
			p, err := s.probability(logits, text[i])
			a.Probabilities = append(a.Probabilities, p)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	if err := w.Check(m.align.model); err != nil {
		return nil, err
	}
	return a, a.setHeads(w, m.align.heads)
}

// IsText reports whether a token is part of a text: not a time, a task or the like.
func (s *Speech) IsText(id int64) bool { return id >= 0 && id < s.Start && id != s.End }

// probability returns a token's probability among the tokens of texts.
func (s *Speech) probability(logits []float32, id int64) (float64, error) {
	if !s.IsText(id) || id >= int64(len(logits)) {
		return 0, fmt.Errorf("%w: the id %d of a text is none of the decoder's %d", graph.ErrBundle, id, len(logits))
	}
	texts := slices.Clone(logits[:min(s.Start, int64(len(logits)))])
	if s.End >= 0 && s.End < int64(len(texts)) {
		texts[s.End] = float32(math.Inf(-1))
	}
	return decode.Probability(texts, id), nil
}

// setHeads takes the heads that are named, pairs of layer and head, from the runs that w recorded; those
// of the later half of the layers where none is.
func (a *Alignment) setHeads(w *attend.Watch, named [][2]int) error {
	var runs []attend.Run
	for _, role := range []string{graph.Decoder, graph.DecoderFirst, graph.DecoderNext} {
		runs = append(runs, w.Runs(role)...)
	}
	for _, run := range runs {
		if rows := len(a.Heads); rows > 0 && len(a.Heads[0]) == a.Tokens*a.States {
			break
		}
		if err := a.addRun(&run, named); err != nil {
			return err
		}
	}
	if len(a.Heads) == 0 || len(a.Heads[0]) != a.Tokens*a.States {
		return fmt.Errorf("%w: the decoder shows its cross-attention for other tokens than it read",
			graph.ErrUnsupported)
	}
	return nil
}

// addRun adds the rows of one run of the decoder.
func (a *Alignment) addRun(run *attend.Run, named [][2]int) error {
	layers := run.Kind(attend.CrossAttention)
	if len(named) == 0 {
		for layer := len(layers) / 2; layer < len(layers); layer++ {
			for head := range layers[layer].Dim(1) {
				named = append(named, [2]int{layer, head})
			}
		}
	}
	if a.Heads == nil {
		a.Heads = make([][]float32, len(named))
	}
	for i, n := range named {
		at := slices.IndexFunc(layers, func(l attend.Layer) bool { return l.Number() == n[0] })
		if at < 0 || n[1] < 0 || n[1] >= layers[at].Dim(1) || layers[at].Dim(0) != 1 {
			return fmt.Errorf("%w: alignment_heads of generation_config.json has layer %d, head %d, and the "+
				"decoder does not show it", graph.ErrBundle, n[0], n[1])
		}
		layer := layers[at]
		size := layer.Dim(2) * layer.Dim(3)
		rows := tensor.Data[float32](layer.Tensor)[n[1]*size:][:size]
		if err := graph.CheckNumbers("the decoder's cross-attention", rows); err != nil {
			return err
		}
		if a.States == 0 {
			a.States = layer.Dim(3)
		}
		if have := len(a.Heads[i]) / max(1, a.States); layer.Dim(2) > have {
			a.Heads[i] = nil // a decoder without a cache reads all tokens again
		}
		if layer.Dim(3) != a.States || i >= len(a.Heads) {
			return errors.Join(graph.ErrBundle, errors.New("the decoder's cross-attention changes its size"))
		}
		a.Heads[i] = append(a.Heads[i], rows...)
	}
	return nil
}
