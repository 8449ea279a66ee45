package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/pipeline"
)

// The floors that the maps of a default model should reach.
const (
	pointingFloor = 0.70
	pointingGoal  = 0.90
)

// evaluation is what is measured, and where its figures go.
type evaluation struct {
	io.Writer
	dir            string // with drawings and scenes
	seed           uint64
	scenes, curves int
	below          []string // floors that are missed
}

func (e *evaluation) printf(format string, args ...any) { fmt.Fprintf(e, format, args...) }

// floor notes where a model's default map, the mean, is below the floors.
func (e *evaluation) floor(model string, pointing, deletion float64) {
	if pointing < pointingFloor {
		e.below = append(e.below, fmt.Sprintf("%s points right in %.1f %%, the floor is %.0f %%",
			model, 100*pointing, 100*pointingFloor))
	}
	if deletion >= 0 {
		e.below = append(e.below, model+": deletion is not told from random")
	}
}

// view is what a model makes of a scene.
type view struct {
	*pipeline.Attention
	word        pipeline.Word // the object's
	probability float64       // of the object
}

// look shows a picture of the scene to the model.
func (s *scene) look(
	ctx context.Context, p *pipeline.Pipeline, img image.Image,
) (*view, error) {
	var v view
	var err error
	caption := s.caption
	can := p.Abilities()
	if can.Match {
		request := pipeline.Request{Image: img, Question: caption}
		if v.Attention, err = p.Attend(ctx, request); err != nil {
			return nil, err
		}
		matches, err := p.Match(ctx, img, s.others...)
		if err != nil {
			return nil, err
		}
		v.probability = matches[0].Probability
		v.word = pipeline.Word{Text: caption}
		return &v, nil
	}
	request, text := pipeline.Request{Image: img}, caption
	if can.Examples {
		request.Shots, text = shotsOf(caption), called
	}
	if v.Attention, err = p.AttendText(ctx, request, text); err != nil {
		return nil, err
	}
	words := v.Words()
	v.word = words[len(words)-1]
	logProb := 0.0
	for _, t := range v.Text.Tokens[v.word.First:] {
		logProb += t.LogProb
	}
	v.probability = math.Exp(logProb)
	return &v, nil
}

// way is a way to make a map of a result's stages.
type way struct {
	name string
	pick []pipeline.Pick
}

// evaluate measures one model.
func (e *evaluation) evaluate(ctx context.Context, name string) error {
	p, err := api.Open(ctx, name, pipeline.WithEngine(fallback.New()))
	if err != nil {
		return err
	}
	defer p.Close()
	e.printf("%s (%s), seed %d\n", p.Bundle().Name, p.Bundle().Family, e.seed)
	drawings, can := filepath.Join(e.dir, "eval/scenes"), p.Abilities()
	if can.Regions {
		return e.evaluateRegions(ctx, p, drawings)
	}
	if !can.Match {
		pointing, deletion, err := e.evaluateScenes(ctx, p, newScene)
		if err == nil {
			e.floor(p.Bundle().Name, pointing, deletion)
		}
		return e.unlessUnsupported(err)
	}
	needed := 1 + e.scenes/2 + e.scenes + e.curves
	for i, read := range []func(r *rand.Rand) ([]*scene, error){
		func(r *rand.Rand) ([]*scene, error) {
			return single(filepath.Join(e.dir, "train/sprites"), needed, r)
		},
		func(r *rand.Rand) ([]*scene, error) { return amongOthers(drawings, r) },
	} {
		e.printf("  %s\n", []string{"single drawings", "one thing among others"}[i])
		scenes, err := read(rand.New(rand.NewPCG(e.seed, 5)))
		if err != nil {
			return notThere(err)
		}
		if len(scenes) < needed {
			return fmt.Errorf("%d scenes are needed, there are %d", needed, len(scenes))
		}
		pointing, deletion, err := e.evaluateScenes(ctx, p, inTurn(scenes))
		if err != nil {
			return e.unlessUnsupported(err)
		}
		if i == 0 { // that of all models: one thing on a plain ground
			e.floor(p.Bundle().Name, pointing, deletion)
		}
	}
	return nil
}

// notThere says how to get the drawings that an error misses.
func notThere(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: tools/train/evaluate.py --sets makes them", err)
	}
	return err
}

// unlessUnsupported says of a model that has no attention maps to judge that it has none.
func (e *evaluation) unlessUnsupported(err error) error {
	if errors.Is(err, pipeline.ErrUnsupported) {
		e.printf("  not measured: %v\n", err)
		return nil
	}
	return err
}

// evaluateScenes prints all figures over the scenes that draw gives, and returns those of the mean:
// the rate at which it points right, and the upper end of the interval of its deletion area against
// random.
func (e *evaluation) evaluateScenes(
	ctx context.Context, p *pipeline.Pipeline, draw func(*rand.Rand) *scene,
) (pointing, deletion float64, err error) {
	n, seed := e.scenes, e.seed
	first := draw(rand.New(rand.NewPCG(seed, 0)))
	v, err := first.look(ctx, p, first.img)
	if err != nil {
		return 0, 0, err
	}
	// Choose a layer and head on scenes of another seed.
	ways := append([]way{}, waysOf(v.Attention)...)
	chosen := ways[:min(2, len(ways))]
	if len(ways) > 2 {
		hits, _, err := point(ctx, p, draw, rand.New(rand.NewPCG(seed, 1)), n/2, ways)
		if err != nil {
			return 0, 0, err
		}
		at := 2 + best(hits[2:])
		chosen = append(chosen[:2:2], way{"best of other scenes: " + ways[at].name, ways[at].pick})
	}
	hits, chance, err := point(ctx, p, draw, rand.New(rand.NewPCG(seed, 2)), n, chosen)
	if err != nil {
		return 0, 0, err
	}
	e.printf("  pointing game, %d scenes, chance %.1f %%, floor %.0f %%, goal %.0f %%\n",
		n, 100*chance, 100*pointingFloor, 100*pointingGoal)
	for i, w := range chosen {
		rate := float64(hits[i]) / float64(n)
		verdict := "below the floor"
		switch {
		case rate >= pointingGoal:
			verdict = "reaches the goal"
		case rate >= pointingFloor:
			verdict = "reaches the floor"
		}
		low, high := wilson(rate, n)
		e.printf("    %5.1f %% (95 %%: %.1f to %.1f)  %s: %s\n",
			100*rate, 100*low, 100*high, w.name, verdict)
	}
	deletion, err = e.follow(ctx, p, draw, rand.New(rand.NewPCG(seed, 3)), chosen)
	return float64(hits[0]) / float64(n), deletion, err
}

// waysOf lists the mean, the rollout, and each layer and head of the stage that leads to the
// patches: the second, behind words over queries, or the only one.
func waysOf(a *pipeline.Attention) []way {
	chosen := min(1, len(a.Stages)-1)
	pick := func(p pipeline.Pick) []pipeline.Pick {
		picks := make([]pipeline.Pick, len(a.Stages))
		picks[chosen] = p
		return picks
	}
	roll := make([]pipeline.Pick, len(a.Stages))
	for i, s := range a.Stages {
		roll[i].Rollout = s.Rollout != nil
	}
	ways := []way{{"mean", nil}, {"rollout", roll}}
	if len(a.Stages) == 1 && a.Stages[0].Layers*a.Stages[0].Heads == 1 { // all ways are one
		return ways[:1]
	}
	for l := range a.Stages[chosen].Layers {
		for h := range a.Stages[chosen].Heads + 1 {
			name := fmt.Sprintf("layer %d, head %d of %s", l+1, h, a.Stages[chosen].Name)
			if h == 0 {
				name = fmt.Sprintf("layer %d of %s", l+1, a.Stages[chosen].Name)
			}
			ways = append(ways, way{name, pick(pipeline.Pick{Layer: l + 1, Head: h})})
		}
	}
	return ways
}

// point plays the pointing game: hits of each way, and what chance would hit.
func point(
	ctx context.Context, p *pipeline.Pipeline, draw func(*rand.Rand) *scene, r *rand.Rand, n int,
	ways []way,
) (hits []int, chance float64, err error) {
	hits = make([]int, len(ways))
	for range n {
		s := draw(r)
		v, err := s.look(ctx, p, s.img)
		if err != nil {
			return nil, 0, err
		}
		for i, w := range ways {
			m, err := v.WordMap(v.word, w.pick...)
			if err != nil {
				return nil, 0, err
			}
			for c := range m.Weights {
				if i == 0 && s.holds(m, c) {
					chance += 1 / float64(n*len(m.Weights))
				}
			}
			if s.holds(m, best(m.Weights)) {
				hits[i]++
			}
		}
	}
	return hits, chance, nil
}

// follow prints the areas under deletion and insertion curves, and returns the upper end of the
// interval of the first way's deletion against random.
func (e *evaluation) follow(
	ctx context.Context, p *pipeline.Pipeline, draw func(*rand.Rand) *scene, r *rand.Rand,
	ways []way,
) (upper float64, err error) {
	const orders = 2 // random orders a scene
	n := e.curves
	var areas [2][][]float64
	for kind := range areas {
		areas[kind] = make([][]float64, len(ways)+1) // the last is of random orders
	}
	for range n {
		s := draw(r)
		v, err := s.look(ctx, p, s.img)
		if err != nil {
			return 0, err
		}
		for i := range len(ways) + 1 {
			var order [][]int
			m, err := v.WordMap(v.word, ways[min(i, len(ways)-1)].pick...)
			if err != nil {
				return 0, err
			}
			if i < len(ways) {
				order = [][]int{descending(m.Weights)}
			} else {
				for range orders {
					order = append(order, r.Perm(len(m.Weights)))
				}
			}
			for kind := range areas {
				mean := 0.0
				for _, cells := range order {
					area, err := s.area(ctx, p, m, cells, kind == 1)
					if err != nil {
						return 0, err
					}
					mean += area / float64(len(order))
				}
				areas[kind][i] = append(areas[kind][i], mean)
			}
		}
	}
	titles := []string{"deletion area (less is better)", "insertion area (more is better)"}
	for kind, title := range titles {
		random := areas[kind][len(ways)]
		e.printf("  %s, %d scenes; random orders %.3f\n", title, n, mean(random))
		for i, w := range ways {
			differences := make([]float64, n)
			for k := range differences {
				differences[k] = areas[kind][i][k] - random[k]
			}
			low, high := bootstrap(r, differences)
			if kind == 0 && i == 0 {
				upper = high
			}
			verdict := "not told from random"
			if better := [2]bool{high < 0, low > 0}[kind]; better {
				verdict = "better than random"
			} else if low > 0 || high < 0 {
				verdict = "worse than random"
			}
			e.printf("    %.3f, %+.3f against random (95 %%: %+.3f to %+.3f)  %s: %s\n",
				mean(areas[kind][i]), mean(differences), low, high, w.name, verdict)
		}
	}
	return upper, nil
}
