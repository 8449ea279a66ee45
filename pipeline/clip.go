package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"maps"
	"math"
	"slices"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/tokenize"
	"github.com/crossattn/xpipe/vision"
)

// clip is the way of CLIP (Radford et al., 2103.00020) and of SigLIP (Zhai et
// al., 2303.15343): two encoders, each followed by a projection into one space
// and L2 normalisation. CLIP compares by a softmax over the texts, SigLIP judges
// each pair by a sigmoid.
//
// Graphs of transformers.js and optimum have the projection inside. Where one of
// them is the whole model, its own logits count. Two separate graphs do not have
// the scale of the logits: CLIP's is then 100, where training clips it (section
// 2.5 of the paper) and where OpenAI's checkpoints are; SigLIP has no such value.
type clip struct {
	*graphOpener
	vision, text tower
	joint        engine.Session // both towers and the logits in one graph; nil where there is none
	scale, bias  float64
	scaled       bool // scale and bias are known
	sigmoid      bool
	tokenizer    *tokenize.Tokenizer
	padTo        int   // tokens that every text is padded to; 0: the longest of a batch
	pad          int64 // what texts are padded with, on the right; it is in sight of SigLIP
	maxText      int
}

// tower is one of the two encoders.
type tower struct {
	session    engine.Session
	output     string
	projection *projection // nil where the output is in the common space already
	// rest are inputs that stand in for the other tower's, where both are in one
	// graph.
	rest map[string]*tensor.Tensor
}

// clipScale is exp(logit_scale) of OpenAI's CLIP checkpoints.
const clipScale = 100

const logitsPerImage = "logits_per_image"

func openCLIP(graphs *graphOpener, tokenizer *tokenize.Tokenizer, images *vision.Preprocessor) (*clip, error) {
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
	if err := m.loadWeights(); err != nil {
		return nil, err
	}
	var whole engine.Session
	if graphs.bundle.Has("model") {
		if whole, err = graphs.open("model"); err != nil {
			return nil, err
		}
		if hasOutput(whole, logitsPerImage) {
			m.joint = whole
		}
	}
	if err := m.openTower(&m.vision, "vision_encoder", "image_embeds", whole); err != nil {
		return nil, err
	}
	if err := m.openTower(&m.text, "text_encoder", "text_embeds", whole); err != nil {
		return nil, err
	}
	if whole == nil {
		return m, nil
	}
	blank, err := images.Preprocess(graphs.ctx, image.NewGray(image.Rect(0, 0, 1, 1)))
	if err != nil {
		return nil, err
	}
	word, err := m.textInputs(whole, []string{"a"})
	if err != nil {
		return nil, err
	}
	if m.vision.session == whole {
		m.vision.rest = word
	}
	if m.text.session == whole {
		m.text.rest = map[string]*tensor.Tensor{"pixel_values": blank}
	}
	return m, nil
}

// loadWeights reads what lies beside the graphs, if anything does.
func (m *clip) loadWeights() error {
	if m.bundle.Projection == "" {
		m.scale, m.scaled = clipScale, !m.sigmoid
		return nil
	}
	weights, err := m.bundle.Weights()
	if err != nil {
		return err
	}
	scale, err := weights.Need("logit_scale", 1)
	if err != nil {
		return err
	}
	m.scale, m.scaled = math.Exp(float64(tensor.Data[float32](scale)[0])), true
	if weights["logit_bias"] != nil {
		bias, err := weights.Need("logit_bias", 1)
		if err != nil {
			return err
		}
		m.bias = float64(tensor.Data[float32](bias)[0])
	}
	for name, t := range map[string]*tower{"visual_projection": &m.vision, "text_projection": &m.text} {
		if weights[name+".weight"] != nil {
			if t.projection, err = loadProjection(weights, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// openTower opens the graph of a role, or takes the whole model where the role
// has none of its own. embeds is what graphs with the projection inside call
// their output.
func (m *clip) openTower(t *tower, role, embeds string, whole engine.Session) error {
	t.session = whole
	if whole == nil || m.bundle.Has(role) {
		var err error
		if t.session, err = m.open(role); err != nil {
			return err
		}
	}
	// States before the projection cannot be compared. SigLIP has none for
	// pictures, and has the texts' inside where transformers names the output.
	outputs := []string{embeds}
	if t.projection != nil || m.sigmoid && t == &m.vision {
		outputs = append(outputs, "pooled_output")
	}
	if t.projection != nil || m.sigmoid {
		outputs = append(outputs, "pooler_output")
	}
	for _, name := range outputs {
		if hasOutput(t.session, name) {
			if t.output = name; name == embeds {
				t.projection = nil
			}
			return nil
		}
	}
	return fmt.Errorf("%w: the graph of %s gives none of %v, and nothing projects what it gives", ErrBundle, role, outputs)
}

// hasOutput reports whether the graph of s has an output of the given name.
func hasOutput(s engine.Session, name string) bool {
	return slices.ContainsFunc(s.Outputs(), func(out tensor.Spec) bool { return out.Name == name })
}

// embed returns L2-normalised rows [B,E] for an input of B rows.
func (t *tower) embed(ctx context.Context, rows int, in map[string]*tensor.Tensor) (*tensor.Tensor, error) {
	maps.Copy(in, t.rest)
	pooled, err := runOne(ctx, t.session, in, t.output, rows, -1)
	if err != nil {
		return nil, err
	}
	if t.projection != nil {
		if pooled, err = t.projection.apply(ctx, pooled); err != nil {
			return nil, err
		}
	}
	return normalized(pooled)
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
	embeds, err := m.vision.embed(ctx, pixels.Dim(0), map[string]*tensor.Tensor{"pixel_values": pixels})
	return embeds, misfit(err)
}

func (m *clip) embedTexts(ctx context.Context, texts []string) (*tensor.Tensor, error) {
	in, err := m.textInputs(m.text.session, texts)
	if err != nil {
		return nil, err
	}
	return m.text.embed(ctx, len(texts), in)
}

// textInputs returns what the graph of s takes of the texts: input_ids [B,T],
// and attention_mask [B,T] where it has one.
func (m *clip) textInputs(s engine.Session, texts []string) (map[string]*tensor.Tensor, error) {
	ids, mask, err := m.tokens(texts)
	if err != nil {
		return nil, err
	}
	in := map[string]*tensor.Tensor{"input_ids": ids}
	if hasInput(s, attentionMask) {
		in[attentionMask] = mask
	}
	return in, nil
}

// tokens returns ids [B,T], padded on the right, and the mask [B,T] of what is
// in sight: all of it where texts have one length for the model. Texts longer
// than the model's positions lose their end, as in the reference.
func (m *clip) tokens(texts []string) (ids, mask *tensor.Tensor, err error) {
	var opts []tokenize.Option
	if m.maxText > 0 {
		opts = append(opts, tokenize.WithTruncation(&tokenize.Truncation{MaxLength: m.maxText}))
	}
	rows := make([][]int64, len(texts))
	longest := m.padTo
	for i, text := range texts {
		encoding, err := m.readText(m.tokenizer, text, opts...)
		if err != nil {
			return nil, nil, err
		}
		if len(encoding.IDs) == 0 {
			return nil, nil, fmt.Errorf("%w: nothing of %q is left after tokenizing", ErrPrompt, text)
		}
		rows[i] = encoding.IDs
		longest = max(longest, len(rows[i]))
	}
	padded := make([]int64, 0, len(texts)*longest)
	seen := make([]int64, 0, len(texts)*longest)
	for _, row := range rows {
		padded = append(padded, row...)
		for range row {
			seen = append(seen, 1)
		}
		for range longest - len(row) {
			padded = append(padded, m.pad)
			seen = append(seen, int64(min(m.padTo, 1)))
		}
	}
	if ids, err = tensor.New([]int{len(texts), longest}, padded); err != nil {
		return nil, nil, err
	}
	mask, err = tensor.New([]int{len(texts), longest}, seen)
	return ids, mask, err
}

// match compares each text's embedding with the picture's.
func (m *clip) match(ctx context.Context, pixels *tensor.Tensor, texts []string) ([]Match, error) {
	images, words, logits, err := m.compare(ctx, pixels, texts)
	if err != nil {
		return nil, err
	}
	if images.Dim(-1) != words.Dim(-1) {
		return nil, fmt.Errorf("%w: pictures are embedded in %d dimensions, texts in %d", ErrBundle, images.Dim(-1), words.Dim(-1))
	}
	matches := make([]Match, len(texts))
	for i, text := range texts {
		matches[i] = Match{Text: text, Similarity: dot(rowOf(images, 0), rowOf(words, i))}
	}
	if logits == nil {
		logits = make([]float32, len(texts))
		for i, match := range matches {
			logits[i] = float32(match.Similarity*m.scale + m.bias)
		}
	}
	for i, p := range softmax(logits) {
		if m.sigmoid {
			p = sigmoid(float64(logits[i]))
		}
		matches[i].Probability = p
	}
	return matches, nil
}

// compare returns the picture's embedding [1,E], the texts' [B,E] and, from a
// graph that is the whole model, the logits of the texts; nil without one.
func (m *clip) compare(ctx context.Context, pixels *tensor.Tensor, texts []string) (images, words *tensor.Tensor, logits []float32, err error) {
	if m.joint == nil {
		if !m.scaled {
			return nil, nil, nil, fmt.Errorf("%w: this SigLIP model has neither the whole model's graph nor %s with logit_scale and logit_bias, without which its scores are not known; it can embed",
				ErrUnsupported, "projection.safetensors")
		}
		if images, err = m.embedImages(ctx, pixels); err != nil {
			return nil, nil, nil, err
		}
		words, err = m.embedTexts(ctx, texts)
		return images, words, nil, err
	}
	in, err := m.textInputs(m.joint, texts)
	if err != nil {
		return nil, nil, nil, err
	}
	in["pixel_values"] = pixels
	out, err := m.joint.Run(ctx, in, "image_embeds", "text_embeds", logitsPerImage)
	if err != nil {
		return nil, nil, nil, err
	}
	for name, rows := range map[string]int{"image_embeds": 1, "text_embeds": len(texts)} {
		if err := checkOutput(name, out[name], rows, -1); err != nil {
			return nil, nil, nil, err
		}
	}
	if out[logitsPerImage].Len() != len(texts) {
		return nil, nil, nil, fmt.Errorf("%w: the graph gives logits %v for one picture and %d texts", ErrBundle, out[logitsPerImage], len(texts))
	}
	if images, err = normalized(out["image_embeds"]); err != nil {
		return nil, nil, nil, err
	}
	words, err = normalized(out["text_embeds"])
	return images, words, out[logitsPerImage].Float32s(), err
}
