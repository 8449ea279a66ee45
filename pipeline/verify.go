package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"image"
	"math/rand/v2"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/tensor"
)

// Report is what Verify found.
type Report struct {
	Engines   [2]string // names
	Prompt    string    // the text as the model reads it
	TokenIDs  []int64   // of the prompt, special tokens included
	Pixels    []int     // shape of the preprocessed picture; nil where the model sees none
	PixelHash string    // SHA-256 of the pixels as little-endian float32
	Text      string    // what the model wrote, where it writes
	Tolerance float64   // largest difference allowed, relative to Largest where that is above 1
	Stages    []Stage
}

// Breaches are the stages beyond the tolerance.
func (r *Report) Breaches() []Stage {
	var list []Stage
	for _, s := range r.Stages {
		if !s.Within(r.Tolerance) {
			list = append(list, s)
		}
	}
	return list
}

// Within reports whether the two engines agree on the stage: no value differs
// by more than the tolerance, relative to the largest where that is above 1.
func (s *Stage) Within(tolerance float64) bool {
	return s.MaxDiff <= tolerance*max(1, s.Largest)
}

// Tolerance is what Verify allows for a bundle whose weights are stored as
// dtype, in the terms of xpipe.json. Both engines compute in float32 from the
// same weights; int8 graphs round activations too, where a difference in the
// last bit can become one of a whole step. Graphs of other tools may compute in
// float16 themselves.
func Tolerance(dtype string) float64 {
	switch dtype {
	case "int8":
		return 5e-2
	case "float16":
		return 1e-2
	}
	return 1e-4
}

// VerifyRequest says what Verify runs the model on.
type VerifyRequest struct {
	Image  image.Image // nil: a synthetic one
	Prompt string      // "": the bundle's own, about a question or caption
	// Tolerance of 0 is that of the bundle's dtype.
	Tolerance float64
}

// Verify runs a whole task of the model, stage by stage, on two engines, and
// compares every output of every graph. Each stage gets the same inputs on both:
// the first engine's. open opens the bundle with the options given to it, such as
//
//	func(opts ...pipeline.Option) (*pipeline.Pipeline, error) { return pipeline.Open(ctx, dir, opts...) }
func Verify(ctx context.Context, first, second engine.Engine, request VerifyRequest, open func(...Option) (*Pipeline, error)) (*Report, error) {
	twin := &twinEngine{first: first, second: second}
	p, err := open(WithEngine(twin))
	if err != nil {
		return nil, err
	}
	defer p.Close()
	report := &Report{Engines: [2]string{first.Name(), second.Name()}, Tolerance: request.Tolerance}
	if report.Tolerance == 0 {
		report.Tolerance = Tolerance(p.bundle.DType)
	}
	if err := p.verify(ctx, request, report); err != nil {
		return nil, err
	}
	for _, s := range twin.stages {
		report.Stages = append(report.Stages, *s)
	}
	return report, nil
}

// verify runs the task that the family is for.
func (p *Pipeline) verify(ctx context.Context, request VerifyRequest, report *Report) error {
	img := request.Image
	if img == nil {
		img = syntheticImage()
	}
	if err := p.reportPixels(ctx, img, report); err != nil {
		return err
	}
	if _, ok := p.model.(matcher); ok {
		report.Prompt = request.Prompt
		if report.Prompt == "" {
			report.Prompt = "a photo of a red circle"
		}
		if _, err := p.Match(ctx, img, report.Prompt, "something else"); err != nil {
			return err
		}
		return p.reportIDs(report)
	}
	r := Request{Image: img, Prompt: request.Prompt}
	if r.Prompt == "" {
		if _, ok := p.bundle.Prompts["answer"]; ok {
			r.Question = "what color is the shape?"
		}
	}
	if m, ok := p.model.(*lxmert); ok && m.regions == nil {
		r.Image = nil
		var err error
		if r.Regions, err = m.syntheticRegions(); err != nil {
			return err
		}
	}
	prompts, _, err := p.prompts([]Request{r})
	if err != nil {
		return err
	}
	report.Prompt = prompts[0]
	texts, err := p.Generate(ctx, []Request{r}, func(g *Generation) {
		g.MaxNewTokens = min(g.MaxNewTokens, 20)
		g.MinNewTokens = min(4, g.MaxNewTokens) // so that decoding with a cache is compared, too
	})
	if err != nil {
		return err
	}
	report.Text = texts[0][0].Text
	return p.reportIDs(report)
}

// reportPixels is a call of its own, as the task after it is.
func (p *Pipeline) reportPixels(ctx context.Context, img image.Image, report *Report) (err error) {
	if p.images == nil {
		return nil
	}
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return err
	}
	defer func() { leave(&err) }()
	pixels, err := p.preprocess(ctx, img)
	if err != nil {
		return err
	}
	report.Pixels, report.PixelHash = pixels.Shape(), hashFloats(pixels.Float32s())
	return nil
}

func (p *Pipeline) reportIDs(report *Report) error {
	encoding, err := p.tokenizer.Encode(report.Prompt)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPrompt, err)
	}
	report.TokenIDs = encoding.IDs
	return nil
}

func hashFloats(values []float32) string {
	h := sha256.New()
	binary.Write(h, binary.LittleEndian, values) // a hash does not fail to be written to
	return hex.EncodeToString(h.Sum(nil))
}

// syntheticImage is a picture with edges, flat parts and noise in it, always the
// same.
func syntheticImage() image.Image {
	img := image.NewRGBA(image.Rect(0, 0, 320, 240))
	random := rand.New(rand.NewPCG(1, 2))
	for i := range img.Pix {
		x, y, c := i/4%320, i/4/320, i%4
		switch {
		case c == 3:
			img.Pix[i] = 255
		case x > 80 && x < 200 && y > 60 && y < 180:
			img.Pix[i] = []uint8{200, 40, 30}[c]
		case y > 200:
			img.Pix[i] = uint8(random.IntN(256))
		default:
			img.Pix[i] = uint8((x + c*40) * 255 / 440)
		}
	}
	return img
}

// syntheticRegions are as many regions as LXMERT's detector gives, always the
// same.
func (m *lxmert) syntheticRegions() (*Regions, error) {
	width := 0
	for _, in := range m.session.Inputs() {
		if in.Name == "visual_feats" && len(in.Shape) == 3 {
			width = in.Shape[2]
		}
	}
	if width <= 0 {
		return nil, fmt.Errorf("%w: the graph does not say how wide visual_feats are", ErrBundle)
	}
	const regions = 36
	random := rand.New(rand.NewPCG(3, 4))
	features, boxes := make([]float32, regions*width), make([]float32, regions*4)
	for i := range features {
		features[i] = max(0, float32(random.NormFloat64()))
	}
	for i := 0; i < len(boxes); i += 4 {
		x, y := random.Float32()/2, random.Float32()/2
		copy(boxes[i:], []float32{x, y, x + random.Float32()/2, y + random.Float32()/2})
	}
	f, err := tensor.New([]int{regions, width}, features)
	if err != nil {
		return nil, err
	}
	b, err := tensor.New([]int{regions, 4}, boxes)
	if err != nil {
		return nil, err
	}
	return NewRegions(f, b, 1, 1)
}
