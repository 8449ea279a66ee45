package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
)

// A model that sees regions is asked "is there a X?" of a thing that a scene has once (drawn.go).
// The map is that of the word X over the regions that the model's encoder finds. A hit is a
// greatest region whose middle lies in the thing's box and which is not the whole picture. To
// delete is to leave regions out, and the probability is that of "yes".

// asked is a question about one thing of a scene.
type asked struct {
	regions  *pipeline.Regions
	question string
	word     string
	box      [4]float64 // in [0,1]
}

// readAsked takes one thing from each scene of a folder that has such.
func readAsked(
	ctx context.Context, p *pipeline.Pipeline, dir string, r *rand.Rand, most int,
) ([]asked, error) {
	var all []asked
	list, err := readDrawn(dir, r)
	if err != nil {
		return nil, err
	}
	for _, d := range list[:min(most, len(list))] {
		img, err := vision.DecodeFile(d.file)
		if err != nil {
			return nil, err
		}
		a := asked{word: d.Concept, question: "is there a " + d.Concept + "?"}
		if strings.IndexAny(d.Concept, "aeiou") == 0 {
			a.question = "is there an " + d.Concept + "?"
		}
		b := img.Bounds()
		for i, v := range d.Box {
			a.box[i] = v / float64([]int{b.Dx(), b.Dy()}[i%2])
		}
		if a.regions, err = p.Regions(ctx, img, []image.Rectangle(nil)...); err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

// holds reports whether region i is the thing: small enough not to be the picture, its middle in
// the thing's box.
func (a *asked) holds(i int) bool {
	b := tensor.Data[float32](a.regions.Boxes)[4*i : 4*i+4]
	x, y := float64(b[0]+b[2])/2, float64(b[1]+b[3])/2
	whole := b[2]-b[0] > 0.99 && b[3]-b[1] > 0.99
	return !whole && x >= a.box[0] && x <= a.box[2] && y >= a.box[1] && y <= a.box[3]
}

// look returns the map of the thing's word.
func (a *asked) look(
	ctx context.Context, p *pipeline.Pipeline, picks []pipeline.Pick,
) (pipeline.Map, error) {
	v, err := p.Attend(ctx, pipeline.Request{Regions: a.regions, Question: a.question})
	if err != nil {
		return pipeline.Map{}, err
	}
	for _, w := range v.Words() {
		if w.Text == a.word {
			return v.WordMap(w, picks...)
		}
	}
	return pipeline.Map{}, fmt.Errorf("no word %q among those of %q", a.word, a.question)
}

// yes is the probability of "yes" where the model has only some of the regions.
func (a *asked) yes(ctx context.Context, p *pipeline.Pipeline, keep []int) (float64, error) {
	width := a.regions.Features.Dim(1)
	allFeatures := tensor.Data[float32](a.regions.Features)
	allBoxes := tensor.Data[float32](a.regions.Boxes)
	var features, boxes []float32
	for _, i := range keep {
		features = append(features, allFeatures[i*width:(i+1)*width]...)
		boxes = append(boxes, allBoxes[4*i:4*i+4]...)
	}
	f, err := tensor.New([]int{len(keep), width}, features)
	if err != nil {
		return 0, err
	}
	b, err := tensor.New([]int{len(keep), 4}, boxes)
	if err != nil {
		return 0, err
	}
	request := pipeline.Request{
		Regions: &pipeline.Regions{Features: f, Boxes: b}, Question: a.question,
	}
	all := func(g *pipeline.Generation) { g.NumReturnSequences = 1000 } // all answers
	texts, err := p.Generate(ctx, []pipeline.Request{request}, all)
	if err != nil {
		return 0, err
	}
	for _, t := range texts[0] {
		if t.Text == "yes" {
			return math.Exp(t.LogProb), nil
		}
	}
	return 0, errors.New(`the model has no answer "yes"`)
}

// area is the mean probability of "yes" while things are taken away in an order, or put back. The
// whole picture, region 0, stays.
func (a *asked) area(
	ctx context.Context, p *pipeline.Pipeline, order []int, insert bool,
) (float64, error) {
	sum := 0.0
	for n := range len(order) + 1 {
		keep := append([]int{0}, order[n:]...)
		if insert {
			keep = append([]int{0}, order[:n]...)
		}
		v, err := a.yes(ctx, p, keep)
		if err != nil {
			return 0, err
		}
		weight := 1 / float64(len(order))
		if n == 0 || n == len(order) { // trapezoids
			weight /= 2
		}
		sum += weight * v
	}
	return sum, nil
}

// evaluateRegions plays the pointing game and follows the curves over regions.
func (e *evaluation) evaluateRegions(ctx context.Context, p *pipeline.Pipeline, dir string) error {
	n, curves := e.scenes, e.curves
	r := rand.New(rand.NewPCG(e.seed, 4))
	all, err := readAsked(ctx, p, dir, r, n+n/2)
	if err != nil {
		return notThere(err)
	}
	if len(all) < 3 {
		return fmt.Errorf("%d scenes in %s", len(all), dir)
	}
	request := pipeline.Request{Regions: all[0].regions, Question: all[0].question}
	first, err := p.Attend(ctx, request)
	if err != nil {
		return err
	}
	point := func(over []asked, ways []way) (hits []int, err error) {
		hits = make([]int, len(ways))
		for _, a := range over {
			for i, w := range ways {
				m, err := a.look(ctx, p, w.pick)
				if err != nil {
					return nil, err
				}
				if a.holds(best(m.Weights)) {
					hits[i]++
				}
			}
		}
		return hits, nil
	}
	// Choose a layer and head on other scenes.
	ways := regionWays(first)
	others, over := all[:len(all)/3], all[len(all)/3:]
	hits, err := point(others, ways)
	if err != nil {
		return err
	}
	at := 2 + best(hits[2:])
	chosen := []way{ways[0], ways[1], {"best of other scenes: " + ways[at].name, ways[at].pick}}
	if hits, err = point(over, chosen); err != nil {
		return err
	}
	chance := 0.0
	for _, a := range over {
		for i := range a.regions.Boxes.Dim(0) {
			if a.holds(i) {
				chance += 1 / float64(len(over)*a.regions.Boxes.Dim(0))
			}
		}
	}
	e.printf("  pointing game over regions, %d scenes, chance %.1f %%, floor %.0f %%, goal %.0f %%\n",
		len(over), 100*chance, 100*pointingFloor, 100*pointingGoal)
	for i, w := range chosen {
		rate := float64(hits[i]) / float64(len(over))
		low, high := wilson(rate, len(over))
		e.printf("    %5.1f %% (95 %%: %.1f to %.1f)  %s\n", 100*rate, 100*low, 100*high, w.name)
	}
	titles := []string{"deletion (small is faithful)", "insertion (large is faithful)"}
	for kind, name := range titles {
		e.printf("  %s of regions, P(yes), %d scenes\n", name, min(curves, len(over)))
		for i, w := range chosen {
			var areas, differences []float64
			for _, a := range over[:min(curves, len(over))] {
				m, err := a.look(ctx, p, w.pick)
				if err != nil {
					return err
				}
				order := descending(m.Weights[1:])
				for i := range order {
					order[i]++ // from 1: region 0 is the whole picture
				}
				v, err := a.area(ctx, p, order, kind == 1)
				if err != nil {
					return err
				}
				random := 0.0
				const orders = 4
				for range orders {
					r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
					x, err := a.area(ctx, p, order, kind == 1)
					if err != nil {
						return err
					}
					random += x / orders
				}
				areas, differences = append(areas, v), append(differences, v-random)
			}
			low, high := bootstrap(r, differences)
			if kind == 0 && i == 0 {
				e.floor(p.Bundle().Name, float64(hits[0])/float64(len(over)), high)
			}
			e.printf("    %.3f, %+.3f against random (95 %%: %+.3f to %+.3f)  %s\n",
				mean(areas), mean(differences), low, high, w.name)
		}
	}
	return nil
}

// regionWays are the ways to make a map of the first stage, words over regions.
func regionWays(a *pipeline.Attention) []way {
	s := a.Stages[0]
	ways := []way{{"mean", nil}, {"rollout", []pipeline.Pick{{Rollout: s.Rollout != nil}}}}
	for l := range s.Layers {
		for h := range s.Heads + 1 {
			name := fmt.Sprintf("layer %d", l+1)
			if h > 0 {
				name = fmt.Sprintf("layer %d, head %d", l+1, h)
			}
			ways = append(ways, way{name, []pipeline.Pick{{Layer: l + 1, Head: h}}})
		}
	}
	return ways
}
