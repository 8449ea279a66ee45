package pipeline

import (
	"context"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/tokenize"
)

// blip is the way of BLIP (Li et al., 2201.12086): a text decoder of BERT's
// kind whose cross-attention reads the picture's patches (captioning), or the
// states of a question encoder that has read them (question answering).
type blip struct {
	*graphOpener
	vision    engine.Session
	decoder   *decoder
	captioner *textEncoder // patches -> keys and values; nil in a VQA model
	questions *textEncoder // question and patches -> keys and values; nil in a captioning model
	tokenizer *tokenize.Tokenizer
	positions int // of a question; 0: unknown
}

func openBLIP(graphs *graphOpener, tokenizer *tokenize.Tokenizer) (*blip, error) {
	m := &blip{graphOpener: graphs, tokenizer: tokenizer}
	var err error
	if m.vision, err = graphs.open("vision_encoder"); err != nil {
		return nil, err
	}
	if m.decoder, err = newDecoder(graphs); err != nil {
		return nil, err
	}
	if m.positions, err = graphs.textPositions("text_config"); err != nil {
		return nil, err
	}
	if graphs.bundle.Has("question_encoder") {
		m.questions, err = openTextEncoder(graphs, "question_encoder")
	} else {
		m.captioner, err = openTextEncoder(graphs, "cross_kv")
	}
	return m, err
}

// encode returns the patches [B,N,Dv] of pixels [B,3,H,W].
func (m *blip) encode(ctx context.Context, pixels *tensor.Tensor) (*tensor.Tensor, error) {
	return runVision(ctx, m.vision, pixels, "image_embeds", pixels.Dim(0), -1, -1)
}

func (m *blip) begin(ctx context.Context, images *tensor.Tensor, which [][]int, prompts []string) (languageModel, error) {
	pictures, err := onePicture(which)
	if err != nil {
		return nil, err
	}
	patches, err := takeRows(images, pictures)
	if err != nil {
		return nil, err
	}
	if m.questions != nil {
		ids, mask, err := m.encodeRight(m.tokenizer, prompts, m.positions)
		if err != nil {
			return nil, err
		}
		fixed, err := m.questions.run(ctx, map[string]*tensor.Tensor{"input_ids": ids, attentionMask: mask, "image_embeds": patches}, mask)
		if err != nil {
			return nil, err
		}
		return m.questions.begin(ctx, m.decoder, len(prompts), fixed)
	}
	ones := make([]int64, patches.Dim(0)*patches.Dim(1))
	for i := range ones {
		ones[i] = 1
	}
	mask, err := tensor.New(patches.Shape()[:2], ones)
	if err != nil {
		return nil, err
	}
	fixed, err := m.captioner.run(ctx, map[string]*tensor.Tensor{"image_embeds": patches}, mask)
	if err != nil {
		return nil, err
	}
	rows := make([]prompt, len(prompts))
	width := 0
	for i, text := range prompts {
		encoding, err := m.readText(m.tokenizer, text)
		if err != nil {
			return nil, err
		}
		// [CLS] gives way to the decoder's own start, and [SEP] would end the text.
		ids := []int64{m.captioner.start}
		if n := len(encoding.IDs); n > 2 {
			ids = append(ids, encoding.IDs[1:n-1]...)
		}
		embeds, err := m.decoder.embedText(ctx, ids)
		if err != nil {
			return nil, err
		}
		width = len(embeds) / len(ids)
		rows[i] = prompt{ids: ids, embeds: embeds}
	}
	return m.decoder.begin(rows, width, fixed)
}

func (m *blip) startsAfresh() bool { return m.questions != nil }
