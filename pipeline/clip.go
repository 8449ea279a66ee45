package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/tokenize"
)

// clip is the way of CLIP (Radford et al., 2103.00020) and of SigLIP (Zhai et
// al., 2303.15343): two encoders, each followed by a projection into one space
// and L2 normalisation. CLIP compares by a softmax over the texts, SigLIP judges
// each pair by a sigmoid.
type clip struct {
	*graphOpener
	vision, text engine.Session
	visual       *projection // nil where the graph's output is in the space already
	textual      *projection
	scale, bias  float64
	sigmoid      bool
	tokenizer    *tokenize.Tokenizer
	padTo        int   // tokens that every text is padded to; 0: the longest of a batch
	pad          int64 // what texts are padded with, on the right; it is in sight of SigLIP
	maxText      int
}

func openCLIP(graphs *graphOpener, tokenizer *tokenize.Tokenizer) (*clip, error) {
	m := &clip{graphOpener: graphs, tokenizer: tokenizer, maxText: graphs.bundle.Limits["max_text"]}
	var manifest struct {
		Scores      string `json:"scores"`       // softmax or sigmoid
		TextPadding string `json:"text_padding"` // longest or max_length
	}
	if err := graphs.bundle.JSON(models.ManifestName, &manifest); err != nil {
		return nil, err
	}
	m.sigmoid = manifest.Scores == "sigmoid"
	if manifest.TextPadding == "max_length" {
		m.padTo = m.maxText
	}
	var err error
	if m.pad, err = padID(graphs.bundle, tokenizer); err != nil {
		return nil, err
	}
	weights, err := graphs.bundle.Weights()
	if err != nil {
		return nil, err
	}
	scale, err := weights.Need("logit_scale", 1)
	if err != nil {
		return nil, err
	}
	m.scale = math.Exp(float64(tensor.Data[float32](scale)[0]))
	if weights["logit_bias"] != nil {
		bias, err := weights.Need("logit_bias", 1)
		if err != nil {
			return nil, err
		}
		m.bias = float64(tensor.Data[float32](bias)[0])
	}
	if weights["visual_projection.weight"] != nil {
		if m.visual, err = loadProjection(weights, "visual_projection"); err != nil {
			return nil, err
		}
	}
	if m.textual, err = loadProjection(weights, "text_projection"); err != nil {
		return nil, err
	}
	if m.vision, err = graphs.open("vision_encoder"); err != nil {
		return nil, err
	}
	m.text, err = graphs.open("text_encoder")
	return m, err
}

// padID is the id of the pad token that tokenizer_config.json names.
func padID(bundle *models.Bundle, tokenizer *tokenize.Tokenizer) (int64, error) {
	var file struct {
		Pad json.RawMessage `json:"pad_token"` // the token, or an object with its content
	}
	if err := bundle.JSON("tokenizer_config.json", &file); err != nil {
		return 0, err
	}
	var token string
	if json.Unmarshal(file.Pad, &token) != nil {
		var object struct {
			Content string `json:"content"`
		}
		if err := json.Unmarshal(file.Pad, &object); err != nil {
			return 0, fmt.Errorf("%w: tokenizer_config.json has no usable pad_token", ErrBundle)
		}
		token = object.Content
	}
	id, ok := tokenizer.TokenToID(token)
	if !ok {
		return 0, fmt.Errorf("%w: tokenizer.json has no token %q, which tokenizer_config.json pads with", ErrBundle, token)
	}
	return id, nil
}

func (m *clip) embedImages(ctx context.Context, pixels *tensor.Tensor) (*tensor.Tensor, error) {
	pooled, err := runOne(ctx, m.vision, map[string]*tensor.Tensor{"pixel_values": pixels}, "pooled_output")
	if err != nil {
		return nil, err
	}
	if m.visual != nil {
		if pooled, err = m.visual.apply(ctx, pooled); err != nil {
			return nil, err
		}
	}
	return normalized(pooled)
}

func (m *clip) embedTexts(ctx context.Context, texts []string) (*tensor.Tensor, error) {
	ids, err := m.tokens(texts)
	if err != nil {
		return nil, err
	}
	pooled, err := runOne(ctx, m.text, map[string]*tensor.Tensor{"input_ids": ids}, "pooled_output")
	if err != nil {
		return nil, err
	}
	if pooled, err = m.textual.apply(ctx, pooled); err != nil {
		return nil, err
	}
	return normalized(pooled)
}

// tokens returns ids [B,T], padded on the right. Texts longer than the model's
// positions lose their end, as in the reference.
func (m *clip) tokens(texts []string) (*tensor.Tensor, error) {
	var opts []tokenize.Option
	if m.maxText > 0 {
		opts = append(opts, tokenize.WithTruncation(&tokenize.Truncation{MaxLength: m.maxText}))
	}
	rows := make([][]int64, len(texts))
	longest := m.padTo
	for i, text := range texts {
		encoding, err := m.tokenizer.Encode(text, opts...)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrPrompt, err)
		}
		if len(encoding.IDs) == 0 {
			return nil, fmt.Errorf("%w: nothing of %q is left after tokenizing", ErrPrompt, text)
		}
		rows[i] = encoding.IDs
		longest = max(longest, len(rows[i]))
	}
	padded := make([]int64, 0, len(texts)*longest)
	for _, row := range rows {
		padded = append(padded, row...)
		for range longest - len(row) {
			padded = append(padded, m.pad)
		}
	}
	return tensor.New([]int{len(texts), longest}, padded)
}

// match compares each text's embedding with the picture's.
func (m *clip) match(ctx context.Context, pixels *tensor.Tensor, texts []string) ([]Match, error) {
	images, err := m.embedImages(ctx, pixels)
	if err != nil {
		return nil, err
	}
	words, err := m.embedTexts(ctx, texts)
	if err != nil {
		return nil, err
	}
	if images.Dim(-1) != words.Dim(-1) {
		return nil, fmt.Errorf("%w: pictures are embedded in %d dimensions, texts in %d", ErrBundle, images.Dim(-1), words.Dim(-1))
	}
	matches := make([]Match, len(texts))
	logits := make([]float32, len(texts))
	for i, text := range texts {
		cosine := dot(rowOf(images, 0), rowOf(words, i))
		logit := cosine*m.scale + m.bias
		logits[i] = float32(logit)
		matches[i] = Match{Text: text, Similarity: cosine, Probability: sigmoid(logit)}
	}
	if !m.sigmoid {
		for i, p := range softmax(logits) {
			matches[i].Probability = p
		}
	}
	return matches, nil
}
