package pipeline

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/tensor"
)

// watch keeps the attention of graphs while they run under a context that has it:
// so decoding, prompts and caches are those of any other call.
type watch struct {
	roles []string // whose graphs are watched
	taps  bool     // look inside the graphs even where outputs say the same

	mu   sync.Mutex
	runs map[string][]watchedRun // by role, in order
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

// attentionPlace is where a graph shows attention.
type attentionPlace struct {
	output string // what Run is asked for
	kind   attentionKind
	layer  int
}

// attentionMap is [B,heads,rows,columns].
type attentionMap struct {
	attentionPlace
	*tensor.Tensor
}

type watchKey struct{}

// watchedSession runs a graph, and under a watch asks it for its attention too.
type watchedSession struct {
	engine.Session
	role string
}

func (s *watchedSession) Run(ctx context.Context, in map[string]*tensor.Tensor, out ...string) (map[string]*tensor.Tensor, error) {
	w, _ := ctx.Value(watchKey{}).(*watch)
	if w == nil || !slices.Contains(w.roles, s.role) {
		return s.Session.Run(ctx, in, out...)
	}
	places := attentionPlaces(s.Session, w.taps)
	if len(out) == 0 {
		for _, o := range s.Outputs() {
			out = append(out, o.Name)
		}
	}
	names := slices.Clone(out)
	for _, p := range places {
		if !slices.Contains(names, p.output) {
			names = append(names, p.output)
		}
	}
	results, err := s.Session.Run(ctx, in, names...)
	if err != nil {
		return nil, err
	}
	run := watchedRun{in: in}
	for _, p := range places {
		if t := results[p.output]; t != nil && t.Rank() == 4 && t.DType() == tensor.Float32 {
			run.maps = append(run.maps, attentionMap{p, t.Clone()})
		}
		if !slices.Contains(out, p.output) {
			results[p.output].Release()
			delete(results, p.output)
		}
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
