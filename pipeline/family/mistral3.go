package family

import (
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
	own[graph.PixelValues], err = topLeft(pixels, int(size[0]), int(size[1]))
	return err
}

// topLeft returns the first h rows and w columns of planes [...,H,W].
func topLeft(planes *tensor.Tensor, h, w int) (*tensor.Tensor, error) {
	rows, err := graph.At(planes, planes.Rank()-2, 0, h)
	if err != nil {
		return nil, err
	}
	return graph.At(rows, planes.Rank()-1, 0, w)
}
