package vision

import (
	"context"
	"errors"
	"image"
	"testing"
)

// Every way of preparing pictures refuses none at all, those without pixels and those that lack the bytes
// of some.
func TestPicturesThatCannotBeSeen(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]string{
		"plain":    `{"image_processor_type":"ViTImageProcessor"}`,
		"canvas":   `{"image_processor_type":"MllamaImageProcessor","size":{"height":32,"width":32}}`,
		"lfm2":     `{"image_processor_type":"Lfm2VlImageProcessorFast","tile_size":64}`,
		"pixtral":  `{"image_processor_type":"PixtralImageProcessor","size":{"longest_edge":64}}`,
		"divided":  `{"image_processor_type":"BridgeTowerImageProcessor","size":{"shortest_edge":64}}`,
		"crops":    `{"image_processor_type":"Phi3VImageProcessor","num_crops":4}`,
		"squares":  `{"image_processor_type":"Idefics3ImageProcessor","size":{"longest_edge":64},"max_image_size":{"longest_edge":32}}`,
		"patches":  `{"image_processor_type":"Qwen2VLImageProcessor"}`,
		"naflex":   `{"image_processor_type":"Siglip2ImageProcessor"}`,
		"unsized":  `{"do_resize":false,"image_mean":0.5,"image_std":0.5}`,
		"operated": `{"processor":{"name":"p","transforms":[{"operation":{"name":"d","type":"DecodeImage"}},{"operation":{"name":"c","type":"Phi3ImageTransform"}}]}}`,
	} {
		p, err := ParseConfig([]byte(config))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for what, pictures := range map[string][]image.Image{
			"none": {}, "nil": {nil}, "a nil pointer": {(*RGB)(nil)}, "no pixels": {NewRGB(0, 0)},
			"no bytes": {&RGB{Width: 100, Height: 100}},
			"few rows": {&RGB{Width: 10, Height: 100, Stride: 40, Pix: make([]uint8, 400)}},
		} {
			if _, err := p.Preprocess(context.Background(), pictures...); !errors.Is(err, ErrImage) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
}
