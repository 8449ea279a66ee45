package vision_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/vision"
)

// Pixels are those of open_clip's image_transform_v2, timm's create_transform and transformers'
// Siglip2ImageProcessor, in every bit: hashes made by
// python -m xpipe_export.golden.dual_layouts.
func TestTorchTransforms(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../testdata/layouts/dual.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Pixels []struct {
			Config json.RawMessage `json:"config"`
			Image  string          `json:"image"`
			Shape  []int           `json:"shape"`
			SHA256 string          `json:"sha256"`
		} `json:"pixels"`
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Pixels) < 100 {
		t.Fatalf("only %d cases", len(golden.Pixels))
	}
	for _, c := range golden.Pixels {
		p, err := vision.ParseConfig(c.Config)
		if err != nil {
			t.Errorf("%s: %v", c.Config, err)
			continue
		}
		img, err := vision.DecodeFile(filepath.Join("../testdata/families/images", c.Image))
		if err != nil {
			t.Fatal(err)
		}
		prepared, err := p.Prepare(t.Context(), []media.Item{media.Picture{Image: img}})
		if err != nil {
			t.Errorf("%s: %s: %v", c.Config, c.Image, err)
			continue
		}
		pixels := prepared.Tensors["pixel_values"]
		h := sha256.New()
		binary.Write(h, binary.LittleEndian, pixels.Float32s())
		if !slices.Equal(pixels.Shape()[1:], c.Shape) || hex.EncodeToString(h.Sum(nil)) != c.SHA256 {
			t.Errorf("%s: %s: %v are other pixels than the reference's %v",
				c.Config, c.Image, pixels, c.Shape)
		}
	}
}

// What is not understood is refused by name.
func TestTorchConfigsRefused(t *testing.T) {
	t.Parallel()
	for config, says := range map[string]string{
		`{"interpolation":"lanczos"}`:                                             `"lanczos"`,
		`{"resize_mode":"crop"}`:                                                  `"crop"`,
		`{"resize_mode":"squash","mode":"L"}`:                                     `"L"`,
		`{"interpolation":"bicubic","size":0}`:                                    "size",
		`{"interpolation":"bicubic","size":[1,2,3]}`:                              "size",
		`{"interpolation":"bicubic","std":[0,1,1]}`:                               "std is 0",
		`{"interpolation":"bicubic","mean":[0,1]}`:                                "mean",
		`{"interpolation":7}`:                                                     "interpolation",
		`{"pretrained_cfg":7}`:                                                    "pretrained_cfg",
		`{"pretrained_cfg":{"input_size":[1,8,8]}}`:                               "input_size",
		`{"pretrained_cfg":{"input_size":[3,0,8]}}`:                               "input_size",
		`{"pretrained_cfg":{"input_size":[3,8,99999999]}}`:                        "input_size",
		`{"pretrained_cfg":{"crop_pct":-1}}`:                                      "crop_pct",
		`{"pretrained_cfg":{"input_size":[3,8,8],"crop_pct":99}}`:                 "leaves nothing",
		`{"pretrained_cfg":{"crop_mode":"both"}}`:                                 `"both"`,
		`{"pretrained_cfg":{"interpolation":"random"}}`:                           `"random"`,
		`{"pretrained_cfg":{"crop_border_pixels":3}}`:                             "crop_border_pixels",
		`{"image_processor_type":"Siglip2ImageProcessor","max_num_patches":0}`:    "max_num_patches",
		`{"image_processor_type":"Siglip2ImageProcessor","patch_size":-4}`:        "patch_size",
		`{"image_processor_type":"SiglipImageProcessor","max_num_patches":9}`:     "",
		`{"image_processor_type":"SiglipImageProcessorFast","max_num_patches":9}`: "max_num_patches",
	} {
		_, err := vision.ParseConfig([]byte(config))
		if says == "" && err == nil {
			continue
		}
		if !errors.Is(err, vision.ErrImage) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", config, err, says)
		}
	}
}
