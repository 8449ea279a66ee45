package enginebench

import "fmt"

// Curve is a graph in several sizes, to show how its time grows with one of them.
type Curve struct {
	Name, About string
	Points      []Point
}

// Point is the graph at one size.
type Point struct {
	X int
	Graph
}

// Curves lists the curves: the Q-Former by image tokens, batch and layers, and OPT-125m by the text
// it reads at once and by the text before the token it adds.
func Curves() []Curve {
	type sized func(n int) (dims map[string]int, build func() *Model)
	curve := func(name, about string, sizes []int, at sized) Curve {
		c := Curve{Name: name, About: about}
		for _, n := range sizes {
			dims, build := at(n)
			c.Points = append(c.Points,
				Point{n, Graph{fmt.Sprintf("%s/%d", name, n), about, dims, build}})
		}
		return c
	}
	queries := func(tokens, batch, layers int) (map[string]int, func() *Model) {
		dims := map[string]int{"batch": batch}
		return dims, func() *Model { return qformer(batch, tokens, layers, asFloats) }
	}
	steps := func(length, past int) (map[string]int, func() *Model) {
		dims := map[string]int{"length": length, "past": past, "total": length + past}
		return dims, func() *Model { return opt(length, past, asFloats) }
	}
	return []Curve{
		curve("tokens", "Q-Former by image tokens", []int{65, 129, 257, 513, 1025},
			func(n int) (map[string]int, func() *Model) { return queries(n, 1, 12) }),
		curve("batch", "Q-Former by images in a batch", []int{1, 2, 4, 8},
			func(n int) (map[string]int, func() *Model) { return queries(257, n, 12) }),
		curve("layers", "Q-Former by layers", []int{2, 6, 12, 24},
			func(n int) (map[string]int, func() *Model) { return queries(257, 1, n) }),
		curve("text", "OPT-125m by tokens read at once", []int{8, 16, 32, 64, 128, 256},
			func(n int) (map[string]int, func() *Model) { return steps(n, 0) }),
		curve("cache", "OPT-125m, one token, by tokens before it", []int{0, 64, 256, 1024},
			func(n int) (map[string]int, func() *Model) { return steps(1, n) }),
	}
}
