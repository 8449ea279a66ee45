// Package media defines the inputs of models beside text: items of any kind (a picture, a sound, a
// film, a page) and the named tensors that front ends make of them. It holds types alone. Front
// ends such as vision decode files, package pipeline runs models.
package media

import (
	"context"
	"errors"
	"fmt"
	"image"
	"reflect"
	"slices"

	"github.com/crossattn/xpipe/tensor"
)

// Kind is a kind of media.
type Kind string

// The kinds of media. A model states which of them it takes.
const (
	Pictures Kind = "picture"
	Regions  Kind = "regions" // an object detector's output for a picture
	Sounds   Kind = "sound"
	Films    Kind = "film"
	Pages    Kind = "page"
)

// Item is one decoded picture, sound, film or page. Items are compared by identity (see Same): pass
// the same pointer in several requests to have an item encoded once.
type Item interface {
	Kind() Kind
}

// Picture is an image.Image as an Item.
type Picture struct{ image.Image }

// Kind returns Pictures.
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

// Prepared holds the named tensors that a front end made of items of one kind. A graph gets those
// that it has inputs for.
type Prepared struct {
	// Tensors by the names of graphs' inputs: pixel_values [N,3,H,W], pixel_attention_mask,
	// input_features, image_grid_thw ... Their first dimension is the one that Rows divides.
	Tensors map[string]*tensor.Tensor
	// Rows are the tensors' rows for item i, from Rows[i][0] up to but not including Rows[i][1]:
	// one for a whole picture, several for tiles, frames or windows.
	Rows [][2]int
	// Grids are the columns and rows of tiles of each item; nil without tiles.
	Grids []image.Point
}

// Items returns the number of items that were prepared.
func (p Prepared) Items() int { return len(p.Rows) }

// Item returns what was prepared of item i alone. It shares the tensors' memory.
func (p Prepared) Item(i int) (Prepared, error) {
	from, to := p.Rows[i][0], p.Rows[i][1]
	one := Prepared{Tensors: map[string]*tensor.Tensor{}, Rows: [][2]int{{0, to - from}}}
	if p.Grids != nil {
		one.Grids = p.Grids[i : i+1]
	}
	for name, t := range p.Tensors {
		rows, err := t.Slice(from, to)
		if err != nil {
			return Prepared{}, fmt.Errorf("%s: %w", name, err)
		}
		one.Tensors[name] = rows
	}
	return one, nil
}

// sizing are the tensors that tell what of others is padding: masks of pixels, and heights and widths.
var sizing = []string{"pixel_attention_mask", "pixel_mask", "image_sizes"}

// Join makes one of several, in their order. Their tensors have to be of the same names, types and
// shapes, but for the rows and, where a mask or sizes tell what is padding, the height and width of
// pictures: smaller ones get zeros to the right and below.
func Join(list ...Prepared) (Prepared, error) {
	joined := Prepared{Tensors: map[string]*tensor.Tensor{}}
	at := 0
	for _, p := range list {
		end := at
		for _, rows := range p.Rows {
			joined.Rows = append(joined.Rows, [2]int{at + rows[0], at + rows[1]})
			end = max(end, at+rows[1])
		}
		joined.Grids = append(joined.Grids, p.Grids...)
		at = end
	}
	if len(list) == 0 {
		return joined, nil
	}
	for name, first := range list[0].Tensors {
		parts := make([]*tensor.Tensor, len(list))
		for i, p := range list {
			t := p.Tensors[name]
			if t == nil || len(p.Tensors) != len(list[0].Tensors) ||
				t.DType() != first.DType() || !joinable(list[0], t.Shape(), first.Shape()) {
				return Prepared{}, fmt.Errorf("item %d comes out as %v and the first as %v",
					i+1, t, first)
			}
			parts[i] = t
		}
		var err error
		switch first.DType() {
		case tensor.Float32:
			joined.Tensors[name], err = join[float32](parts)
		case tensor.Int64:
			joined.Tensors[name], err = join[int64](parts)
		case tensor.Bool:
			joined.Tensors[name], err = join[bool](parts)
		default:
			err = fmt.Errorf("items of %v cannot be joined", first.DType())
		}
		if err != nil {
			return Prepared{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	return joined, nil
}

// joinable reports whether a tensor of one shape may follow one of another in p.
func joinable(p Prepared, shape, first []int) bool {
	if slices.Equal(shape[1:], first[1:]) {
		return true
	}
	n := len(shape)
	told := slices.ContainsFunc(sizing, func(name string) bool { return p.Tensors[name] != nil })
	return told && n == len(first) && n > 2 && slices.Equal(shape[1:n-2], first[1:n-2])
}

// join puts tensors of one element type one behind the other along their first dimension. Planes that
// are smaller than others are padded with zeros. One alone is itself.
func join[T tensor.Element](parts []*tensor.Tensor) (*tensor.Tensor, error) {
	if len(parts) == 1 {
		return parts[0], nil
	}
	shape := slices.Clone(parts[0].Shape())
	shape[0] = 0
	for _, t := range parts {
		shape[0] += t.Dim(0)
		for i := 1; i < len(shape); i++ {
			shape[i] = max(shape[i], t.Dim(i))
		}
	}
	size := 1
	for _, n := range shape {
		size *= n
	}
	data := make([]T, 0, size)
	for _, t := range parts {
		values := tensor.Data[T](t)
		if slices.Equal(t.Shape()[1:], shape[1:]) {
			data = append(data, values...)
			continue
		}
		h, w, height, width := t.Dim(-2), t.Dim(-1), shape[len(shape)-2], shape[len(shape)-1]
		for row := 0; row < len(values)/w; row++ {
			data = append(append(data, values[row*w:(row+1)*w]...), make([]T, width-w)...)
			if (row+1)%h == 0 {
				data = append(data, make([]T, (height-h)*width)...)
			}
		}
	}
	return tensor.New(shape, data)
}

// Preparer is a front end with a model's preprocessor configuration: it turns decoded items of one
// kind into inputs of the model's graphs.
type Preparer interface {
	// Prepare returns the tensors of all the items. Its errors wrap those of the front end
	// (vision.ErrImage, vision.ErrLimit) or ctx.Err().
	Prepare(ctx context.Context, items []Item) (Prepared, error)
}

// ErrLimit is wrapped by errors about inputs that are too large, and about work beyond the limits of
// a program. They are refused before memory is allocated for them. Package pipeline and the front
// ends export it under the same name.
var ErrLimit = errors.New("limit")

// LimitError says which limit something is beyond. It wraps ErrLimit.
type LimitError struct {
	// Field is the limit's field of pipeline.Limits or vision.Limits, such as "ImagePixels"; a
	// program lifts the limit there. It is "" for a limit that is fixed.
	Field string
	Text  string // what is too large, its size, and the limit
}

func (e *LimitError) Error() string {
	text := ErrLimit.Error() + ": " + e.Text
	if e.Field != "" {
		text += " (Limits." + e.Field + ")"
	}
	return text
}

// Unwrap returns ErrLimit.
func (e *LimitError) Unwrap() error { return ErrLimit }
