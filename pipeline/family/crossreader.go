package family

import (
	"context"
	"fmt"
	"slices"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/attend"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// crossReader is the base of families whose decoder reads a picture by cross-attention alone: the
// vision encoder's states become its keys and values, and the prompt is text.
type crossReader struct {
	onePicture
	vision  *graph.Graph
	states  string // the name of the vision encoder's output
	decoder *decode.Decoder
	cross   *decode.CrossKV // states -> keys and values; nil where other graphs make them
	start   int64           // the id that the decoder starts from
	// startGiven says that the model names it, and not only its BOS.
	startGiven bool
}

// open opens all but the graph of keys and values. encoder is the role of the encoder.
func (m *crossReader) open(o *graph.Opener, encoder string) error {
	var err error
	if m.vision, err = o.Open(encoder); err != nil {
		return err
	}
	if m.states, err = m.vision.OutputOf(graph.ImageEmbeds, graph.LastStates,
		graph.ImageFeatures); err != nil {
		return err
	}
	if m.decoder, err = decode.Open(o); err != nil {
		return err
	}
	m.start, m.startGiven, err = decode.StartToken(o.Bundle)
	return err
}

// Encode returns the encoder's states [1,N,Dv] of each picture.
func (m *crossReader) Encode(ctx context.Context, prepared media.Prepared) ([]Encoded, error) {
	if prepared.Tensors[flattenedPatches] != nil {
		return m.encodePatches(ctx, prepared)
	}
	states, err := m.vision.RunPrepared(ctx, prepared.Tensors, m.states,
		prepared.Items(), -1, -1)
	return encodeEach(states, err)
}

// Begin starts a sequence from the ids of each prompt's text.
func (m *crossReader) Begin(ctx context.Context, prompts [][]Segment) (decode.Sequences, error) {
	fixed, err := keysOf(prompts, 1)
	if err != nil {
		return nil, err
	}
	if fixed == nil {
		states, lengths, err := padStates(prompts)
		if err != nil {
			return nil, err
		}
		if fixed, err = m.reads(ctx, states, lengths); err != nil {
			return nil, err
		}
	} else {
		columns := prompts[0][0].Embeds.Dim(1)
		fixed[graph.EncoderMask], err = graph.Mask(slices.Repeat([]int{columns}, len(prompts)), columns)
		if err != nil {
			return nil, err
		}
	}
	return m.beginFrom(ctx, fixed, textIDs(prompts))
}

// reads returns the decoder's constants for the encoder's states [B,N,D]: its cross-attention may read
// so many of each row; all where lengths is nil.
func (m *crossReader) reads(
	ctx context.Context, states *tensor.Tensor, lengths []int,
) (map[string]*tensor.Tensor, error) {
	if lengths == nil {
		lengths = slices.Repeat([]int{states.Dim(1)}, states.Dim(0))
	}
	mask, err := graph.Mask(lengths, states.Dim(1))
	if err != nil {
		return nil, err
	}
	if m.cross != nil {
		return m.cross.Run(ctx, map[string]*tensor.Tensor{graph.ImageEmbeds: states}, mask)
	}
	return map[string]*tensor.Tensor{graph.EncoderStates: states, graph.EncoderMask: mask}, nil
}

// beginFrom starts a sequence from each of ids, with constants of as many rows.
func (m *crossReader) beginFrom(
	ctx context.Context, fixed map[string]*tensor.Tensor, ids [][]int64,
) (decode.Sequences, error) {
	embeds, width, err := m.decoder.Embed(ctx, ids...)
	if err != nil {
		return nil, err
	}
	start := decode.Start{Width: width, Fixed: fixed}
	for i := range ids {
		start.Prompts = append(start.Prompts, decode.Prompt{IDs: ids[i], Embeds: embeds[i : i+1]})
	}
	return m.decoder.Begin(start)
}

// StartsAfresh is false: the text goes on from the prompt.
func (m *crossReader) StartsAfresh() bool { return false }

func (m *crossReader) Watched() []string { return []string{graph.Decoder} }

// Attend leads from a token through the decoder's cross-attention to the patches.
func (m *crossReader) Attend(_ context.Context, a *attend.Attention, w *attend.Watch) error {
	_, err := crossTokens(a, w, "tokens over patches")
	return err
}

// crossTokens makes the stage from tokens to the columns of the decoder's cross-attention, and
// returns the number of columns.
func crossTokens(a *attend.Attention, w *attend.Watch, name string) (columns int, err error) {
	runs := w.Runs(graph.Decoder)
	if len(runs) == 0 {
		return 0, fmt.Errorf("%w: the decoder's attention cannot be seen: it is stored as two graphs",
			graph.ErrUnsupported)
	}
	cross := runs[0].Kind(attend.CrossAttention)
	if len(cross) == 0 {
		return 0, fmt.Errorf("%w: the decoder shows no cross-attention", graph.ErrUnsupported)
	}
	columns = cross[0].Dim(3)
	stage, err := attend.StepsOf(name, runs, attend.CrossAttention, len(a.Tokens), 0, columns)
	a.Stages = []attend.Stage{stage}
	return columns, err
}
