package api

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"math"
	"math/rand/v2"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/compare"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// VerifyRequest says what Verify runs the model on.
type VerifyRequest struct {
	// Image is the picture; nil stands for a synthetic one. A model that sees regions alone gets
	// synthetic regions instead.
	Image image.Image
	// Sound is what a model that hears gets in the picture's place, resampled as it hears; nil stands for
	// a synthetic one.
	Sound *audio.Sound
	// Prompt is the text; "" stands for the bundle's own, about a question or caption, or for a
	// text to match.
	Prompt string
	// Tolerance is that of compare.Report; 0 stands for that of the bundle's dtype.
	Tolerance float64
}

// SpeechRate is the samples a second of the sounds that most models hear.
const SpeechRate = 16000

// Verify runs a whole task of a model on two engines, and compares every output of every graph.
// Each graph gets the same inputs on both: what the first engine computed before it. Dynamic int8
// graphs run on the first engine without its optimization; Report.Notes says so. open opens the
// model with the options given to it, the engine among them:
//
//	func(opts ...pipeline.Option) (*pipeline.Pipeline, error) { return api.Open(ctx, name, opts...) }
//
// Errors are those of open and of the task. Engines that disagree are no error: see
// Report.Breaches.
func Verify(
	ctx context.Context, first, second engine.Engine, request VerifyRequest,
	open func(...pipeline.Option) (*pipeline.Pipeline, error),
) (*compare.Report, error) {
	plain := &plainInt8{Engine: first}
	report, err := verify(ctx, plain, second, request, open, compare.Tolerance)
	if err != nil {
		return nil, err
	}
	report.Notes = plain.notes
	return report, nil
}

// VerifyPrecision is Verify of one engine in float32 and in a precision. Where the model writes, it
// writes a second time in that precision alone, and Report.IDs has what came of both.
func VerifyPrecision(
	ctx context.Context, e engine.Engine, precision engine.Precision, request VerifyRequest,
	open func(...pipeline.Option) (*pipeline.Pipeline, error),
) (*compare.Report, error) {
	exact := engine.AtPrecision(e, engine.PrecisionFloat32)
	other := engine.AtPrecision(e, precision)
	report, err := verify(ctx, exact, other, request, open, func(string) float64 {
		return compare.PrecisionTolerance(precision)
	})
	if err != nil || report.IDs[0] == nil {
		return report, err
	}
	p, err := open(pipeline.WithEngine(other))
	if err != nil {
		return nil, err
	}
	defer p.Close()
	alone := &compare.Report{}
	if err := runTask(ctx, p, request, alone); err != nil {
		return nil, err
	}
	report.IDs[1] = alone.IDs[0]
	return report, nil
}

// verify compares second with first; tolerance is that of a bundle's dtype.
func verify(
	ctx context.Context, first, second engine.Engine, request VerifyRequest,
	open func(...pipeline.Option) (*pipeline.Pipeline, error), tolerance func(dtype string) float64,
) (*compare.Report, error) {
	both := compare.NewEngine(first, second)
	p, err := open(pipeline.WithEngine(both))
	if err != nil {
		return nil, err
	}
	defer p.Close()
	report := &compare.Report{
		Engines: [2]string{first.Name(), second.Name()}, Tolerance: request.Tolerance,
	}
	if report.Tolerance == 0 {
		report.Tolerance = tolerance(p.Bundle().DType)
	}
	if err := runTask(ctx, p, request, report); err != nil {
		return nil, err
	}
	// A report without stages has no breaches, and would pass for one where all is well.
	if report.Stages = both.Stages(); len(report.Stages) == 0 {
		return nil, errors.New("nothing was compared: the model was opened on another engine")
	}
	return report, nil
}

// runTask runs the task that the model is for and reports what went into it.
func runTask(
	ctx context.Context, p *pipeline.Pipeline, request VerifyRequest, report *compare.Report,
) error {
	r := pipeline.Request{Image: request.Image, Prompt: request.Prompt}
	if r.Image == nil {
		r.Image = syntheticImage()
	}
	can := p.Abilities()
	sound := request.Sound
	if sound == nil {
		sound = syntheticSound()
	}
	if rate := p.HearingRate(); rate > 0 {
		sound = audio.Resample(sound, rate)
	}
	if can.Match {
		if r.Prompt == "" {
			r.Prompt = "a photo of a red circle"
		}
		item := media.Item(media.Picture{Image: r.Image})
		if report.Heard = can.HearsAlone(); report.Heard {
			r.Image, r.Sound, item = nil, sound, sound
		}
		if err := reportInputs(ctx, p, r, report); err != nil {
			return err
		}
		_, err := p.MatchItems(ctx, []media.Item{item}, r.Prompt, "something else")
		if !errors.Is(err, pipeline.ErrUnsupported) || !can.Embed {
			return err
		}
		// Without the scale of its scores a model embeds.
		if _, err := p.EmbedItems(ctx, item); err != nil {
			return err
		}
		_, err = p.EmbedTexts(ctx, r.Prompt, "something else")
		return err
	}
	if !can.Write && !can.Pick { // a model of pictures alone
		if err := reportInputs(ctx, p, r, report); err != nil {
			return err
		}
		if can.Embed {
			_, err := p.EmbedImages(ctx, r.Image)
			return err
		}
		_, err := p.Scores(ctx, r.Image)
		return err
	}
	if _, ok := p.Bundle().Prompts["answer"]; ok && r.Prompt == "" {
		r.Question = "what color is the shape?"
	}
	switch {
	case len(can.Media) == 0: // a language model
		r.Image = nil
	case can.Takes(media.Regions) && !can.Takes(media.Pictures):
		regions, err := syntheticRegions(p.RegionWidth())
		if err != nil {
			return err
		}
		r.Image, r.Regions = nil, regions
	case can.Takes(media.Sounds):
		report.Heard = !can.Takes(media.Pictures)
		r.Sound = sound
		if report.Heard {
			r.Image, r.Question = nil, ""
		}
	}
	if err := reportInputs(ctx, p, r, report); err != nil {
		return err
	}
	texts, err := p.Generate(ctx, []pipeline.Request{r}, func(g *pipeline.Generation) {
		g.MaxNewTokens = min(cmp.Or(g.MaxNewTokens, 20), 20)
		g.MinNewTokens = min(4, g.MaxNewTokens) // so that decoding with a cache is compared, too
	})
	if err == nil {
		report.Text, report.IDs[0] = texts[0][0].Text, texts[0][0].IDs
	}
	return err
}

// reportInputs notes what goes into the model.
func reportInputs(
	ctx context.Context, p *pipeline.Pipeline, r pipeline.Request, report *compare.Report,
) error {
	inputs, err := p.Inputs(ctx, r)
	if err != nil {
		return err
	}
	report.Prompt, report.TokenIDs = inputs.Prompt, inputs.TokenIDs
	if pixels := inputs.Tensors[graph.PixelValues]; pixels != nil {
		report.Pixels, report.PixelHash = pixels.Shape(), hashFloats(pixels.Float32s())
	}
	return nil
}

// hashFloats is the SHA-256 of values as little-endian float32.
func hashFloats(values []float32) string {
	h := sha256.New()
	binary.Write(h, binary.LittleEndian, values) // a hash does not fail to be written to
	return hex.EncodeToString(h.Sum(nil))
}

// syntheticImage is a picture with edges, flat parts and noise in it, always the same.
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

// syntheticSound is a second of a tone that rises and falls, with noise behind it, always the same.
func syntheticSound() *audio.Sound {
	sound := &audio.Sound{Rate: SpeechRate, Samples: make([]float32, SpeechRate)}
	random := rand.New(rand.NewPCG(5, 6))
	for i := range sound.Samples {
		at := float64(i) / SpeechRate
		tone := math.Sin(2*math.Pi*(300*at+40*math.Sin(4*math.Pi*at))) * math.Sin(math.Pi*at)
		sound.Samples[i] = float32(0.4*tone + 0.02*random.NormFloat64())
	}
	return sound
}

// syntheticRegions are as many regions as LXMERT's detector gives, with features of the given
// width, always the same.
func syntheticRegions(width int) (*pipeline.Regions, error) {
	if width <= 0 {
		return nil, fmt.Errorf("%w: the graph does not say how wide visual_feats are",
			pipeline.ErrBundle)
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
	return pipeline.NewRegions(f, b, 1, 1)
}
