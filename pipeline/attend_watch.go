package pipeline

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
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/tensor"
)

// watch keeps the attention of graphs while they run under a context that has it:
// so decoding, prompts and caches are those of any other call.
type watch struct {
	roles []string // whose graphs are watched
	taps  bool     // look inside the graphs even where outputs say the same

	mu       sync.Mutex
	runs     map[string][]watchedRun // by role, in order
	pictures []int                   // rows of the encoder's batch that the prompt shows, one after another
}

// shows notes the pictures of a prompt, where a watch is on.
func shows(ctx context.Context, pictures []int) {
	if w, _ := ctx.Value(watchKey{}).(*watch); w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.pictures = pictures
	}
}

// watchedRun is one run of a graph.
type watchedRun struct {
	maps []attentionMap
	in   map[string]*tensor.Tensor
}

// attentionKind is what attends to what, in the names of exported outputs.
type attentionKind string

const (
	selfAttention        attentionKind = "self_attn"
	crossAttention       attentionKind = "cross_attn"
	visualSelfAttention  attentionKind = "visual_self_attn"
	visualCrossAttention attentionKind = "visual_cross_attn"
)

// What an image encoder shows that is no attention, and leads to places all the
// same. Its output has the kind's name.
const (
	imagePlaces attentionKind = "image_places"      // [B,N,cells], from where each token of the picture comes
	cellStates  attentionKind = "last_hidden_state" // [B,cells,D], of a convolutional encoder
	pooledState attentionKind = "pooled_output"     // [B,D], channel by channel of cellStates
)

var encoderRanks = map[attentionKind]int{imagePlaces: 3, cellStates: 3, pooledState: 2}

// attentionPlace is where a graph shows attention.
type attentionPlace struct {
	output string // what Run is asked for
	kind   attentionKind
	layer  int
}

// attentionMap is [B,heads,rows,columns]; what an image encoder shows, as its kind
// says.
type attentionMap struct {
	attentionPlace
	*tensor.Tensor
}

type watchKey struct{}

// watchedSession runs a graph, and under a watch asks it for its attention too.
type watchedSession struct {
	engine.Session
	role    string
	source  engine.Source
	options engine.Options

	mu     sync.Mutex
	shadow engine.Session // the graph on the Go engine, where the engine shows nothing
}

// Close closes the shadow too.
func (s *watchedSession) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.Session.Close()
	if s.shadow != nil {
		err = errors.Join(err, s.shadow.Close())
		s.shadow = nil
	}
	return err
}

// shown returns the session that shows the graph's attention, and where: the
// engine's own, or else a second one on the Go engine, opened once. An image
// encoder may say instead from where its tokens come, and, where it has no
// attention, what each cell of the picture came to.
func (s *watchedSession) shown(ctx context.Context, taps bool) (engine.Session, []attentionPlace, error) {
	var states []attentionPlace
	if s.role == visionRole {
		if places := outputPlaces(s.Session, imagePlaces); places != nil {
			return s.Session, places, nil
		}
		states = outputPlaces(s.Session, cellStates, pooledState)
	}
	if places := attentionPlaces(s.Session, taps); len(places) > 0 {
		return s.Session, places, nil
	}
	if _, looked := s.Session.(engine.Tapper); looked {
		return s.Session, states, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shadow == nil {
		session, err := fallback.New().Open(ctx, s.source, engine.Options{Threads: s.options.Threads, MemoryLimit: s.options.MemoryLimit})
		if err != nil && states != nil && ctx.Err() == nil {
			return s.Session, states, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("looking inside %s, whose attention the engine does not show: %w", s.source.Name, err)
		}
		s.shadow = session
	}
	if places := attentionPlaces(s.shadow, taps); len(places) > 0 {
		return s.shadow, places, nil
	}
	return s.Session, states, nil
}

// outputPlaces are a graph's outputs of the given kinds; nil unless it has all.
func outputPlaces(s engine.Session, kinds ...attentionKind) []attentionPlace {
	var places []attentionPlace
	for _, k := range kinds {
		if !hasOutput(s, string(k)) {
			return nil
		}
		places = append(places, attentionPlace{output: string(k), kind: k})
	}
	return places
}

// Run is the session's. What it is given comes from the bundle's other parts, so
// that an input which does not fit is the bundle's fault.
func (s *watchedSession) Run(ctx context.Context, in map[string]*tensor.Tensor, out ...string) (map[string]*tensor.Tensor, error) {
	results, err := s.run(ctx, in, out...)
	if errors.Is(err, engine.ErrInput) {
		err = fmt.Errorf("%w: the graph %s does not fit the rest of it: %w", ErrBundle, s.role, err)
	}
	return results, err
}

func (s *watchedSession) run(ctx context.Context, in map[string]*tensor.Tensor, out ...string) (map[string]*tensor.Tensor, error) {
	w, _ := ctx.Value(watchKey{}).(*watch)
	if w == nil || !slices.Contains(w.roles, s.role) {
		return s.Session.Run(ctx, in, out...)
	}
	shown, places, err := s.shown(ctx, w.taps)
	if err != nil {
		return nil, err
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
	run := watchedRun{in: in}
	for _, p := range places {
		rank, ok := encoderRanks[p.kind]
		if !ok {
			rank = 4
		}
		t := maps[p.output]
		if t == nil || t.DType() != tensor.Float32 {
			continue
		}
		if pixels := in["pixel_values"]; rank == 4 && t.Rank() == 3 && pixels != nil && pixels.Dim(0) > 0 && t.Dim(0)%pixels.Dim(0) == 0 {
			// PyTorch's MultiheadAttention has [B*heads,rows,columns].
			if t, err = tensor.New([]int{pixels.Dim(0), t.Dim(0) / pixels.Dim(0), t.Dim(1), t.Dim(2)}, tensor.Data[float32](t)); err != nil {
				return nil, err
			}
		}
		if t.Rank() == rank {
			run.maps = append(run.maps, attentionMap{p, t.Clone()})
		}
	}
	for _, name := range more {
		maps[name].Release()
		delete(maps, name)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.runs == nil {
		w.runs = map[string][]watchedRun{}
	}
	w.runs[s.role] = append(w.runs[s.role], run)
	return results, nil
}

// attentionPlaces lists where a graph shows attention: its outputs of that name,
// or else, or with taps, what its engine finds inside; in each kind by layers.
func attentionPlaces(s engine.Session, taps bool) []attentionPlace {
	var places []attentionPlace
	if !taps {
		for _, o := range s.Outputs() {
			kind, number, ok := strings.Cut(o.Name, ".")
			layer, err := strconv.Atoi(number)
			if ok && err == nil && (strings.HasSuffix(kind, "self_attn") || strings.HasSuffix(kind, "cross_attn")) {
				places = append(places, attentionPlace{output: o.Name, kind: attentionKind(kind), layer: layer})
			}
		}
		if len(places) > 0 {
			slices.SortStableFunc(places, func(a, b attentionPlace) int { return cmp.Compare(a.layer, b.layer) })
			return places
		}
	}
	tapper, ok := s.(engine.Tapper)
	if !ok {
		return nil
	}
	layers := map[attentionKind]int{}
	for _, t := range tapper.Taps() {
		kind := kindOf(t)
		places = append(places, attentionPlace{output: t.Name, kind: kind, layer: layers[kind]})
		layers[kind]++
	}
	return places
}

// kindOf tells kinds apart by what queries and keys were computed from.
func kindOf(t engine.Tap) attentionKind {
	from := func(sources []string, prefix, infix string) bool {
		return slices.ContainsFunc(sources, func(s string) bool { return strings.HasPrefix(s, prefix) && strings.Contains(s, infix) })
	}
	visual := from(t.Queries, "visual_", "")
	switch {
	case visual && from(t.Keys, "visual_", ""):
		return visualSelfAttention
	case visual:
		return visualCrossAttention
	case from(t.Keys, "visual_", ""), from(t.Keys, pastPrefix, ".encoder."), from(t.Keys, "image_embeds", ""):
		return crossAttention
	case from(t.Keys, "pixel_values", "") && len(t.Queries) == 0:
		return crossAttention // SigLIP's probe
	}
	return selfAttention
}

// kind returns the maps of a kind in a run, by layers.
func (r *watchedRun) kind(k attentionKind) []attentionMap {
	var list []attentionMap
	for _, m := range r.maps {
		if m.kind == k {
			list = append(list, m)
		}
	}
	return list
}
