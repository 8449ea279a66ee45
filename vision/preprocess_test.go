package vision

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/internal/sweep"
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
				Error  string
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
			for i, name := range slices.Sorted(maps.Keys(c.Results)) {
				want := c.Results[name]
				// The first result of each, and a sample of the others: a smaller one of Donut's, which
				// are of 1,280x960 and more.
				n := 2
				if slices.Max(append(want.Shape, 0)) > 1000 {
					n = 4
				}
				if i > 0 && !sweep.Keeps(i, n) {
					continue
				}
				m, err := DecodeFile(testdata + "/images/" + name)
				if err != nil {
					t.Fatal(err)
				}
				out, err := p.Preprocess(context.Background(), m)
				if want.Error != "" {
					if !errors.Is(err, ErrImage) && !errors.Is(err, ErrLimit) {
						t.Errorf("%s: %v, want an error as the reference has: %s", name, err, want.Error)
					}
					continue
				}
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

// TestDonutGolden compares every value of the golden Donut pixels, which a batch of three pictures
// gives, by the preprocessor_config.json that transformers wrote.
func TestDonutGolden(t *testing.T) {
	t.Parallel()
	const families = "../testdata/families/"
	var imgs []image.Image
	for i := range 3 {
		m, err := DecodeFile(fmt.Sprintf("%simages/figure%d.png", families, i))
		if err != nil {
			t.Fatal(err)
		}
		imgs = append(imgs, m)
	}
	for _, name := range []string{"donut_pixels", "donut_pixels_aligned"} {
		config, err := os.ReadFile(families + "donut/" + name + "/preprocessor_config.json")
		if err != nil {
			t.Fatal(err)
		}
		p, err := ParseConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		want, err := tensor.LoadNpy(families + "donut/" + name + ".npy")
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Preprocess(t.Context(), imgs...)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Shape(), want.Shape()) {
			t.Fatalf("%s: shape %v, want %v", name, got.Shape(), want.Shape())
		}
		worst, values := 0.0, tensor.Data[float32](got)
		for i, v := range tensor.Data[float32](want) {
			worst = max(worst, math.Abs(float64(values[i])-float64(v)))
		}
		if worst > 1e-6 {
			t.Errorf("%s: off by %g", name, worst)
		}
	}
}

// TestDonutOfTransformers5 compares a page whose thumbnail is made with the filter of all else: sums of
// the levels of each channel of figure1.png by DonutImageProcessorPil of transformers 5.24.0, and a
// few levels.
func TestDonutOfTransformers5(t *testing.T) {
	t.Parallel()
	m, err := DecodeFile("../testdata/families/images/figure1.png")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParseConfig([]byte(`{"image_processor_type":"DonutImageProcessor","resample":2,
		"size":{"height":32,"width":48},"thumbnail_as_transformers_5":true}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Preprocess(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	values := tensor.Data[float32](got)
	level := func(i int) int { return int(math.Round(255 * (float64(values[i])/2 + 0.5))) }
	for c, want := range []struct{ sum, middle, edge int }{
		{78833, 102, 177}, {84775, 151, 55}, {94542, 158, 164},
	} {
		sum := 0
		for i := range 32 * 48 {
			sum += level(c*32*48 + i)
		}
		middle, edge := level((c*32+16)*48+24), level((c*32+31)*48+30)
		if sum != want.sum || middle != want.middle || edge != want.edge {
			t.Errorf("channel %d: %d, %d, %d; want %v", c, sum, middle, edge, want)
		}
	}
}

func floatHash(v []float32) string {
	b := make([]byte, 4*len(v))
	for i, f := range v {
		binary.LittleEndian.PutUint32(b[4*i:4*i+4], math.Float32bits(f))
	}
	return hash(b)
}

func TestParseConfigRefuses(t *testing.T) {
	t.Parallel()
	blip := func(fields string) string { return `{"image_processor_type":"BlipImageProcessor",` + fields + `}` }
	donut := func(fields string) string { return `{"image_processor_type":"DonutImageProcessor",` + fields + `}` }
	blipFast := func(fields string) string { return `{"image_processor_type":"BlipImageProcessorFast",` + fields + `}` }
	donutFast := func(fields string) string { return `{"image_processor_type":"DonutImageProcessorFast",` + fields + `}` }
	of := func(class, fields string) string {
		return `{"image_processor_type":"` + class + `ImageProcessor",` + fields + `}`
	}
	for config, want := range map[string]string{
		``:                          "not a JSON object",
		`[]`:                        "not a JSON object",
		`{`:                         "not a JSON object",
		`{}`:                        `no "size"`,
		`{"size":224}`:              `no "resample"`,
		`{"size":224,"resample":3}`: `no "image_mean`,
		`{"image_processor_type":"OneFormerImageProcessor"}`: "not supported",
		blip(`"do_flip_channel_order":true`):                 "not understood",
		blip(`"sharpen":2`):                                  "not understood",
		blip(`"resample":9`):                                 "resample 9",
		blip(`"resample":"bicubic"`):                         "resample",
		blip(`"size":0`):                                     "size",
		blip(`"size":-3`):                                    "size",
		blip(`"size":{"height":0,"width":4}`):                "size.height",
		blip(`"size":{"height":4}`):                          "neither",
		blip(`"size":{"depth":4}`):                           "size.depth",
		blip(`"size":[1,2,3]`):                               "lists 3",
		blip(`"size":"big"`):                                 "neither a number",
		blip(`"size":{"height":4,"width":9999999999}`):       "pixels a side",
		blip(`"image_mean":[1,2]`):                           "image_mean has 2",
		blip(`"image_std":[1,0,1]`):                          "image_std is 0",
		blip(`"image_std":0`):                                "image_std is 0",
		blip(`"num_channels":1`):                             "num_channels is 1",
		blip(`"data_format":"channels_last"`):                "channels_last",
		blipFast(`"crop_pct":0.9`):                           "ConvNext",
		blipFast(`"rescale_offset":true`):                    "EfficientNet",
		blipFast(`"image_size":224`):                         "Idefics",
		blipFast(`"do_center_crop":true`):                    "crop_size",
		`{"image_processor_type":"ConvNextImageProcessor","size":{"height":4,"width":4}}`: "shortest_edge",
		`{"image_processor_type":"ConvNextImageProcessor","crop_pct":0}`:                  "crop_pct",
		blipFast(`"do_thumbnail":true`):                                                   "Donut",
		blipFast(`"do_align_long_axis":true`):                                             "Donut",
		donut(`"size":{"shortest_edge":224}`):                                             "size.height",
		donut(`"size":[0,4]`):                                                             "size",
		donutFast(`"do_center_crop":true`):                                                "do_center_crop",
		donutFast(`"pad_size":40`):                                                        "pad_size",
		donut(`"do_crop_margin":true`):                                                    "not understood",
		donut(`"random_padding":true`):                                                    "not understood",

		blip(`"resample":null`):                    "resample is null",
		blip(`"rescale_factor":null`):              "rescale_factor is null",
		of("ViT", `"size":{"shortest_edge":224}`):  "height and width",
		of("CLIP", `"size":{"longest_edge":224}`):  "shortest_edge",
		of("Detr", `"size":{"shortest_edge":224}`): "longest_edge",
		of("Sam", `"size":{"height":4,"width":4}`): "longest_edge",
		`{"image_processor":3}`:                    "image_processor",
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
		blip(`"do_thumbnail":false,"do_align_long_axis":null`),
		donut(`"max_size":40,"pad_size":null,"do_crop_margin":false,"default_to_square":true`),
		blip(`"crop_pct":0.9,"rescale_offset":true`),
		blip(`"image_size":224,"do_center_crop":true,"do_thumbnail":true,"do_align_long_axis":true`),
		donut(`"do_center_crop":true,"pad_size":40`),
		of("ConvNext", `"size":{"shortest_edge":40,"longest_edge":60}`),
		"\ufeff" + `{"image_processor_type":"ViTImageProcessor"}`,
		of("CLIP", `"do_resize":false,"resample":null`),
		`{"image_processor":{"image_processor_type":"CLIPImageProcessorPil"},"processor_class":"CLIPProcessor"}`,
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

// TestSeen looks at where the model's input lies in the picture as it was given.
func TestSeen(t *testing.T) {
	t.Parallel()
	const donut = `{"image_processor_type":"DonutImageProcessor","size":[40,80]`
	for _, c := range []struct {
		config string
		w, h   int
		want   Region
	}{
		{`{"image_processor_type":"ViTImageProcessor"}`, 200, 100, Region{0, 0, 1, 1}},
		{`{"image_processor_type":"CLIPImageProcessor"}`, 200, 100, Region{0.25, 0, 0.75, 1}},
		{`{"image_processor_type":"CLIPImageProcessor","size":112}`, 10, 10, Region{-0.5, -0.5, 1.5, 1.5}},
		{donut + `}`, 10, 20, Region{0, 0, 1, 1}},
		{donut + `}`, 100, 100, Region{0, -0.5, 1, 1.5}},           // 40x40 in the middle of 40x80
		{donut + `}`, 200, 100, Region{0, -1.5, 1, 2.5}},           // 40x20, 30 from the top
		{donut + `}`, 100, 400, Region{-0.5, 0, 1.5, 1}},           // 20x80, 10 from the left
		{donut + `}`, 100, 421, Region{-10. / 19, 0, 30. / 19, 1}}, // 19x80, 10 from the left and 11 from the right
		{donut + `,"do_pad":false}`, 200, 100, Region{0, 0, 1, 1}},
		{donut + `,"do_align_long_axis":true}`, 200, 100, Region{0, 0, 1, 1}},
		{donut + `,"do_align_long_axis":true}`, 400, 100, Region{0, -0.5, 1, 1.5}},
		{donut + `,"do_align_long_axis":true}`, 421, 100, Region{0, -11. / 19, 1, 29. / 19}},
		{donut + `,"do_align_long_axis":true}`, 0, 100, Region{0, 0, 1, 1}},
	} {
		p, err := ParseConfig([]byte(c.config))
		if err != nil {
			t.Fatal(err)
		}
		got := p.Seen(c.w, c.h)
		for i := range got {
			if math.Abs(float64(got[i]-c.want[i])) > 1e-6 {
				t.Errorf("%s sees %v of %dx%d, not %v", c.config, got, c.w, c.h, c.want)
				break
			}
		}
	}
}

// TestSeenIsPicture looks for a bright picture where Seen says that it is: inside of the model's
// input all is bright, outside all is black.
func TestSeenIsPicture(t *testing.T) {
	t.Parallel()
	p, err := ParseConfig([]byte(`{"image_processor_type":"DonutImageProcessor","size":[40,80]}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range [][2]int{{100, 100}, {300, 100}, {100, 421}, {7, 5}} {
		m := NewRGB(size[0], size[1])
		for i := range m.Pix {
			m.Pix[i] = 255
		}
		out, err := p.Picture(m)
		if err != nil {
			t.Fatal(err)
		}
		seen := p.Seen(m.Width, m.Height)
		for y := range out.Height {
			for x := range out.Width {
				u := seen[0] + (float32(x)+0.5)/float32(out.Width)*(seen[2]-seen[0])
				v := seen[1] + (float32(y)+0.5)/float32(out.Height)*(seen[3]-seen[1])
				inside := u > 0 && u < 1 && v > 0 && v < 1
				if bright := out.row(y)[4*x] > 0; bright != inside {
					t.Fatalf("%v: pixel (%d,%d) is bright: %v", size, x, y, bright)
				}
			}
		}
	}
}

// TestTurn turns pictures before Preprocess does, which must change nothing.
func TestTurn(t *testing.T) {
	t.Parallel()
	p, err := ParseConfig([]byte(`{"feature_extractor_type":"DonutFeatureExtractor","do_align_long_axis":true,"size":[40,50]}`))
	if err != nil {
		t.Fatal(err)
	}
	for size, turned := range map[[2]int]bool{{70, 30}: true, {30, 70}: false, {30, 30}: false, {0, 0}: false} {
		var img image.Image = testPicture(3, size[0], size[1], 0)
		upright := p.Turn(img)
		if (upright != img) != turned || turned && upright.Bounds().Size() != image.Pt(size[1], size[0]) {
			t.Errorf("%v is turned to %v", size, upright.Bounds())
		}
		if size[0] == 0 {
			continue
		}
		got, err := p.Picture(upright)
		if err != nil {
			t.Fatal(err)
		}
		if want, err := p.Picture(img); err != nil || !slices.Equal(got.Pix, want.Pix) {
			t.Errorf("%v is another picture when turned before (%v)", size, err)
		}
	}
}
