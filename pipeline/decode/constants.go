package decode

import (
	"maps"
	"slices"

	"github.com/crossattn/xpipe/tensor"
)

// constants are inputs that stay the same over all steps. All sequences of a prompt have equal
// rows, so rows are copied only when the prompt of some row changes: at the first step of a beam
// search and when a prompt is done, not at each step.
//
// Those of a batch that others join and leave lie in memory of its own, where rows are added behind the
// others and close the gaps of those that left: the keys and values of a picture at BLIP's base size take
// 42 MB.
type constants struct {
	prompts map[string]*tensor.Tensor // a row a prompt
	of      []int                     // the prompt of each sequence

	laid map[string]*tensor.Tensor // a row a sequence; nil: they are to be laid out
}

// rows returns the constants with a row a sequence.
func (c *constants) rows() (map[string]*tensor.Tensor, error) {
	if c.laid != nil {
		return c.laid, nil
	}
	laid := make(map[string]*tensor.Tensor, len(c.prompts))
	for name, t := range c.prompts {
		if isIdentity(c.of, t.Dim(0)) {
			laid[name] = t
			continue
		}
		var err error
		if laid[name], err = t.Take(c.of); err != nil {
			return nil, err
		}
	}
	c.laid = laid
	return laid, nil
}

// reorder makes sequence i go on from what was sequence rows[i].
func (c *constants) reorder(rows []int) {
	of := make([]int, len(rows))
	for i, r := range rows {
		of[i] = c.of[r]
	}
	if !slices.Equal(of, c.of) {
		c.of, c.laid = of, nil
	}
}

// join adds the rows of other behind c's, which are of so many prompts. other's stay as they are: they
// may be those of a picture that more is asked about.
func (c *constants) join(other *constants, prompts int) error {
	joined := make(map[string]*tensor.Tensor, len(c.prompts))
	for name, t := range c.prompts {
		var err error
		if joined[name], err = t.Append(other.prompts[name]); err != nil {
			return err
		}
	}
	c.prompts, c.laid = joined, nil
	for _, of := range other.of {
		c.of = append(c.of, prompts+of)
	}
	return nil
}

// keep forgets all prompts but some, in ascending order, of which the sequences are.
func (c *constants) keep(prompts []int) error {
	kept := maps.Clone(c.prompts)
	for name, t := range c.prompts {
		var err error
		if kept[name], err = t.Keep(prompts); err != nil {
			return err
		}
	}
	of := make([]int, len(c.of))
	for i, prompt := range c.of {
		of[i] = slices.Index(prompts, prompt)
	}
	c.prompts, c.of, c.laid = kept, of, nil
	return nil
}
