package vision

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"image"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/tensor"
)

// TestPreprocessEqualsTransformers compares with the slow image processors of transformers 4.57.6
// (testdata/vision/processors.py).
func TestPreprocessEqualsTransformers(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(testdata + "/processors.json")
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		Cases []struct {
			Name    string
			Config  json.RawMessage
			Results map[string]struct {
				Shape  []int
				SHA256 string
				At     []int
				Values []float64
			}
		}
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Cases) < 25 {
		t.Fatalf("only %d cases", len(g.Cases))
	}
	for _, c := range g.Cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			p, err := ParseConfig(c.Config)
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range c.Results {
				m, err := DecodeFile(testdata + "/images/" + name)
				if err != nil {
					t.Fatal(err)
				}
				out, err := p.Preprocess(context.Background(), m)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if !slices.Equal(out.Shape(), want.Shape) {
					t.Errorf("%s: shape %v, want %v", name, out.Shape(), want.Shape)
					continue
				}
				got := tensor.Data[float32](out)
				worst := 0.0
				for i, k := range want.At {
					worst = max(worst, math.Abs(float64(got[k])-want.Values[i]))
				}
				if worst > 1e-6 {
					t.Errorf("%s: off by %g", name, worst)
				} else if floatHash(got) != want.SHA256 {
					t.Errorf("%s: the values sampled are right (within %g), others are not",
						name, worst)
				}
			}
		})
	}
}

func floatHash(v []float32) string {
	b := make([]byte, 0, 4*len(v))
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return hash(b)
}

func TestParseConfigRefuses(t *testing.T) {
	t.Parallel()
	blip := func(fields string) string { return `{"image_processor_type":"BlipImageProcessor",` + fields + `}` }
	for config, want := range map[string]string{
		``:                          "not a JSON object",
		`[]`:                        "not a JSON object",
		`{`:                         "not a JSON object",
		`{}`:                        `no "size"`,
		`{"size":224}`:              `no "resample"`,
		`{"size":224,"resample":3}`: `no "image_mean`,
		`{"image_processor_type":"PixtralImageProcessor"}`: "not supported",
		blip(`"do_flip_channel_order":true`):               "not understood",
		blip(`"sharpen":2`):                                "not understood",
		blip(`"resample":9`):                               "resample 9",
		blip(`"resample":"bicubic"`):                       "resample",
		blip(`"size":0`):                                   "size",
		blip(`"size":-3`):                                  "size",
		blip(`"size":{"height":0,"width":4}`):              "size.height",
		blip(`"size":{"height":4}`):                        "neither",
		blip(`"size":{"depth":4}`):                         "size.depth",
		blip(`"size":[1,2,3]`):                             "lists 3",
		blip(`"size":"big"`):                               "neither a number",
		blip(`"size":{"height":4,"width":9999999999}`):     "pixels a side",
		blip(`"image_mean":[1,2]`):                         "image_mean has 2",
		blip(`"image_std":[1,0,1]`):                        "image_std is 0",
		blip(`"image_std":0`):                              "image_std is 0",
		blip(`"num_channels":1`):                           "num_channels is 1",
		blip(`"data_format":"channels_last"`):              "channels_last",
		blip(`"crop_pct":0.9`):                             "ConvNext",
		blip(`"rescale_offset":true`):                      "EfficientNet",
		blip(`"image_size":224`):                           "Idefics",
		blip(`"do_center_crop":true`):                      "crop_size",
		`{"image_processor_type":"ConvNextImageProcessor","size":{"height":4,"width":4}}`: "shortest_edge",
		`{"image_processor_type":"ConvNextImageProcessor","crop_pct":0}`:                  "crop_pct",
	} {
		_, err := ParseConfig([]byte(config))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", config, err, want)
		} else if !errors.Is(err, ErrImage) && !errors.Is(err, ErrLimit) {
			t.Errorf("%s: %v wraps neither sentinel", config, err)
		}
	}
	for _, fine := range []string{
		blip(`"do_something_new":false,"sharpen":null,"_valid_processor_keys":["images"]`),
		`{"size":224,"resample":3,"image_mean":0.5,"image_std":0.5}`,
		`{"image_processor_type":"ViTImageProcessorFast"}`,
	} {
		if _, err := ParseConfig([]byte(fine)); err != nil {
			t.Errorf("%s: %v", fine, err)
		}
	}
}

func TestPreprocessBatch(t *testing.T) {
	t.Parallel()
	p, err := ParseConfig([]byte(blipConfig))
	if err != nil {
		t.Fatal(err)
	}
	var imgs []image.Image
	for i := range 9 {
		imgs = append(imgs, testPicture(uint64(i), 30+7*i, 90-5*i, i%3))
	}
	all, err := p.Preprocess(context.Background(), imgs...)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(all.Shape(), []int{9, 3, 224, 224}) {
		t.Fatalf("shape %v", all.Shape())
	}
	for i, img := range imgs {
		one, err := p.Preprocess(context.Background(), img)
		if err != nil {
			t.Fatal(err)
		}
		n := one.Len()
		if !slices.Equal(tensor.Data[float32](one), tensor.Data[float32](all)[i*n:(i+1)*n]) {
			t.Errorf("picture %d is another in a batch", i)
		}
	}

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, n := range []int{1, 9} {
		if _, err := p.Preprocess(ctx, imgs[:n]...); !errors.Is(err, context.Canceled) {
			t.Errorf("%d pictures, cancelled: %v", n, err)
		}
	}
	if _, err := p.Preprocess(context.Background()); !errors.Is(err, ErrImage) {
		t.Errorf("no picture: %v", err)
	}
}

func TestPreprocessSizes(t *testing.T) {
	t.Parallel()
	clip, err := ParseConfig([]byte(`{"image_processor_type":"CLIPImageProcessor"}`))
	if err != nil {
		t.Fatal(err)
	}
	// The crop of a very long picture is computed alone, so none of these takes long or much
	// memory.
	for _, size := range [][2]int{{1, 1}, {20000, 1}, {1, 20000}, {2, 3}} {
		out, err := clip.Preprocess(context.Background(), testPicture(1, size[0], size[1], 0))
		if err != nil || !slices.Equal(out.Shape(), []int{1, 3, 224, 224}) {
			t.Errorf("%v: %v, %v", size, out, err)
		}
	}
	keep, err := ParseConfig([]byte(`{"do_resize":false,"image_mean":0.5,"image_std":0.5}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keep.Preprocess(context.Background(), NewRGB(3, 4), NewRGB(4, 3)); !errors.Is(err, ErrImage) {
		t.Errorf("a batch of two sizes: %v", err)
	}
	if _, err := keep.Preprocess(context.Background(), &RGB{}); !errors.Is(err, ErrImage) {
		t.Errorf("an empty picture: %v", err)
	}
}
