package pipeline

import (
	"context"

	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/tensor"
)

// Inputs are what a model is given of a request, before any graph runs: what to compare where a
// model says something else than its original.
type Inputs struct {
	Prompt   string  // the text as the model reads it
	TokenIDs []int64 // of the prompt, special tokens included
	// Tensors are what the front end made of the pictures, by name, a row a picture: pixel_values
	// [N,3,H,W] and others. nil where the model sees none.
	Tensors map[string]*tensor.Tensor
}

// Inputs says what the model would be given of the request.
func (p *Pipeline) Inputs(ctx context.Context, request Request) (inputs *Inputs, err error) {
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	prompts, err := p.prompts([]Request{request})
	if err != nil {
		return nil, err
	}
	inputs = &Inputs{Prompt: prompts[0].text}
	if m, ok := p.model.(family.Converser); ok {
		inputs.Prompt = m.Write(prompts[0].parts)
	}
	if items := prompts[0].items; len(items) > 0 && p.images != nil {
		prepared, err := p.prepare(ctx, items)
		if err != nil {
			return nil, err
		}
		inputs.Tensors = prepared.Tensors
	}
	if inputs.TokenIDs, err = p.texts.Read(inputs.Prompt); err != nil {
		return nil, err
	}
	return inputs, nil
}
