package pipeline

import (
	"context"
	"fmt"
	"slices"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/tokenize"
)

// blip2 is the way of BLIP-2 (Li et al., 2301.12597): the picture's patches
// are the keys and values that a small set of learned queries attends to in
// the Q-Former; the queries' outputs, projected to the language model's width,
// stand before the prompt.
//
// With a graph "encoder" the language model is of T5's kind: the prompt is the
// encoder's, and the decoder starts from one token. With an input
// qformer_input_ids the Q-Former reads the text as well, which is InstructBLIP
// (Dai et al., 2305.06500).
type blip2 struct {
	*graphOpener
	vision, qformer engine.Session
	decoder         *decoder
	encoder         *textEncoder // nil for decoder-only language models
	projection      *projection
	count           int // queries of a picture; 0 where the manifest does not say
	tokenizer       *tokenize.Tokenizer
	instruction     *tokenize.Tokenizer // of the Q-Former; nil where it reads no text
	positions       int                 // of an instruction; 0: unknown
}

func openBLIP2(graphs *graphOpener, tokenizer *tokenize.Tokenizer) (*blip2, error) {
	m := &blip2{graphOpener: graphs, tokenizer: tokenizer}
	var manifest struct {
		Queries int `json:"num_query_tokens"`
	}
	if err := graphs.bundle.JSON(models.ManifestName, &manifest); err != nil {
		return nil, err
	}
	m.count = manifest.Queries
	weights, err := graphs.bundle.Weights()
	if err != nil {
		return nil, err
	}
	if m.projection, err = loadProjection(weights, "language_projection"); err != nil {
		return nil, err
	}
	if m.vision, err = graphs.open("vision_encoder"); err != nil {
		return nil, err
	}
	if m.qformer, err = graphs.open("qformer"); err != nil {
		return nil, err
	}
	if hasInput(m.qformer, "qformer_input_ids") {
		data, err := graphs.bundle.File("qformer_tokenizer/tokenizer.json")
		if err != nil {
			return nil, err
		}
		if m.instruction, err = tokenize.New(data); err != nil {
			return nil, fmt.Errorf("qformer_tokenizer: %w", err)
		}
		if m.positions, err = graphs.textPositions("qformer_config"); err != nil {
			return nil, err
		}
	}
	if m.decoder, err = newDecoder(graphs); err != nil {
		return nil, err
	}
	if graphs.bundle.Has("encoder") {
		m.encoder, err = openTextEncoder(graphs, "encoder")
	}
	return m, err
}

// hasInput reports whether the graph of s has an input of the given name.
func hasInput(s engine.Session, name string) bool {
	return slices.ContainsFunc(s.Inputs(), func(in tensor.Spec) bool { return in.Name == name })
}

// encode returns the projected queries [B,Q,D] of pixels [B,3,H,W]; where the
// Q-Former reads the text, it has to wait for it, and encode returns the patches
// [B,N,Dv].
func (m *blip2) encode(ctx context.Context, pixels *tensor.Tensor) (*tensor.Tensor, error) {
	patches, err := runVision(ctx, m.vision, pixels, "image_embeds", pixels.Dim(0), -1, -1)
	if err != nil || m.instruction != nil {
		return patches, err
	}
	return m.queries(ctx, map[string]*tensor.Tensor{"image_embeds": patches})
}

// queries runs the Q-Former and projects its output to [B,Q,D].
func (m *blip2) queries(ctx context.Context, in map[string]*tensor.Tensor) (*tensor.Tensor, error) {
	queries, err := runOne(ctx, m.qformer, in, "query_output", in["image_embeds"].Dim(0), -1, -1)
	if err != nil {
		return nil, err
	}
	if m.count > 0 && queries.Dim(1) != m.count {
		return nil, fmt.Errorf("%w: the Q-Former gives %d queries, %s says %d", ErrBundle, queries.Dim(1), models.ManifestName, m.count)
	}
	return m.projection.apply(ctx, queries)
}

// instructed runs the Q-Former over the patches and each prompt's text.
func (m *blip2) instructed(ctx context.Context, patches *tensor.Tensor, which []int, prompts []string) (*tensor.Tensor, error) {
	rows, err := takeRows(patches, which)
	if err != nil {
		return nil, err
	}
	ids, mask, err := m.encodeRight(m.instruction, prompts, m.positions)
	if err != nil {
		return nil, err
	}
	return m.queries(ctx, map[string]*tensor.Tensor{"image_embeds": rows, "qformer_input_ids": ids, "qformer_attention_mask": mask})
}

// begin puts the queries of a prompt's picture before it.
func (m *blip2) begin(ctx context.Context, images *tensor.Tensor, pictures [][]int, prompts []string) (languageModel, error) {
	which, err := onePicture(pictures)
	if err != nil {
		return nil, err
	}
	if m.instruction != nil {
		if images, err = m.instructed(ctx, images, which, prompts); err != nil {
			return nil, err
		}
		for i := range which {
			which[i] = i
		}
	}
	queries, err := tensor.Values[float32](images)
	if err != nil {
		return nil, err
	}
	width := images.Dim(2)
	perImage := images.Dim(1) * width
	rows := make([]prompt, len(prompts))
	for i, text := range prompts {
		encoding, err := m.readText(m.tokenizer, text)
		if err != nil {
			return nil, err
		}
		words, err := m.decoder.embedText(ctx, encoding.IDs)
		if err != nil {
			return nil, err
		}
		if len(words) != len(encoding.IDs)*width {
			return nil, fmt.Errorf("%w: the projected queries are %d wide, the text's embeddings are not", ErrBundle, width)
		}
		embeds := slices.Clone(queries[which[i]*perImage : (which[i]+1)*perImage])
		rows[i] = prompt{ids: encoding.IDs, embeds: append(embeds, words...)}
	}
	if m.encoder == nil {
		return m.decoder.begin(rows, width, nil)
	}
	embeds, mask, err := padRight(rows, width)
	if err != nil {
		return nil, err
	}
	fixed, err := m.encoder.run(ctx, map[string]*tensor.Tensor{inputsEmbeds: embeds, attentionMask: mask}, mask)
	if err != nil {
		return nil, err
	}
	return m.encoder.begin(ctx, m.decoder, len(rows), fixed)
}

func (m *blip2) startsAfresh() bool { return m.encoder != nil }
