package vision

import (
	"encoding/json"
	"fmt"
	"image"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// Phi3VImageProcessor makes the pixels of the checkpoints' code (testdata/vision/phi3v_reference.py).
func TestPhi3V(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../testdata/vision/phi3v.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Image  string
		Crops  int
		Size   []int64
		Every  int
		Values []float64
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		p, err := ParseConfig(fmt.Appendf(nil, `{"image_processor_type": "Phi3VImageProcessor", "num_crops": %d,
			"num_img_tokens": 144}`, c.Crops))
		if err != nil {
			t.Fatal(err)
		}
		img, err := DecodeFile("../testdata/families/images/" + c.Image)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Prepare(t.Context(), []media.Item{media.Picture{Image: image.Image(img)}})
		if err != nil {
			t.Fatal(err)
		}
		if size := tensor.Data[int64](got.Tensors["image_sizes"]); !slices.Equal(size, c.Size) {
			t.Errorf("%s: size %v, want %v", c.Image, size, c.Size)
			continue
		}
		pixels := tensor.Data[float32](got.Tensors["pixel_values"])
		for i, want := range c.Values {
			if value := float64(pixels[i*c.Every]); math.Abs(value-want) > 1e-5 {
				t.Errorf("%s in %d crops: value %d is %v, want %v", c.Image, c.Crops, i, value, want)
				break
			}
		}
	}
}
