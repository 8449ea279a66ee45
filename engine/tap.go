package engine

// Tapper is a Session that shows the attention inside its graph, whatever the
// graph's outputs are.
type Tapper interface {
	Session
	// Taps lists the places, in the order in which the graph computes them. Run
	// gives the probabilities of one when asked for the tap's Name among the
	// outputs; not asked for, a tap costs nothing. The caller must not change the
	// list.
	Taps() []Tap
}

// Tap is attention found in a graph: softmax(scores of queries and keys), about to
// be multiplied with values.
type Tap struct {
	Name string // attention.0, attention.1 ...; float32 [...,queries,keys]
	// Queries and Keys are the graph inputs that the two were computed from
	// other than through attention: a cross-attention in a Q-Former has keys
	// from image_embeds. What comes from constants alone has none.
	Queries, Keys []string
}
