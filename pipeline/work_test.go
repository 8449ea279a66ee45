package pipeline

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// These tests count work: nothing is encoded, embedded, copied or read for nothing.

// counter is an engine that counts the runs of each graph, by file, and the constants that
// decoders were given.
type counter struct {
	engine.Engine
	mu        sync.Mutex
	runs      map[string]int
	constants map[*tensor.Tensor]string // the input each was given for
	caches    [2]int                    // inputs of the growing cache: of the engine's, and in Go memory
	small     int                       // bytes of a cache in Go memory that do not count
	positions int                       // that logits were given of, at most
}

func newCounter() *counter {
	return &counter{Engine: goEngine, runs: map[string]int{}, constants: map[*tensor.Tensor]string{}}
}

func (c *counter) Open(ctx context.Context, source engine.Source, opts engine.Options) (engine.Session, error) {
	opts.LastPosition = nil // what is counted is what graphs and package decode do by themselves
	s, err := c.Engine.Open(ctx, source, opts)
	return &counted{s, c, filepath.Base(source.Name)}, err
}

type counted struct {
	engine.Session
	counter *counter
	file    string
}

func (s *counted) Run(ctx context.Context, in map[string]*tensor.Tensor, out ...string) (map[string]*tensor.Tensor, error) {
	s.counter.mu.Lock()
	s.counter.runs[s.file]++
	for name, t := range in {
		switch {
		case !strings.HasPrefix(name, graph.PastPrefix):
		case strings.Contains(name, graph.CrossInfix):
			s.counter.constants[t] = name
		case t.Storage() != nil:
			s.counter.caches[0]++
		case t.Len()*t.DType().Size() > s.counter.small:
			s.counter.caches[1]++
		}
	}
	s.counter.mu.Unlock()
	results, err := s.Session.Run(ctx, in, out...)
	if logits := results[graph.Logits]; logits != nil && logits.Rank() == 3 {
		s.counter.mu.Lock()
		s.counter.positions = max(s.counter.positions, logits.Dim(1))
		s.counter.mu.Unlock()
	}
	return results, err
}

// take returns the counts since the last call.
func (c *counter) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	runs := c.runs
	c.runs = map[string]int{}
	return runs
}

// The same prompt has the same scores however it is written, and only the picture that is asked
// about is greyed for the calibrated one.
func TestShotsEqualParts(t *testing.T) {
	t.Parallel()
	p := sharedEmbedded(t, mini.Flamingo, goEngine)
	dog, pizza := loadImage(t, "../testdata/images/dog.png"), loadImage(t, "../testdata/images/pizza.png")
	short := Request{
		Image: dog, Question: "what is this?",
		Shots: []Shot{{Image: pizza, Text: "zudo"}, {Image: dog, Text: "wemi"}},
	}
	long, err := p.prompts([]Request{short})
	if err != nil {
		t.Fatal(err)
	}
	var spelled Request
	for _, part := range long[0].parts {
		spelled.Parts = append(spelled.Parts, Part{Text: part.Text, Item: part.Item})
	}
	a, err := p.Choose(t.Context(), short, "zudo", "wemi")
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Choose(t.Context(), spelled, "zudo", "wemi")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(a, b) {
		t.Errorf("as shots %v, as parts %v", a, b)
	}
	// Encoded once for many requests, they say the same.
	encoded, err := p.Encode(t.Context(), media.Picture{Image: pizza}, media.Picture{Image: dog})
	if err != nil {
		t.Fatal(err)
	}
	short.Shots = []Shot{{Item: encoded[0], Text: "zudo"}, {Item: encoded[1], Text: "wemi"}}
	c, err := p.Choose(t.Context(), short, "zudo", "wemi")
	if err != nil {
		t.Fatal(err)
	}
	for i := range a {
		if math.Abs(a[i].LogProb-c[i].LogProb) > 1e-4 {
			t.Errorf("as shots %v, encoded %v", a, c)
		}
	}
	// The examples still show what they show when the last picture is grey.
	if math.Abs(a[1].Calibrated-0.98893) > 1e-4 {
		t.Errorf("calibrated %v", a)
	}
}

// What Encode gives takes the picture's place, and the encoder does not run again.
func TestEncoded(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"blip2-opt", "instructblip", "blip-vqa", "idefics"} {
		g := loadGolden(t, name)
		c := newCounter()
		p := openGolden(t, g, c)
		img := loadImage(t, familiesDir+"/images/figure0.png")
		request := Request{Image: img, Question: "what is it?"}
		if name == "idefics" {
			request = Request{Parts: []Part{{Image: img}, {Text: "a photo of"}}}
		}
		want, err := p.Generate(t.Context(), []Request{request}, unbounded(6))
		if err != nil {
			t.Fatal(name, err)
		}
		handle, err := p.Encode(t.Context(), media.Picture{Image: img})
		if err != nil {
			t.Fatal(name, err)
		}
		c.take()
		if request.Encoded, request.Image = handle[0], nil; name == "idefics" {
			request = Request{Parts: []Part{{Item: handle[0]}, {Text: "a photo of"}}}
		}
		got, err := p.Generate(t.Context(), []Request{request, request}, unbounded(6))
		if err != nil {
			t.Fatal(name, err)
		}
		if !slices.Equal(ids(got[1][0]), ids(want[0][0])) {
			t.Errorf("%s: %v, of the picture itself %v", name, ids(got[1][0]), ids(want[0][0]))
		}
		if runs := c.take(); runs["vision_encoder.onnx"] > 0 {
			t.Errorf("%s: the encoder ran again: %v", name, runs)
		}
		if _, err := p.Attend(t.Context(), request); name != "blip-vqa" && !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: attention to what is not seen: %v", name, err)
		}
		other := sharedGolden(t, g, goEngine)
		if _, err := other.Generate(t.Context(), []Request{request}); !errors.Is(err, ErrPrompt) {
			t.Errorf("%s: another Pipeline takes it: %v", name, err)
		}
	}
	p := sharedGolden(t, loadGolden(t, "clip"), goEngine)
	if _, err := p.Encode(t.Context(), media.Picture{Image: blankImage}); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
}

// Several questions about one picture encode it once, and the grey one beside it once; a handle
// keeps the grey one for calls to come.
func TestChooseBatchEncodesOnce(t *testing.T) {
	t.Parallel()
	c := newCounter()
	p := openEmbedded(t, mini.BLIP2, WithEngine(c))
	img := loadImage(t, "../testdata/images/blue-triangle.png")
	requests := []Request{
		{Image: img, Question: "what color is the shape?"},
		{Image: img, Question: "which color has it?"},
		{Image: img, Question: "is it red?"},
	}
	c.take()
	all, err := p.ChooseBatch(t.Context(), requests, "red", "blue")
	if err != nil {
		t.Fatal(err)
	}
	if runs := c.take(); runs["vision_encoder.onnx"] != 2 || runs["qformer.onnx"] != 2 {
		t.Errorf("runs %v, not 2 of the encoder", runs)
	}
	for i, r := range requests {
		one, err := p.Choose(t.Context(), r, "red", "blue")
		if err != nil || !slices.Equal(one, all[i]) {
			t.Errorf("%q alone: %v (%v), together %v", r.Question, one, err, all[i])
		}
	}
	handle, err := p.Encode(t.Context(), media.Picture{Image: img})
	if err != nil {
		t.Fatal(err)
	}
	c.take()
	for range 3 {
		one, err := p.Choose(t.Context(), Request{Encoded: handle[0], Question: requests[0].Question}, "red", "blue")
		if err != nil || !slices.Equal(one, all[0]) {
			t.Errorf("encoded: %v (%v), not %v", one, err, all[0])
		}
	}
	if runs := c.take(); runs["vision_encoder.onnx"] != 1 {
		t.Errorf("runs %v, not one for the grey picture", runs)
	}
}

// The prompts of a batch are embedded in one run; each step embeds once.
func TestPromptsEmbedOnce(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"blip2-opt", "blip2-t5", "blip-caption", "openflamingo-opt"} {
		g := loadGolden(t, name)
		c := newCounter()
		p := openGolden(t, g, c)
		if _, err := p.Generate(t.Context(), g.requests(t, p), unbounded(4)); err != nil {
			t.Fatal(err)
		}
		want := 1 + 3 // the prompts, and the steps after the first token
		if name == "blip2-t5" {
			want++ // the encoder's prompts, and the decoder's start
		}
		if runs := c.take(); runs["embed_tokens.onnx"] != want {
			t.Errorf("%s: embed_tokens ran %d times, not %d", name, runs["embed_tokens.onnx"], want)
		}
	}
}

// Beams of one prompt share the keys and values of cross-attention: they are laid out once for
// them, not at each step.
func TestBeamsCopyConstantsOnce(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"blip-caption", "blip2-t5", "openflamingo-opt"} {
		g := loadGolden(t, name)
		c := newCounter()
		p := openGolden(t, g, c)
		_, err := p.Generate(t.Context(), g.requests(t, p)[:2], unbounded(12), func(o *Generation) { o.NumBeams = 4 })
		if err != nil {
			t.Fatal(err)
		}
		inputs := map[string]bool{}
		for _, name := range c.constants {
			inputs[name] = true
		}
		if most := 2 * len(inputs); most == 0 || len(c.constants) > most {
			t.Errorf("%s: %d constant tensors over 12 steps, at most %d of %d inputs are needed", name, len(c.constants), most, len(inputs))
		}
	}
}

// The growing cache stays where the engine holds it while beams are reordered: in Go memory it
// would have been copied once more, and would be copied back. (Graphs that give their attention as
// outputs join the cache in Go memory: their attention is not one operator.)
func TestBeamsLeaveTheCacheInTheEngine(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"blip-caption", "blip2-t5", "instructblip", "idefics", "openflamingo-neox"} {
		g := loadGolden(t, name)
		c := newCounter()
		p := openGolden(t, g, c)
		_, err := p.Generate(t.Context(), g.requests(t, p)[:2], unbounded(8), func(o *Generation) { o.NumBeams = 4 })
		if err != nil {
			t.Fatal(err)
		}
		if c.caches[0] == 0 || c.caches[1] > 0 {
			t.Errorf("%s: %d inputs of the cache lie with the engine, %d do not", name, c.caches[0], c.caches[1])
		}
	}
}

// On ONNX Runtime, too. It copies what is small to Go memory, so there are many beams.
func TestBeamsLeaveTheCacheInRuntime(t *testing.T) {
	t.Parallel()
	c := newCounter()
	c.Engine, c.small = sharing(t, runtimeEngine(t)), 64<<10
	g := loadGolden(t, "blip-caption")
	p := openGolden(t, g, c)
	r := g.requests(t, p)[0]
	_, err := p.Generate(t.Context(), []Request{r, r, r, r}, unbounded(12), func(o *Generation) { o.NumBeams = 16 })
	if err != nil {
		t.Fatal(err)
	}
	if c.caches[0] == 0 || c.caches[1] > 0 {
		t.Errorf("%d inputs of the cache lie with the engine, %d do not", c.caches[0], c.caches[1])
	}
}

// asVector makes an input that is a scalar [1].
func asVector(name string) func(m *pb.ModelProto) {
	return func(m *pb.ModelProto) {
		inner := name + ".scalar"
		for _, n := range m.Graph.Node {
			for i, in := range n.Input {
				if in == name {
					n.Input[i] = inner
				}
			}
		}
		m.Graph.Node = append([]*pb.NodeProto{node("Squeeze", []string{name}, []string{inner})}, m.Graph.Node...)
		for _, in := range m.Graph.Input {
			if in.GetName() == name {
				in.Type.GetTensorType().Shape.Dim = []*pb.TensorShapeProto_Dimension{
					{Value: &pb.TensorShapeProto_Dimension_DimValue{DimValue: 1}},
				}
			}
		}
	}
}

// A decoder that takes num_logits_to_keep, a scalar or [1], gives the logits of one position, not
// of the whole prompt.
func TestLogitsOfOnePosition(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"vit-gpt2", "trocr", "donut"} {
		g := loadGolden(t, name)
		r := g.requests(t, nil)[0]
		r.Prompt += " a b c d e"
		var want []int64
		for _, vector := range []bool{false, true} {
			f := goodFiles(t, name)
			if vector {
				change(decoderFile, asVector(graph.LogitsToKeep))(t, f)
			}
			fsys, _ := f.fs()
			c := newCounter()
			p, err := OpenFS(t.Context(), fsys, WithEngine(c), WithoutVerification())
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			texts, err := p.Generate(t.Context(), []Request{r}, unbounded(4))
			if err != nil {
				t.Fatal(name, vector, err)
			}
			if c.positions != 1 {
				t.Errorf("%s: logits of %d positions", name, c.positions)
			}
			if got := ids(texts[0][0]); want == nil {
				want = got
			} else if !slices.Equal(got, want) {
				t.Errorf("%s: with a vector %v, with a scalar %v", name, got, want)
			}
		}
	}
}

// onceFS counts how often each file is opened.
type onceFS struct {
	fs.FS
	opened map[string]int
}

func (o *onceFS) Open(name string) (fs.File, error) {
	o.opened[name]++
	return o.FS.Open(name)
}

// Stat keeps looking at sizes apart from reading.
func (o *onceFS) Stat(name string) (fs.FileInfo, error) { return fs.Stat(o.FS, name) }

// Each file of a bundle is read once: it is hashed while it is read.
func TestBundleIsReadOnce(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"blip2-opt", "instructblip", "clip", "lxmert-gqa", "idefics", "blip-vqa"} {
		files := &onceFS{FS: os.DirFS(filepath.Join(familiesDir, name, "bundle")), opened: map[string]int{}}
		p, err := OpenFS(t.Context(), files)
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
		for file := range p.bundle.SHA256 {
			if n := files.opened[file]; n != 1 {
				t.Errorf("%s: %s was opened %d times", name, file, n)
			}
		}
	}
}
