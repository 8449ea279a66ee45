// Package media names what models see, hear and read: items of any kind (a picture, a sound, a
// film, a page) and the named tensors that front ends make of them. It holds types alone. Decoding
// files is the front ends' (vision and its like), running models package pipeline's.
package media

import (
	"context"
	"errors"
	"image"
	"reflect"

	"github.com/crossattn/xpipe/tensor"
)

// Kind says what an item is.
type Kind string

// The kinds of media. A model states which of them it takes.
const (
	Pictures Kind = "picture"
	Regions  Kind = "regions" // what an object detector saw in a picture
	Sounds   Kind = "sound"
	Films    Kind = "film"
	Pages    Kind = "page"
)

// Item is one decoded picture, sound, film or page. Items are compared by identity (see Same), so
// an item that several requests share should be one pointer: it is encoded once.
type Item interface {
	Kind() Kind
}

// Picture is an image.Image as an Item.
type Picture struct{ image.Image }

// Kind is Pictures.
func (Picture) Kind() Kind { return Pictures }

// Same reports whether a and b are one item: the same pointer, not merely equal content.
func Same(a, b Item) bool { return samePointer(inside(a), inside(b)) }

func inside(item Item) any {
	if p, ok := item.(Picture); ok {
		return p.Image
	}
	return item
}

func samePointer(a, b any) bool {
	return reflect.TypeOf(a) == reflect.TypeOf(b) && a != nil &&
		reflect.ValueOf(a).Kind() == reflect.Pointer && a == b
}

// Prepared are the named tensors that a front end made of items of one kind. A graph is given
// those that it has inputs for.
type Prepared struct {
	// Tensors by the names that graphs take them by: pixel_values [N,3,H,W],
	// pixel_attention_mask, input_features, image_grid_thw ... The first dimension of each counts
	// what Rows speaks of.
	Tensors map[string]*tensor.Tensor
	// Rows says which rows item i became, from Rows[i][0] up to but not including Rows[i][1]:
	// one for a picture that is not cut up; several for tiles, frames or windows.
	Rows [][2]int
	// Grids are the columns and rows of tiles of each item; nil where nothing is cut up.
	Grids []image.Point
}

// Items is how many items were prepared.
func (p Prepared) Items() int { return len(p.Rows) }

// Preparer is a front end with a model's preprocessor configuration: it turns decoded items of
// one kind into what the model's graphs take.
type Preparer interface {
	// Prepare returns the tensors of all the items. Its errors wrap those of the front end
	// (vision.ErrImage, vision.ErrLimit) or ctx.Err().
	Prepare(ctx context.Context, items []Item) (Prepared, error)
}

// ErrLimit is wrapped by errors about what is refused for its size, before memory is taken for it.
// Package pipeline and the front ends export it under the same name.
var ErrLimit = errors.New("image limit")
