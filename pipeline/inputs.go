package pipeline

import (
	"context"
	"maps"

	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/tensor"
)

// Inputs are a request as the model's graphs get it. Compare them where a model's answer differs from
// that of its original.
type Inputs struct {
	Prompt   string  // the text as the model reads it
	TokenIDs []int64 // of the prompt, special tokens and those that stand for rows of pictures included
	// Tensors are the front end's outputs for the pictures or sounds, by name, a row each: pixel_values
	// [N,3,H,W] float32, input_features [N,mels,frames] float32 and others. nil where the model takes none.
	Tensors map[string]*tensor.Tensor
}

// Inputs prepares the request as Generate would, and returns what the graphs would get. The encoder runs
// where the prompt has a token for each row of what it makes of a picture.
func (p *Pipeline) Inputs(ctx context.Context, request Request) (inputs *Inputs, err error) {
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	if p.texts.Tokenizer == nil { // a model of pictures alone
		prepared, err := p.preparePictures(ctx, request.Image)
		return &Inputs{Tensors: prepared.Tensors}, err
	}
	prompts, err := p.prompts([]Request{request})
	if err != nil {
		return nil, err
	}
	inputs = &Inputs{Prompt: prompts[0].text}
	switch m := p.model.(type) {
	case family.Converser:
		inputs.Prompt = m.Write(prompts[0].parts)
	case family.Chatter:
		if inputs.Prompt, err = m.Write(prompts[0].parts); err != nil {
			return nil, err
		}
		segments, err := p.compose(ctx, m, prompts, new(Stats))
		if err != nil {
			return nil, err
		}
		for _, s := range segments[0] {
			inputs.TokenIDs = append(inputs.TokenIDs, s.IDs...)
		}
	}
	if items := prompts[0].items; p.images != nil || p.hearing() != nil {
		for _, at := range byKind(items) {
			prepared, err := p.prepare(ctx, pick(items, at))
			if err != nil {
				return nil, err
			}
			if inputs.Tensors == nil {
				inputs.Tensors = map[string]*tensor.Tensor{}
			}
			maps.Copy(inputs.Tensors, prepared.Tensors)
		}
	}
	if _, ok := p.model.(family.Chatter); ok {
		return inputs, nil
	}
	if m, ok := p.model.(family.TextReader); ok {
		inputs.TokenIDs, err = m.ReadText(inputs.Prompt)
	} else {
		inputs.TokenIDs, err = p.texts.Read(inputs.Prompt)
	}
	if err != nil {
		return nil, err
	}
	return inputs, nil
}
