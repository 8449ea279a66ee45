package family

import (
	"slices"
	"strings"

	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// mistral3Kinds are Mistral Small 3.1 and Ministral 3, which see by Pixtral (2410.07073): pictures
// in their own shape, a line of rows at a time.
var mistral3Kinds = []imageKind{{
	types: []string{"mistral3"}, token: "[IMG]", around: "%s", markup: lineMarkup, sized: true, unpacked: true,
}}

// lineMarkup ends each line of a picture's rows, and the picture (processing_pixtral.py,
// transformers 4.57).
func lineMarkup(token string, e Encoded) string {
	line := strings.Repeat(token, e.Grid.X)
	return strings.Repeat(line+"[IMG_BREAK]", max(e.Grid.Y-1, 0)) + line + "[IMG_END]"
}

// imageSizes is [N,2]: the height and width of pictures that are padded to one size.
const imageSizes = "image_sizes"

// cropToSize takes the padding off the picture [1,3,H,W] that its image_sizes tell of.
func cropToSize(own map[string]*tensor.Tensor) error {
	sizes, pixels := own[imageSizes], own[graph.PixelValues]
	if sizes == nil || pixels == nil || sizes.Len() != 2 || pixels.Rank() != 4 {
		return nil
	}
	size := tensor.Data[int64](sizes)
	var err error
	own[graph.PixelValues], err = topLeft[float32](pixels, int(size[0]), int(size[1]))
	return err
}

// topLeft returns the first h rows and w columns of planes [...,H,W].
func topLeft[T tensor.Element](planes *tensor.Tensor, h, w int) (*tensor.Tensor, error) {
	shape := slices.Clone(planes.Shape())
	height, width := planes.Dim(-2), planes.Dim(-1)
	if h == height && w == width {
		return planes, nil
	}
	values, err := tensor.Values[T](planes)
	if err != nil {
		return nil, err
	}
	shape[len(shape)-2], shape[len(shape)-1] = h, w
	kept := make([]T, 0, len(values)/(height*width)*h*w)
	for plane := range len(values) / (height * width) {
		for y := range h {
			kept = append(kept, values[(plane*height+y)*width:][:w]...)
		}
	}
	return tensor.New(shape, kept)
}
