package pipeline

import (
	"fmt"
	"image"

	"github.com/crossattn/xpipe/pipeline/family"
)

// The places that an answer names; package family defines them.
type (
	// Found is what an answer says: its text without marks of places, and the places.
	Found = family.Found
	// Place is a part of a picture that a text names.
	Place = family.Place
)

// Find returns the places that a text, written for the request, names in the request's picture: the
// boxes, corners and outlines of Florence-2's tasks, in pixels. A picture that Prepare or Encode took
// will do. Models that name none give
// ErrUnsupported.
func (p *Pipeline) Find(request Request, text string) (Found, error) {
	m, ok := p.model.(family.Locator)
	if !ok {
		return Found{}, p.unsupported("name places in a picture")
	}
	prompts, err := p.prompts([]Request{request})
	if err != nil {
		return Found{}, err
	}
	for _, item := range prompts[0].items {
		if picture, ok := item.(interface{ Bounds() image.Rectangle }); ok {
			size := picture.Bounds()
			return m.Find(prompts[0].text, text, size.Dx(), size.Dy()), nil
		}
	}
	return Found{}, fmt.Errorf("%w: the places are in pixels of the picture; give it, too", ErrImage)
}
