package pipeline

import (
	"context"
	"fmt"
	"image"
	"slices"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/attend"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/vision"
)

// The types of attention maps; package attend defines them.
type (
	// Attention is where a model looked, for each token.
	Attention = attend.Attention
	// AttentionStage is attention of one module.
	AttentionStage = attend.Stage
	// Pick chooses the layer and head of a stage.
	Pick = attend.Pick
	// Map is where a token looked.
	Map = attend.Map
	// Word is a run of tokens that make one word.
	Word = attend.Word
)

// Attend writes text as Generate does, without beams, and returns where the model looked for each
// token. Models whose attention does not lead to a picture give ErrUnsupported.
//
// LXMERT answers from request.Regions, or from those that Regions gives for request.Image; its maps
// are of the question's words. A model of CLIP's kind writes nothing: its one map is of the picture
// or, where its encoder is convolutional, of request.Question in the picture.
//
// Any engine will do. The Go engine sees the attention inside every graph, other engines only that
// of graphs exported with --attention-maps; other graphs run a second time on the Go engine, on the
// same inputs (see WithShadow).
func (p *Pipeline) Attend(
	ctx context.Context, request Request, opts ...GenerateOption,
) (*Attention, error) {
	run := func(ctx context.Context, request Request, a *Attention) (*Text, error) {
		if m, ok := p.model.(family.Embedder); ok {
			return nil, p.show(ctx, m, request, a)
		}
		single := func(g *Generation) { g.NumBeams, g.NumReturnSequences = 1, 1 }
		g, err := p.generation(append(slices.Clip(opts), single), 1)
		if err != nil {
			return nil, err
		}
		return one(firsts(p.generate(ctx, []Request{request}, g, nil, nil)))
	}
	return p.attend(ctx, request, p.watch(), run)
}

// AttendText returns where the model looks while it is made to write the given text, whatever it
// would write itself. Errors are those of Attend; a text that the tokenizer cannot write behind the
// prompt gives ErrPrompt.
func (p *Pipeline) AttendText(
	ctx context.Context, request Request, text string,
) (*Attention, error) {
	run := func(ctx context.Context, request Request, _ *Attention) (*Text, error) {
		return p.write(ctx, request, text)
	}
	return p.attend(ctx, request, p.watch(), run)
}

// watch returns a Watch of the graphs whose attention leads to the picture; nil where there are
// none.
func (p *Pipeline) watch() *attend.Watch {
	if m, ok := p.model.(family.Attender); ok {
		return attend.NewWatch(p.bundle.Graphs, m.Watched()...)
	}
	return nil
}

// attend runs the model under a watch and joins the attention that it recorded. run gets the
// request with its regions, for models that take regions.
func (p *Pipeline) attend(
	ctx context.Context, request Request, w *attend.Watch,
	run func(context.Context, Request, *Attention) (*Text, error),
) (a *Attention, err error) {
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	m, ok := p.model.(family.Attender)
	if !ok {
		return nil, p.unsupported("say where it looked")
	}
	request.Parts, request.Messages = append(partsOf(request.Messages), request.Parts...), nil
	a = &Attention{Image: lastImage(request), Seen: vision.Region{0, 0, 1, 1}}
	if err := p.ready(ctx, &request, a, w); err != nil {
		return nil, err
	}
	if a.Text, err = run(attend.Under(ctx, w), request, a); err != nil {
		return nil, err
	}
	if a.Text != nil {
		for _, t := range a.Text.Tokens {
			a.Tokens = append(a.Tokens, t.Text)
		}
	}
	if err := w.Check(p.bundle.Name); err != nil {
		return nil, err
	}
	if err := m.Attend(ctx, a, w); err != nil {
		return nil, err
	}
	if a.Boxes == nil {
		err = a.SetGrids(p.bundle, a.Stages[len(a.Stages)-1].Maps.Dim(3))
	}
	return a, err
}

// ready records in a and w what the maps will be drawn on. It gives the request its regions, for
// models that take regions.
func (p *Pipeline) ready(
	ctx context.Context, request *Request, a *Attention, w *attend.Watch,
) error {
	if _, answers := p.model.(family.Answerer); answers {
		prompts, err := p.prompts([]Request{*request})
		if err != nil {
			return err
		}
		regions, err := p.regionsOf(ctx, prompts)
		if err != nil {
			return err
		}
		request.Regions = regions[0]
		request.Parts = nil
		request.Prompt = prompts[0].text
		a.SetBoxes(request.Regions)
		return nil
	}
	if a.Image != nil && p.images != nil {
		if err := p.checkPicture(a.Image); err != nil {
			return err
		}
		a.Image = p.images.Turn(a.Image)
		b := a.Image.Bounds()
		a.Seen = p.images.Seen(b.Dx(), b.Dy())
	}
	if _, writes := p.model.(family.Writer); !writes {
		return nil
	}
	prompts, err := p.prompts([]Request{*request})
	if err != nil {
		return err
	}
	for _, item := range prompts[0].items {
		if _, encoded := item.(*Encoded); encoded {
			return fmt.Errorf(
				"%w: where the model looked in a picture that was encoded before cannot be "+
					"seen; give the picture itself",
				ErrUnsupported)
		}
	}
	_, which := distinct([][]media.Item{prompts[0].items})
	w.Pictures = which[0]
	return nil
}

// show runs the encoder of a model of CLIP's kind.
func (p *Pipeline) show(
	ctx context.Context, m family.Embedder, request Request, a *Attention,
) error {
	if a.Image == nil {
		return fmt.Errorf("%w: the request has no picture", ErrImage)
	}
	prepared, err := p.preparePictures(ctx, a.Image)
	if err != nil {
		return err
	}
	text := request.Question
	if len(request.Parts) > 0 {
		text = ""
	}
	for _, part := range request.Parts {
		if part.Item == nil && part.Image == nil {
			text += part.Text
		}
	}
	a.Tokens = []string{text}
	_, err = m.EmbedMedia(ctx, prepared)
	return err
}

// lastImage returns the picture that a request is about; nil where it has none.
func lastImage(r Request) image.Image {
	img := r.Image
	for _, part := range append(partsOf(r.Messages), r.Parts...) {
		if picture, ok := part.Item.(media.Picture); ok {
			img = picture.Image
		} else if part.Image != nil {
			img = part.Image
		}
	}
	return img
}

// write makes the model write text, one step a token.
func (p *Pipeline) write(ctx context.Context, request Request, text string) (*Text, error) {
	model, ok := p.model.(family.Writer)
	if !ok {
		return nil, p.unsupported("write text")
	}
	prompts, err := p.prompts([]Request{request})
	if err != nil {
		return nil, err
	}
	encoded, err := p.encode(ctx, model, [][]media.Item{prompts[0].items}, new(Stats))
	if err != nil {
		return nil, err
	}
	batch, given, err := p.beginGiven(ctx, model, prompts[0], encoded[0], []string{text})
	if err != nil {
		return nil, err
	}
	s, err := decode.Write(ctx, batch, given[0])
	if err != nil {
		return nil, err
	}
	writers := p.newTexts(1)
	for i, id := range s.IDs {
		writers[0].add(decode.Chosen{ID: id, LogProb: s.LogProbs[i]})
	}
	return writers[0].end(&s), nil
}
