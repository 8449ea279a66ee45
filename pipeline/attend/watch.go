package attend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// Watch records the attention of the graphs that run with its context (see Under). What they compute
// stays the same.
type Watch struct {
	// Pictures lists the prompt's pictures in their order, as rows of the image encoder's batch. A
	// picture that occurs twice is one row.
	Pictures []int
	// Taps looks inside the graphs even where they give their attention as outputs.
	Taps bool
	// Wants, where it is not nil, says what attention is recorded, by its kind and its number among
	// that kind's layers.
	Wants func(kind Kind, layer int) bool

	roles map[string]string // of the watched graphs, by file

	mu   sync.Mutex
	runs map[string][]Run // by role, in order
}

// NewWatch watches the graphs of the given roles; files are those of the bundle by role.
func NewWatch(files map[string]string, roles ...string) *Watch {
	w := &Watch{roles: map[string]string{}, runs: map[string][]Run{}}
	for _, role := range roles {
		if file := files[role]; file != "" {
			w.roles[file] = role
		}
	}
	return w
}

// Under returns a context whose runs w records.
func Under(ctx context.Context, w *Watch) context.Context {
	return context.WithValue(ctx, watchKey{}, w)
}

// Watched reports whether the runs of a context are recorded, so that they must hold nothing of other
// calls.
func Watched(ctx context.Context) bool {
	w, _ := ctx.Value(watchKey{}).(*Watch)
	return w != nil
}

type watchKey struct{}

// Runs returns the recorded runs of a role's graph, in order.
func (w *Watch) Runs(role string) []Run {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.runs[role]
}

// Check refuses a watch in which a graph ran without showing attention; the error wraps
// graph.ErrUnsupported.
func (w *Watch) Check(model string) error {
	for role, runs := range w.runs {
		if len(runs) > 0 && len(runs[0].Layers) == 0 {
			return fmt.Errorf("%w: the graph %s of model %s has no attention that can be "+
				"recognised: either there is none, or an export with --attention-maps is needed",
				graph.ErrUnsupported, role, model)
		}
	}
	return nil
}

// Run is one run of a graph.
type Run struct {
	Layers []Layer                   // of all kinds, those of one kind in order
	In     map[string]*tensor.Tensor // the run's inputs
}

// Kind tells attention modules apart by what their queries and keys come from. Its values are the
// names of exported outputs.
type Kind string

const (
	SelfAttention        Kind = "self_attn"
	CrossAttention       Kind = "cross_attn"
	VisualSelfAttention  Kind = "visual_self_attn"
	VisualCrossAttention Kind = "visual_cross_attn"
)

// Outputs of an image encoder that are no attention and lead to cells of the picture all the same.
const (
	ImagePlaces Kind = "image_places"      // [B,N,cells], the cells that each token comes from
	CellStates  Kind = "last_hidden_state" // [B,cells,D], of a convolutional encoder
	PooledState Kind = "pooled_output"     // [B,D], CellStates pooled channel by channel
)

// optimumKinds are the kinds of a decoder's outputs as optimum names them, of which transformers.js reads
// the times of words.
var optimumKinds = map[string]Kind{"cross_attentions": CrossAttention, "decoder_attentions": SelfAttention}

var encoderRanks = map[Kind]int{ImagePlaces: 3, CellStates: 3, PooledState: 2}

// place is one output or tap of a graph that shows attention.
type place struct {
	output string // its name, for Run
	kind   Kind
	layer  int
}

// Layer is the attention of one layer, [B,heads,rows,columns] float32. The outputs of an image
// encoder that are no attention have the shapes beside their kinds.
type Layer struct {
	place
	*tensor.Tensor
}

// NewEngine returns eng with graphs that a Watch can record. shadow runs a graph a second time
// where eng does not show the attention inside it; with nil such graphs show none.
func NewEngine(eng, shadow engine.Engine) engine.Engine { return &watchedEngine{eng, shadow} }

type watchedEngine struct {
	engine.Engine
	shadow engine.Engine
}

func (e *watchedEngine) Open(
	ctx context.Context, source engine.Source, opts engine.Options,
) (engine.Session, error) {
	opened, err := e.Engine.Open(ctx, source, opts)
	if err != nil {
		return nil, err
	}
	return &session{Session: opened, source: source, options: opts, shadowEngine: e.shadow}, nil
}

// session runs a graph, and under a watch asks it for its attention too.
type session struct {
	engine.Session
	source       engine.Source
	options      engine.Options
	shadowEngine engine.Engine

	mu     sync.Mutex
	shadow engine.Session // the graph on shadowEngine, opened when it is first needed
}

// Close closes the shadow too.
func (s *session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.Session.Close()
	if s.shadow != nil {
		err = errors.Join(err, s.shadow.Close())
		s.shadow = nil
	}
	return err
}

// shown returns the session that shows the graph's attention, and where: the engine's own, or
// else a second one on the shadow engine, opened once. An image encoder may give instead the cells
// that its tokens come from and, where it has no attention, the state of each cell.
func (s *session) shown(
	ctx context.Context, role string, taps bool,
) (engine.Session, []place, error) {
	var states []place
	if role == graph.VisionEncoder {
		if places := outputPlaces(s.Session, ImagePlaces); places != nil {
			return s.Session, places, nil
		}
		states = outputPlaces(s.Session, CellStates, PooledState)
	}
	if places := placesIn(s.Session, taps); len(places) > 0 {
		return s.Session, places, nil
	}
	if _, looked := s.Session.(engine.Tapper); looked || s.shadowEngine == nil {
		return s.Session, states, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shadow == nil {
		opts := engine.Options{Threads: s.options.Threads, MemoryLimit: s.options.MemoryLimit}
		shadow, err := s.shadowEngine.Open(ctx, s.source, opts)
		if err != nil && states != nil && ctx.Err() == nil {
			return s.Session, states, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf(
				"looking inside %s, whose attention the engine does not show: %w",
				s.source.Name, err)
		}
		s.shadow = shadow
	}
	if places := placesIn(s.shadow, taps); len(places) > 0 {
		return s.shadow, places, nil
	}
	return s.Session, states, nil
}

// outputPlaces returns a graph's outputs of the given kinds; nil unless it has all.
func outputPlaces(s engine.Session, kinds ...Kind) []place {
	var places []place
	for _, k := range kinds {
		named := func(o tensor.Spec) bool { return o.Name == string(k) }
		if !slices.ContainsFunc(s.Outputs(), named) {
			return nil
		}
		places = append(places, place{output: string(k), kind: k})
	}
	return places
}

// Run runs the session, and adds the run to the watch in ctx.
func (s *session) Run(
	ctx context.Context, in map[string]*tensor.Tensor, out ...string,
) (map[string]*tensor.Tensor, error) {
	w, _ := ctx.Value(watchKey{}).(*Watch)
	if w == nil || w.roles[s.source.Name] == "" {
		return s.Session.Run(ctx, in, out...)
	}
	role := w.roles[s.source.Name]
	shown, places, err := s.shown(ctx, role, w.Taps)
	if err != nil {
		return nil, err
	}
	if w.Wants != nil {
		places = slices.DeleteFunc(places, func(p place) bool { return !w.Wants(p.kind, p.layer) })
	}
	if len(out) == 0 {
		for _, o := range s.Outputs() {
			out = append(out, o.Name)
		}
	}
	var more []string // to ask for
	for _, p := range places {
		if !slices.Contains(out, p.output) {
			more = append(more, p.output)
		}
	}
	var results, maps map[string]*tensor.Tensor
	if shown == s.Session {
		results, err = s.Session.Run(ctx, in, append(slices.Clone(out), more...)...)
		maps = results
	} else if results, err = s.Session.Run(ctx, in, out...); err == nil && len(more) > 0 {
		maps, err = shown.Run(ctx, in, more...)
	}
	if err != nil {
		return nil, err
	}
	run := Run{In: in}
	for _, p := range places {
		t, err := p.read(maps[p.output], in[graph.PixelValues])
		if err != nil {
			return nil, err
		}
		if t != nil {
			run.Layers = append(run.Layers, Layer{p, t.Clone()})
		}
	}
	for _, name := range more {
		maps[name].Release()
		delete(maps, name)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.runs[role] = append(w.runs[role], run)
	return results, nil
}

// read returns t, a run's tensor of the place, in the shape of a Layer; nil where it has no such
// shape. pixels are the run's, nil where it has none.
func (p place) read(t, pixels *tensor.Tensor) (*tensor.Tensor, error) {
	rank, ok := encoderRanks[p.kind]
	if !ok {
		rank = 4
	}
	switch {
	case t == nil || t.DType() != tensor.Float32:
		return nil, nil
	case t.Rank() == rank:
		return t, nil
	case rank != 4 || t.Rank() != 3 || pixels == nil:
		return nil, nil
	}
	// PyTorch's MultiheadAttention has [B*heads,rows,columns].
	batch := pixels.Dim(0)
	if batch == 0 || t.Dim(0)%batch != 0 {
		return nil, nil
	}
	return t.Reshape(batch, t.Dim(0)/batch, t.Dim(1), t.Dim(2))
}

// placesIn lists where a graph shows attention: the outputs of such names or, without those or with
// taps, the taps that its engine finds; in each kind by layers.
func placesIn(s engine.Session, taps bool) []place {
	var places []place
	if !taps {
		for _, o := range s.Outputs() {
			kind, number, ok := strings.Cut(o.Name, ".")
			layer, err := strconv.Atoi(number)
			named := strings.HasSuffix(kind, "self_attn") || strings.HasSuffix(kind, "cross_attn")
			if other := optimumKinds[kind]; other != "" {
				kind, named = string(other), true
			}
			if ok && err == nil && named {
				places = append(places, place{output: o.Name, kind: Kind(kind), layer: layer})
			}
		}
		if len(places) > 0 {
			slices.SortStableFunc(places, func(a, b place) int {
				return cmp.Compare(a.layer, b.layer)
			})
			return places
		}
	}
	tapper, ok := s.(engine.Tapper)
	if !ok {
		return nil
	}
	layers := map[Kind]int{}
	for _, t := range tapper.Taps() {
		kind := kindOf(t)
		places = append(places, place{output: t.Name, kind: kind, layer: layers[kind]})
		layers[kind]++
	}
	return places
}

// kindOf returns the kind of a tap, from the inputs that its queries and keys were computed from.
func kindOf(t engine.Tap) Kind {
	from := func(sources []string, prefix, infix string) bool {
		return slices.ContainsFunc(sources, func(s string) bool {
			return strings.HasPrefix(s, prefix) && strings.Contains(s, infix)
		})
	}
	visual, visualKeys := from(t.Queries, "visual_", ""), from(t.Keys, "visual_", "")
	switch {
	case visual && visualKeys:
		return VisualSelfAttention
	case visual:
		return VisualCrossAttention
	case visualKeys, from(t.Keys, graph.PastPrefix, graph.CrossInfix),
		from(t.Keys, graph.ImageEmbeds, ""), from(t.Keys, graph.EncoderStates, ""):
		return CrossAttention
	case from(t.Keys, graph.PixelValues, "") && len(t.Queries) == 0:
		return CrossAttention // SigLIP's probe
	}
	return SelfAttention
}

// Number returns the layer's place among those of its kind, from 0.
func (l Layer) Number() int { return l.layer }

// Kind returns the maps of a kind in a run, by layers.
func (r *Run) Kind(k Kind) []Layer {
	var list []Layer
	for _, m := range r.Layers {
		if m.kind == k {
			list = append(list, m)
		}
	}
	return list
}
