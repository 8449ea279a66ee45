package family

import (
	"context"
	"fmt"
	"strings"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// gemma3nKinds are Gemma 3n, which sees by MobileNetV5 and hears by a conformer: as many rows for each
// picture, and for each sound, however long it is (processing_gemma3n.py, transformers 4.57).
var gemma3nKinds = []imageKind{{
	types: []string{"gemma3n"}, token: "<image_soft_token>", around: "%s", unpacked: true,
	markup: func(token string, e Encoded) string {
		return "\n\n<start_of_image>" + strings.Repeat(token, e.States.Dim(1)) + "<end_of_image>\n\n"
	},
	sounds: &soundKind{
		token: "<audio_soft_token>",
		markup: func(token string, e Encoded) string {
			return "\n\n<start_of_audio>" + strings.Repeat(token, e.States.Dim(1)) + "<end_of_audio>\n\n"
		},
	},
}}

// soundKind says how a member of the family has sounds in its prompts.
type soundKind struct {
	token  string // the text of the token of rows, for folders whose configuration has no id of it
	markup func(token string, e Encoded) string
}

// encoders lists the graphs of which one at least makes a whole model.
func (k *imageKind) encoders() []string {
	if k.sounds == nil {
		return []string{graph.VisionEncoder}
	}
	return []string{graph.VisionEncoder, graph.AudioEncoder}
}

// hearingPart is what hears in a model whose prompts have rows of sounds, too.
type hearingPart struct {
	kind      *soundKind
	graph     *graph.Graph
	output    string
	token     int64  // in whose places features stand
	tokenText string // the token as prompts write it
}

func openHearing(o *graph.Opener, kind *soundKind, texts Texts) (*hearingPart, error) {
	var config struct {
		Token *int64 `json:"audio_token_id"`
	}
	if err := ignoreMissing(o.Bundle.JSON("config.json", &config)); err != nil {
		return nil, err
	}
	h := &hearingPart{kind: kind, tokenText: kind.token}
	var ok bool
	if config.Token != nil {
		h.token = *config.Token
		h.tokenText, ok = texts.IDToToken(h.token)
	} else {
		h.token, ok = texts.TokenToID(kind.token)
	}
	if !ok {
		return nil, fmt.Errorf("%w: tokenizer.json has no token for sounds: config.json's audio_token_id or %q",
			graph.ErrBundle, kind.token)
	}
	var err error
	if h.graph, err = o.Open(graph.AudioEncoder); err != nil {
		return nil, err
	}
	h.output, err = featuresOf(h.graph, graph.AudioFeatures)
	return h, err
}

func (h *hearingPart) places() places {
	return places{"sounds", h.tokenText, h.tokenText, h.kind.markup}
}

// encode returns the features [1,N,D] of each sound, whose frames were prepared: input_features
// [frames,mels], one sound behind another. Sounds run one by one, for padding would change them.
func (h *hearingPart) encode(ctx context.Context, prepared media.Prepared) ([]Encoded, error) {
	encoded := make([]Encoded, prepared.Items())
	for i := range encoded {
		one, err := prepared.Item(i)
		if err != nil {
			return nil, err
		}
		in := make(map[string]*tensor.Tensor, len(one.Tensors))
		for name, t := range one.Tensors {
			if in[name], err = t.Reshape(append([]int{1}, t.Shape()...)...); err != nil {
				return nil, err
			}
		}
		states, err := h.graph.RunPrepared(ctx, in, h.output)
		if err != nil {
			return nil, err
		}
		if encoded[i].States, err = rowsOf(h.output, states); err != nil {
			return nil, err
		}
		encoded[i].Kind = media.Sounds
	}
	return encoded, nil
}

// bySense tells pictures from sounds.
func bySense(encoded []Encoded) (seen, heard []Encoded) {
	for _, e := range encoded {
		if e.Kind == media.Sounds {
			heard = append(heard, e)
		} else {
			seen = append(seen, e)
		}
	}
	return seen, heard
}
