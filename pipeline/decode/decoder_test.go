package decode

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/pipeline/internal/graphtest"
	"github.com/crossattn/xpipe/tensor"
)

const (
	toyWidth      = 2 // D
	toyVocabulary = 7
	pastKey       = graph.PastPrefix + "0.decoder.key"
	presentKey    = graph.PresentPrefix + "0.decoder.key"
	crossKey      = graph.PastPrefix + "0" + graph.CrossInfix + "key"
)

// toyGraphs are a decoder and its embeddings as graphs of Go. The cache [B,1,T,D] is the embeddings
// so far; the logits of a position come from all that are there up to it, and from the row's first
// constant where there is one. keep is the input that says of how many last positions; nil: of all.
func toyGraphs(cross bool, keep *tensor.Spec) (decoder, embed *graphtest.Graph) {
	embed = &graphtest.Graph{
		In:  []tensor.Spec{graphtest.Int(graph.InputIDs, -1, -1)},
		Out: []tensor.Spec{graphtest.Float(graph.InputsEmbeds, -1, -1, toyWidth)},
		Compute: func(in graphtest.Tensors) graphtest.Tensors {
			var v []float32
			for _, id := range tensor.Data[int64](in[graph.InputIDs]) {
				v = append(v, float32(id)+1, float32(id*id%5))
			}
			return graphtest.Tensors{graph.InputsEmbeds: graphtest.Floats(append(slices.Clone(in[graph.InputIDs].Shape()), toyWidth), v...)}
		},
	}
	decoder = &graphtest.Graph{
		In: []tensor.Spec{
			graphtest.Float(graph.InputsEmbeds, -1, -1, toyWidth),
			graphtest.Int(graph.AttentionMask, -1, -1),
			graphtest.Float(pastKey, -1, 1, -1, toyWidth),
		},
		Out: []tensor.Spec{graphtest.Float(graph.Logits, -1, -1, toyVocabulary),
			graphtest.Float(presentKey, -1, 1, -1, toyWidth)},
	}
	if cross {
		decoder.In = append(decoder.In, graphtest.Float(crossKey, -1, 1, -1, 1))
	}
	if keep != nil {
		decoder.In = append(decoder.In, *keep)
	}
	decoder.Compute = func(in graphtest.Tensors) graphtest.Tensors {
		embeds, past, mask := in[graph.InputsEmbeds], in[pastKey],
			tensor.Data[int64](in[graph.AttentionMask])
		rows, length, before := embeds.Dim(0), embeds.Dim(1), past.Dim(2)
		last := length
		if keep != nil {
			if n := int(tensor.Data[int64](in[keep.Name])[0]); n > 0 {
				last = n
			}
		}
		var logits, present []float32
		for b := range rows {
			all := slices.Concat(tensor.Data[float32](past)[b*before*toyWidth:(b+1)*before*toyWidth],
				tensor.Data[float32](embeds)[b*length*toyWidth:(b+1)*length*toyWidth])
			present = append(present, all...)
			state := 0.0
			if c := in[crossKey]; c != nil {
				state = float64(tensor.Data[float32](c)[b*c.Len()/rows])
			}
			for p := range before + length {
				if mask[b*(before+length)+p] == 1 {
					state = 0.9*state + float64(all[p*toyWidth]) + 3*float64(all[p*toyWidth+1])
				}
				if p >= before+length-last {
					for v := range toyVocabulary {
						logits = append(logits, float32(5*math.Sin(float64(v+1)*state)))
					}
				}
			}
		}
		return graphtest.Tensors{
			graph.Logits: graphtest.Floats([]int{rows, last, toyVocabulary}, logits...),
			presentKey:   graphtest.Floats([]int{rows, 1, before + length, toyWidth}, present...),
		}
	}
	return decoder, embed
}

func openToy(t *testing.T, decoder, embed *graphtest.Graph) (*Decoder, error) {
	t.Helper()
	eng := graphtest.Engine{graphtest.File(graph.Decoder): decoder,
		graphtest.File(graph.EmbedTokens): embed}
	return Open(graphtest.Opener(t, eng, graph.Decoder, graph.EmbedTokens))
}

// write generates after the prompts, with constants where fixed has them.
func write(t *testing.T, d *Decoder, fixed graphtest.Tensors, g Options,
	prompts ...[]int64) []Sequence {
	t.Helper()
	embeds, width, err := d.Embed(t.Context(), prompts...)
	if err != nil {
		t.Fatal(err)
	}
	start := Start{Width: width, Fixed: fixed}
	for i, ids := range prompts {
		start.Prompts = append(start.Prompts, Prompt{IDs: ids, Embeds: [][]float32{embeds[i]}})
	}
	batch, err := d.Begin(start)
	if err != nil {
		t.Fatal(err)
	}
	s := Search{Options: g}
	results, err := s.Run(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

var toyPrompts = [][]int64{{3, 1, 4}, {5}, {2, 6, 5, 3, 5}}

// A decoder that can leave out logits gives the same texts as one that gives all of them. It is
// asked for the last position alone, by a number or by a list of one, as its input is declared.
func TestLogitsToKeep(t *testing.T) {
	t.Parallel()
	for _, beams := range []int{1, 3} {
		g := plain()
		g.NumBeams, g.EOS, g.MaxNewTokens = beams, nil, 8
		d, err := openToy(t, first(toyGraphs(false, nil)), second(toyGraphs(false, nil)))
		if err != nil {
			t.Fatal(err)
		}
		want := write(t, d, nil, g, toyPrompts...)
		for _, shape := range [][]int{{}, {1}, {-1}} {
			keep := graphtest.Int(graph.LogitsToKeep, shape...)
			decoder, embed := toyGraphs(false, &keep)
			d, err := openToy(t, decoder, embed)
			if err != nil {
				t.Fatal(err)
			}
			got := write(t, d, nil, g, toyPrompts...)
			for i := range want {
				if !slices.Equal(got[i].IDs, want[i].IDs) || got[i].Score != want[i].Score {
					t.Errorf("%d beams, input %v, row %d: %v, want %v", beams, shape, i, got[i],
						want[i])
				}
			}
			for _, in := range decoder.Runs() {
				n := in[graph.LogitsToKeep]
				if n.Rank() != len(shape) || n.Len() != 1 || tensor.Data[int64](n)[0] != 1 {
					t.Fatalf("input %v was fed %v", shape, n)
				}
			}
		}
	}
}

func first[A, B any](a A, _ B) A  { return a }
func second[A, B any](_ A, b B) B { return b }

// A float16 cache goes from step to step as the engine gave it, nothing of it converted.
func TestHalfCacheIsHandedOn(t *testing.T) {
	t.Parallel()
	g := plain()
	g.EOS, g.MaxNewTokens = nil, 6
	single, embed := toyGraphs(false, nil)
	half := &graphtest.Graph{In: slices.Clone(single.In), Out: slices.Clone(single.Out)}
	half.In[2].DType, half.Out[1].DType = tensor.Float16, tensor.Float16
	var given []*tensor.Tensor
	half.Compute = func(in graphtest.Tensors) graphtest.Tensors {
		wide := maps.Clone(in)
		wide[pastKey] = graph.AsFloat32(in[pastKey])
		out := single.Compute(wide)
		out[presentKey] = graph.Cast(out[presentKey], tensor.Float16)
		given = append(given, out[presentKey])
		return out
	}
	d, err := openToy(t, half, embed)
	if err != nil {
		t.Fatal(err)
	}
	write(t, d, nil, g, toyPrompts...)
	runs := half.Runs()
	for i, in := range runs[1:] {
		if in[pastKey] != given[i] {
			t.Errorf("run %d got %v, not what the run before it gave", i+1, in[pastKey])
		}
	}
	if n := len(runs); n != g.MaxNewTokens {
		t.Errorf("%d runs", n)
	}
}

// The constants of a batch are laid out for the beams once: a later step is given the same tensors,
// and each row those of its own prompt.
func TestConstantsAreLaidOutOnce(t *testing.T) {
	t.Parallel()
	fixed := func(values ...float32) graphtest.Tensors {
		return graphtest.Tensors{crossKey: graphtest.Floats([]int{len(values), 1, 1, 1}, values...)}
	}
	g := plain()
	g.NumBeams, g.EOS, g.MaxNewTokens = 3, nil, 10
	decoder, embed := toyGraphs(true, nil)
	d, err := openToy(t, decoder, embed)
	if err != nil {
		t.Fatal(err)
	}
	together := write(t, d, fixed(0.5, -2), g, []int64{3, 1}, []int64{3, 1})
	runs := decoder.Runs()
	if len(runs) != g.MaxNewTokens {
		t.Fatalf("%d runs", len(runs))
	}
	constants := map[*tensor.Tensor]bool{}
	for _, in := range runs[1:] {
		constants[in[crossKey]] = true
		if got := tensor.Data[float32](in[crossKey]); !slices.Equal(got, []float32{0.5, 0.5, 0.5, -2, -2, -2}) {
			t.Fatalf("rows were given %v", got)
		}
	}
	if len(constants) != 1 {
		t.Errorf("%d tensors over %d steps", len(constants), len(runs)-1)
	}
	for i, value := range []float32{0.5, -2} {
		alone := write(t, d, fixed(value), g, []int64{3, 1})
		if !slices.Equal(alone[0].IDs, together[i].IDs) {
			t.Errorf("prompt %d alone %v, in the batch %v", i, alone[0].IDs, together[i].IDs)
		}
	}
	if slices.Equal(together[0].IDs, together[1].IDs) {
		t.Error("the constants make no difference")
	}

	// Rows that end leave the batch: the constants are laid out anew once for each such step.
	g = plain()
	g.MaxNewTokens, g.EOS = 20, []int64{0, 1}
	done := len(decoder.Runs())
	results := write(t, d, fixed(0.5, -2, 3), g, toyPrompts...)
	if len(results[0].IDs) == len(results[1].IDs) && len(results[1].IDs) == len(results[2].IDs) {
		t.Fatal("no row ends before another")
	}
	runs = decoder.Runs()[done:]
	for i, in := range runs[1:] {
		c, before := in[crossKey], runs[i][crossKey]
		if c != before && c.Dim(0) == before.Dim(0) {
			t.Errorf("step %d: constants were copied, and no row has left", i+1)
		}
	}
}

// Constants that do not fit are the bundle's fault.
func TestConstantsThatDoNotFit(t *testing.T) {
	t.Parallel()
	d, err := openToy(t, first(toyGraphs(true, nil)), second(toyGraphs(true, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for name, fixed := range map[string]graphtest.Tensors{
		"none":           {},
		"another shape":  {crossKey: graphtest.Floats([]int{1, 1}, 1)},
		"too many rows":  {crossKey: graphtest.Floats([]int{2, 1, 1, 1}, 1, 2)},
		"another number": {crossKey: tensor.Must(tensor.Zeros(tensor.Int64, 1, 1, 1, 1))},
	} {
		start := Start{Width: toyWidth, Fixed: fixed,
			Prompts: []Prompt{{IDs: []int64{1}, Embeds: [][]float32{{1, 2}}}}}
		if _, err := d.Begin(start); !errors.Is(err, graph.ErrBundle) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a decoder needs is checked when it is opened.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for says, change := range map[string]func(*graphtest.Graph){
		`no output "logits"`: func(g *graphtest.Graph) { g.Out = g.Out[1:] },
		"gives no":           func(g *graphtest.Graph) { g.Out = g.Out[:1] },
		"no cache inputs":    func(g *graphtest.Graph) { g.In = g.In[:2] },
		"fixed heads":        func(g *graphtest.Graph) { g.In[2].Shape[1] = -1 },
	} {
		decoder, embed := toyGraphs(false, nil)
		change(decoder)
		if _, err := openToy(t, decoder, embed); !errors.Is(err, graph.ErrBundle) ||
			!strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

// What a decoder gives is checked at each step.
func TestOutputsAreChecked(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(out graphtest.Tensors){
		"a cache that does not grow": func(out graphtest.Tensors) {
			out[presentKey] = graphtest.Floats([]int{1, 1, 1, toyWidth}, 1, 2)
		},
		"logits that are no numbers": func(out graphtest.Tensors) {
			tensor.Data[float32](out[graph.Logits])[2*toyVocabulary] = float32(math.NaN())
		},
		"logits without positions": func(out graphtest.Tensors) {
			out[graph.Logits] = graphtest.Floats([]int{1, 0, toyVocabulary})
		},
	} {
		decoder, embed := toyGraphs(false, nil)
		compute := decoder.Compute
		decoder.Compute = func(in graphtest.Tensors) graphtest.Tensors {
			out := compute(in)
			change(out)
			return out
		}
		d, err := openToy(t, decoder, embed)
		if err != nil {
			t.Fatal(err)
		}
		start := Start{Width: toyWidth,
			Prompts: []Prompt{{Embeds: [][]float32{{1, 2, 3, 4}, {5, 6}}}}}
		batch, err := d.Begin(start)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := batch.Prefill(t.Context()); !errors.Is(err, graph.ErrBundle) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Rows of one batch that are padded on the left are what they are alone.
func TestDecoderBatchEqualsSingle(t *testing.T) {
	t.Parallel()
	for _, beams := range []int{1, 2} {
		t.Run(fmt.Sprint(beams), func(t *testing.T) {
			t.Parallel()
			g := plain()
			g.NumBeams = beams
			d, err := openToy(t, first(toyGraphs(false, nil)), second(toyGraphs(false, nil)))
			if err != nil {
				t.Fatal(err)
			}
			together := write(t, d, nil, g, toyPrompts...)
			for i, p := range toyPrompts {
				if alone := write(t, d, nil, g, p); !slices.Equal(alone[0].IDs, together[i].IDs) {
					t.Errorf("prompt %v alone %v, in the batch %v", p, alone[0].IDs,
						together[i].IDs)
				}
			}
		})
	}
}

// A cross-attention cache gets the names by which the decoder takes it.
func TestCrossKV(t *testing.T) {
	t.Parallel()
	present := graph.PresentPrefix + "0" + graph.CrossInfix + "key"
	states := graphtest.Floats([]int{1, 1, 1, 1}, 4)
	g := &graphtest.Graph{
		Out: []tensor.Spec{graphtest.Float(present, -1, 1, -1, 1),
			graphtest.Float("other", -1)},
		Compute: func(graphtest.Tensors) graphtest.Tensors { return graphtest.Tensors{present: states} },
	}
	open := func() (*CrossKV, error) {
		return OpenCrossKV(graphtest.Opener(t, graphtest.Engine{graphtest.File(graph.CrossKV): g},
			graph.CrossKV), graph.CrossKV)
	}
	c, err := open()
	if err != nil {
		t.Fatal(err)
	}
	mask := tensor.Must(tensor.Zeros(tensor.Int64, 1, 1))
	fixed, err := c.Run(t.Context(), nil, mask)
	if err != nil || len(fixed) != 2 || fixed[crossKey] != states ||
		fixed[graph.EncoderMask] != mask {
		t.Errorf("%v, %v", fixed, err)
	}
	g.Out = g.Out[1:]
	if _, err := open(); !errors.Is(err, graph.ErrBundle) {
		t.Error(err)
	}
	if _, err := OpenCrossKV(graphtest.Opener(t, graphtest.Engine{}, graph.CrossKV), graph.CrossKV); !errors.Is(err, engine.ErrGraph) {
		t.Error(err)
	}
}
