package main

import (
	"math/rand/v2"
	"slices"

	"github.com/crossattn/xpipe/pipeline"
)

// called is the made-up name by which the examples call a scene's object. It is the text that a
// model of Flamingo's kind is made to write.
const called = "zudo"

// otherNames are what the examples call two other objects.
var otherNames = []string{"kemi", "lopa"}

// examples keeps the shots of each caption, which take long to draw. One goroutine uses it.
var examples = map[string][]pipeline.Shot{}

// shotsOf shows three objects with a name each: one like the caption's, drawn elsewhere at another
// size, and two of other shapes and colours.
func shotsOf(caption string) []pipeline.Shot {
	if shots, ok := examples[caption]; ok {
		return shots
	}
	all := captions()
	i := slices.Index(all, caption)
	r := rand.New(rand.NewPCG(uint64(i), 7))
	draw := func(caption string) *scene {
		for {
			if s := newScene(r); s.caption == caption {
				return s
			}
		}
	}
	var shots []pipeline.Shot
	for k, name := range otherNames {
		shots = append(shots, pipeline.Shot{Image: draw(all[(i+7+6*k)%len(all)]).img, Text: name})
	}
	shots = slices.Insert(shots, i%3, pipeline.Shot{Image: draw(caption).img, Text: called})
	examples[caption] = shots
	return shots
}
