package engine

// Tapper is a Session that shows the attention inside its graph, whatever the graph's outputs are.
// It is part of the contract: enginetest holds every engine whose Row says Taps to it.
type Tapper interface {
	Session
	// Taps lists the attention in the graph, in the order in which the graph computes it. It is
	// empty where the graph has none in a form that the engine recognises. The caller must not
	// change the list, which stays the same after Close.
	//
	// Run computes the probabilities of a tap when its Name is among the outputs asked for; a
	// graph's own output of that name takes precedence. A tap that was not asked for costs nothing,
	// and asking changes no other output.
	Taps() []Tap
}

// Tap is attention found in a graph: softmax(f(queries*keys')), where f scales and masks, before
// the multiplication with values.
type Tap struct {
	// Name is attention.0, attention.1 and so on, in the order of Taps. The probabilities are
	// float32 of shape [..., queries, keys]; each row sums to 1, or to 0 where the graph clears it
	// after the softmax.
	Name string
	// Queries and Keys are the graph inputs that the two were computed from other than through
	// attention, sorted: a cross-attention in a Q-Former has keys from image_embeds. Both are empty
	// where all comes from constants.
	Queries, Keys []string
}
