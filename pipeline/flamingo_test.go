package pipeline

import (
	"context"
	"image"
	"image/color"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// capture is an engine that keeps the first logits which a graph gives.
type capture struct {
	engine.Engine
	logits *tensor.Tensor
}

func (c *capture) Open(ctx context.Context, source engine.Source, opts engine.Options) (engine.Session, error) {
	opts.LastPosition = nil // all positions are to be seen
	s, err := c.Engine.Open(ctx, source, opts)
	return &captured{s, c}, err
}

type captured struct {
	engine.Session
	*capture
}

func (s *captured) Run(ctx context.Context, in map[string]*tensor.Tensor, out ...string) (map[string]*tensor.Tensor, error) {
	if keep := in[graph.LogitsToKeep]; keep != nil && s.logits == nil {
		in = maps.Clone(in)
		in[graph.LogitsToKeep] = tensor.Must(tensor.Zeros(keep.DType(), keep.Shape()...)) // all of them
	}
	results, err := s.Session.Run(ctx, in, out...)
	if logits := results[graph.Logits]; logits != nil && s.logits == nil {
		s.logits = logits.Clone()
	}
	return results, err
}

// promptLogits are the logits [1,T,V] at every position of a prompt, of a model that runs on a
// capture.
func promptLogits(t *testing.T, p *Pipeline, r Request) *tensor.Tensor {
	t.Helper()
	c := p.engine.(*capture)
	c.logits = nil
	if _, err := p.Generate(t.Context(), []Request{r}, unbounded(1)); err != nil {
		t.Fatal(err)
	}
	return c.logits
}

var flamingos = []string{"idefics", "idefics-plain", "openflamingo-opt", "openflamingo-neox", "openflamingo-mpt"}

// The logits at every position of a prompt are the reference's.
func TestFlamingoPromptLogits(t *testing.T) {
	t.Parallel()
	for _, name := range flamingos {
		g := loadGolden(t, name)
		mostlyGo(t, func(t *testing.T, eng engine.Engine) {
			got := promptLogits(t, openGolden(t, g, &capture{Engine: sharing(t, eng)}), g.requests(t, nil)[0])
			want := g.array(t, "prompt_logits")
			compare(t, name, tensor.Must(got.Reshape(want.Shape()...)), want, 1e-4)
		})
	}
}

// negative is the picture with every colour turned round.
func negative(img image.Image) image.Image {
	b := img.Bounds()
	out := image.NewRGBA(b)
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			c := color.RGBAModel.Convert(img.At(x, y)).(color.RGBA)
			out.SetRGBA(x, y, color.RGBA{255 - c.R, 255 - c.G, 255 - c.B, 255})
		}
	}
	return out
}

// Another picture k leaves every token before it bit-identical, and changes the
// one behind it.
func TestFlamingoPicturesDoNotReachBack(t *testing.T) {
	t.Parallel()
	for _, name := range flamingos {
		g := loadGolden(t, name)
		mostlyGo(t, func(t *testing.T, eng engine.Engine) {
			p := openGolden(t, g, &capture{Engine: sharing(t, eng)})
			request := g.requests(t, p)[2] // three pictures
			before := promptLogits(t, p, request)
			prompts, err := p.prompts([]Request{request})
			if err != nil {
				t.Fatal(err)
			}
			segments, err := p.compose(t.Context(), p.model.(family.Writer), prompts, new(Stats))
			if err != nil {
				t.Fatal(err)
			}
			ids := segments[0][0].IDs
			var manifest struct {
				Media struct {
					Token string `json:"token"`
				} `json:"media"`
			}
			if err := p.bundle.JSON(manifestFile, &manifest); err != nil {
				t.Fatal(err)
			}
			media, _ := p.texts.TokenToID(manifest.Media.Token)
			vocabulary := before.Dim(2)
			picture := -1
			for i, part := range request.Parts {
				if part.Image == nil {
					continue
				}
				picture++
				position, seen := 0, -1
				for ; position < len(ids); position++ {
					if ids[position] == media {
						if seen++; seen == picture {
							break
						}
					}
				}
				changed := request
				changed.Parts = slices.Clone(request.Parts)
				changed.Parts[i].Image = negative(part.Image)
				after := promptLogits(t, p, changed)
				a, b := before.Float32s(), after.Float32s()
				if at := position * vocabulary; !slices.Equal(a[:at], b[:at]) {
					t.Errorf("%s on %s: picture %d changes tokens before position %d", name, eng.Name(), picture, position)
				}
				if at := position * vocabulary; slices.Equal(a[at:], b[at:]) {
					t.Errorf("%s on %s: picture %d changes nothing", name, eng.Name(), picture)
				}
			}
		})
	}
}

// overlay is a file system with one file in place of another.
type overlay struct {
	fs.FS
	name, file string
}

func (o overlay) Open(name string) (fs.File, error) {
	if name == o.name {
		return os.Open(o.file)
	}
	return o.FS.Open(name)
}

// With closed gates the text does not depend on the pictures at all.
func TestFlamingoClosedGates(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"idefics", "openflamingo-opt"} {
		g := loadGolden(t, name)
		mostlyGo(t, func(t *testing.T, eng engine.Engine) {
			files := overlay{os.DirFS(filepath.Join(g.dir, "bundle")), "onnx/decoder_model_merged.onnx", filepath.Join(g.dir, "decoder_gates0.onnx")}
			p, err := OpenFS(context.Background(), files, WithEngine(&capture{Engine: sharing(t, eng)}), WithoutVerification())
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			request := g.requests(t, p)[0]
			before := promptLogits(t, p, request)
			request.Parts = slices.Clone(request.Parts)
			for i, part := range request.Parts {
				if part.Image != nil {
					request.Parts[i].Image = negative(part.Image)
				}
			}
			if after := promptLogits(t, p, request); !slices.Equal(before.Float32s(), after.Float32s()) {
				t.Errorf("%s on %s: the pictures matter", name, eng.Name())
			}
		})
	}
}
