package vision

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// What onnxruntime-extensions 0.15.2 makes of the same pictures by the same lists of operations;
// testdata/vision/operations_reference.py made the file.
func TestOperations(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(testdata + "/operations.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name    string
		Config  json.RawMessage
		Width   int
		Height  int
		Outputs map[string]struct {
			Shape []int
			At    []int     // places in the flat tensor
			Value []float64 // what stands there
			Sum   float64   // of all
		}
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			p, err := ParseConfig(c.Config)
			if err != nil {
				t.Fatal(err)
			}
			picture := media.Picture{Image: patterned(c.Width, c.Height)}
			got, err := p.Prepare(context.Background(), []media.Item{picture})
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range c.Outputs {
				var values []float64
				if name == "grid" {
					values = []float64{1, float64(got.Grids[0].Y), float64(got.Grids[0].X)}
				} else if ints := got.Tensors[name]; ints.DType() == tensor.Int64 {
					for _, v := range tensor.Data[int64](ints) {
						values = append(values, float64(v))
					}
				} else {
					for _, v := range tensor.Data[float32](ints) {
						values = append(values, float64(v))
					}
				}
				size := 1
				for _, n := range want.Shape {
					size *= n
				}
				if len(values) != size {
					t.Fatalf("%s: %d values, want %v", name, len(values), want.Shape)
				}
				sum := 0.0
				for _, v := range values {
					sum += v
				}
				if math.Abs(sum-want.Sum) > 1e-6*float64(size) {
					t.Errorf("%s: the sum is %v, want %v", name, sum, want.Sum)
				}
				for i, at := range want.At {
					if math.Abs(values[at]-want.Value[i]) > 1e-6 {
						t.Errorf("%s[%d] is %v, want %v", name, at, values[at], want.Value[i])
						break
					}
				}
			}
		})
	}
}

// patterned is a picture that the reference script makes, too.
func patterned(w, h int) *RGB {
	m := NewRGB(w, h)
	for y := range h {
		for x := range w {
			put(m.row(y)[4*x:], uint8(x*7+y*3), uint8(x*x+5*y), uint8(x*y/3+11*y), 255)
		}
	}
	return m
}

func TestOperationsRefused(t *testing.T) {
	t.Parallel()
	list := func(ops ...string) string {
		for i, op := range ops {
			ops[i] = `{"operation": {"name": "n", ` + op + `}}`
		}
		return `{"processor": {"transforms": [` + strings.Join(ops, ", ") + `]}}`
	}
	decode, rescale := `"type": "DecodeImage"`, `"type": "Rescale"`
	channels := `"type": "Permute3D", "attrs": {"dims": [2, 0, 1]}`
	for config, wrong := range map[string]string{
		list(): "is empty",
		list(decode, `"type": "Phi4VisionDynamicPreprocess"`): `(Phi4VisionDynamicPreprocess): image: it is not supported; supported are [CenterCrop`,
		list(rescale):         "it takes a picture and is given a file",
		list(decode, rescale): "ends with numbers",
		list(decode, rescale, `"type": "Permute3D"`):                                               "only channels first",
		list(decode, `"type": "Resize", "attrs": {"interpolation": "NEAREST"}`, rescale, channels): `"NEAREST" is not supported`,
		list(decode, `"type": "Resize", "attrs": {"heigth": 3}`, rescale, channels):                `"heigth" is not understood`,
		list(decode, rescale, `"type": "Normalize", "attrs": {"std": [0, 1, 1]}`, channels):        "std is 0",
	} {
		if _, err := ParseConfig([]byte(config)); err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: %v, want %s", config, err, wrong)
		}
	}
}
