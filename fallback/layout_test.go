package fallback_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// image is a value of a graph of images, with its size.
type image struct {
	name    string
	c, h, w int
}

// images makes random graphs of what image models are made of.
type images struct {
	b    *onnx.Builder
	r    *rand.Rand
	made []image
	log  []string
}

func (g *images) weights(std float32, shape ...int) string {
	t := randTensor(g.r, shape...)
	for i := range t.Len() {
		tensor.Data[float32](t)[i] *= std
	}
	return g.b.Const(t)
}

// conv is a convolution of x, dense or depthwise, of any window.
func (g *images) conv(x image, out int, depthwise bool) image {
	k := [2]int{1 + 2*g.r.IntN(3), 1 + 2*g.r.IntN(3)}
	if g.r.IntN(3) > 0 {
		k = [2]int{1, 1}
	}
	strides, dilations, pads := []int{1, 1}, []int{1, 1}, []int{0, 0, 0, 0}
	size := [2]int{x.h, x.w}
	for d := range 2 {
		if g.r.IntN(3) == 0 {
			strides[d] = 1 + g.r.IntN(3)
		}
		if g.r.IntN(4) == 0 && k[d] > 1 {
			dilations[d] = 2
		}
		reach := (k[d]-1)*dilations[d] + 1
		pads[d], pads[2+d] = reach/2, reach/2
		if g.r.IntN(4) == 0 {
			pads[d], pads[2+d] = g.r.IntN(reach), reach+g.r.IntN(2)
		}
		size[d] = (size[d]+pads[d]+pads[2+d]-reach)/strides[d] + 1
	}
	group, cg := 1, x.c
	if depthwise {
		group, cg, out = x.c, 1, x.c
	}
	in := []string{x.name, g.weights(1/float32(1+cg*k[0]*k[1]), out, cg, k[0], k[1])}
	if g.r.IntN(4) > 0 {
		in = append(in, g.weights(0.1, out))
	}
	g.log = append(g.log, fmt.Sprintf("conv %v %d %v %v %v %v", x, out, k, strides, dilations, pads))
	attrs := onnx.Attrs{"group": group, "strides": strides, "dilations": dilations, "pads": pads}
	return image{g.b.Node("Conv", in, attrs), out, size[0], size[1]}
}

// step adds a node, or a few that fusion makes one of.
func (g *images) step() {
	x := g.made[g.r.IntN(len(g.made))]
	if g.r.IntN(2) == 0 {
		x = g.made[len(g.made)-1]
	}
	node := func(op string, in ...string) string { return g.b.Node(op, in, nil) }
	g.log = append(g.log, fmt.Sprint("x ", x))
	switch g.r.IntN(14) {
	case 0, 1, 2:
		x = g.conv(x, 1+g.r.IntN(40), false)
	case 3, 4:
		x = g.conv(x, 0, true)
	case 5:
		x = g.conv(x, 1+g.r.IntN(20), g.r.IntN(2) == 0)
		x.name = node("Clip", x.name, scalar(g.b, 0), scalar(g.b, 0.3))
	case 6:
		op := []string{"Relu", "Sigmoid", "Tanh", "HardSwish", "Abs"}[g.r.IntN(5)]
		x.name = node(op, x.name)
	case 7: // silu
		x.name = node("Mul", x.name, node("Sigmoid", x.name))
	case 8: // a sum with what has the same size, or with one number
		other := scalar(g.b, 0.25)
		for _, y := range g.made {
			if y.c == x.c && y.h == x.h && y.w == x.w {
				other = y.name
			}
		}
		x.name = node([]string{"Add", "Sub", "Mul"}[g.r.IntN(3)], x.name, other)
	case 9: // squeeze and excitation
		s := image{node("GlobalAveragePool", x.name), x.c, 1, 1}
		if g.r.IntN(2) == 0 {
			s.name = g.b.Node("ReduceMean", []string{x.name}, onnx.Attrs{"axes": []int{3, -2}})
		}
		s.name = node("Sigmoid", node("Conv", s.name, g.weights(0.2, x.c, x.c, 1, 1)))
		x.name = node("Mul", x.name, s.name)
	case 10:
		op := []string{"MaxPool", "AveragePool"}[g.r.IntN(2)]
		stride := 1 + g.r.IntN(2)
		attrs := onnx.Attrs{
			"kernel_shape": []int{2, 3}, "strides": []int{stride, 1}, "pads": []int{1, 1, 0, 1},
		}
		if op == "AveragePool" && g.r.IntN(2) == 0 {
			attrs["count_include_pad"] = 1
		}
		x = image{g.b.Node(op, []string{x.name}, attrs), x.c, (x.h+1-2)/stride + 1, x.w + 2 - 3 + 1}
	case 11:
		if x.h*x.w > 300 {
			break
		}
		scales := tensor.Must(tensor.New([]int{4}, []float32{1, 1, 2, 1.5}))
		mode := []string{"nearest", "linear", "cubic"}[g.r.IntN(3)]
		x.name = g.b.Node("Resize", []string{x.name, "", g.b.Const(scales)}, onnx.Attrs{"mode": mode})
		x.h, x.w = 2*x.h, x.w*3/2
	case 12: // joined with what has the same size
		in, c := []string{x.name}, x.c
		for _, y := range g.made {
			if y.h == x.h && y.w == x.w && y.c+c <= 100 {
				in, c = append(in, y.name), y.c+c
			}
		}
		x.name, x.c = g.b.Node("Concat", in, onnx.Attrs{"axis": 1 - 4*g.r.IntN(2)}), c
	default: // what keeps the form of the graph
		x.name = g.b.Node("Softmax", []string{x.name}, onnx.Attrs{"axis": 1})
	}
	g.log = append(g.log, fmt.Sprint("-> ", x))
	g.made = append(g.made, x)
}

// TestChannelsLast runs random graphs of images as they are written and as the planner lays them
// out.
func TestChannelsLast(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := rand.New(rand.NewPCG(21, 22))
	turned := 0
	for i := range 120 {
		g := &images{b: onnx.NewBuilder("images", 17), r: r}
		x := image{"x", 1 + r.IntN(20), 3 + r.IntN(14), 3 + r.IntN(14)}
		batch := 1 + r.IntN(3)
		g.b.Input("x", tensor.Float32, "n", x.c, "h", "w")
		g.made = []image{x}
		for range 3 + r.IntN(9) {
			g.step()
		}
		last := g.made[len(g.made)-1]
		if r.IntN(3) == 0 {
			attrs := onnx.Attrs{"axes": []int{2, 3}, "keepdims": 0}
			last.name = g.b.Node("ReduceMean", []string{last.name}, attrs)
		}
		var outputs []string
		for j, name := range []string{last.name, g.made[1+r.IntN(len(g.made)-1)].name} {
			y := fmt.Sprint("y", j)
			g.b.NodeTo("Identity", []string{name}, []string{y}, nil)
			g.b.Output(y, tensor.Float32)
			g.b.Model.Graph.Output[j].Type.GetTensorType().Shape = nil
			outputs = append(outputs, y)
		}
		in := map[string]*tensor.Tensor{"x": randTensor(r, batch, x.c, x.h, x.w)}
		var got [2]map[string]*tensor.Tensor
		for plain := range 2 {
			s := open(t, g.b, engine.Options{NoFusion: plain == 1, Threads: 1 + r.IntN(2)})
			out, err := s.Run(ctx, in)
			if err != nil {
				t.Fatalf("graph %d: %v\n%q", i, err, g.log)
			}
			got[plain] = out
			turned += fallback.Operators(s)["xpipe.ChannelsFirst"]
			s.Close()
		}
		for _, y := range outputs {
			if err := enginetest.Compare(got[0][y], got[1][y], 1e-5, 1e-5); err != nil {
				t.Errorf("graph %d, %s: %v\n%q", i, y, err, g.log)
			}
		}
	}
	if turned < 60 {
		t.Errorf("%d chains of images with channels last in 120 graphs", turned)
	}
}

// TestRowsAreImages compares convolutions between which images are rows, with the operators one by
// one: depthwise and dense, with shapes that are constant and that are computed.
func TestRowsAreImages(t *testing.T) {
	t.Parallel()
	const c, h, w = 24, 6, 5
	for _, computed := range []bool{false, true} {
		for _, batch := range []int{1, 3} {
			r := rand.New(rand.NewPCG(7, uint64(batch)))
			b := onnx.NewBuilder("rows", 17)
			x := b.Input("x", tensor.Float32, "batch", h*w, c)
			shape := func(dims ...int64) string {
				whole := tensor.Must(tensor.New([]int{len(dims)}, dims))
				if !computed {
					return b.Const(whole)
				}
				first := b.Node("Shape", []string{x}, onnx.Attrs{"end": 1})
				rest := b.Const(tensor.Must(tensor.New([]int{len(dims) - 1}, dims[1:])))
				return b.Node("Concat", []string{first, rest}, onnx.Attrs{"axis": 0})
			}
			rows := x
			for _, group := range []int{c, 1, c} {
				image := b.Node("Reshape", []string{transpose(b, rows, 0, 2, 1), shape(0, c, h, w)}, nil)
				weights := b.Const(randTensor(r, c, c/group, 3, 3))
				made := b.Node("Conv", []string{image, weights, b.Const(randTensor(r, c))},
					onnx.Attrs{"group": group, "pads": []int{1, 1, 1, 1}})
				back := transpose(b, b.Node("Reshape", []string{made, shape(0, c, -1)}, nil), 0, 2, 1)
				rows = do(b, "Add", rows, do(b, "Mul", back, scalar(b, 0.1)))
			}
			b.NodeTo("Identity", []string{rows}, []string{"y"}, nil)
			b.Output("y", tensor.Float32, "batch", h*w, c)
			in := map[string]*tensor.Tensor{"x": randTensor(r, batch, h*w, c)}
			want, err := open(t, b, engine.Options{NoFusion: true}).Run(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			got, err := open(t, b, engine.Options{}).Run(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if err := enginetest.Compare(got["y"], want["y"], 1e-4, 1e-4); err != nil {
				t.Errorf("computed %v, batch %d: %v", computed, batch, err)
			}
		}
	}
}

// TestOtherImagesOfRows reshapes transposed rows to images of other channels than the rows have.
func TestOtherImagesOfRows(t *testing.T) {
	t.Parallel()
	const c, h, w = 16, 6, 5
	for _, channels := range []int{1, c, 2 * c} {
		r := rand.New(rand.NewPCG(7, uint64(channels)))
		b := onnx.NewBuilder("rows", 17)
		b.Input("x", tensor.Float32, "batch", h*w, c)
		image := b.Node("Reshape", []string{transpose(b, "x", 0, 2, 1), b.Ints(-1, int64(channels), h, w)}, nil)
		for _, in := range []int{channels, c} {
			image = b.Node("Conv", []string{image, b.Const(randTensor(r, c, in, 3, 3)), b.Const(randTensor(r, c))},
				onnx.Attrs{"pads": []int{1, 1, 1, 1}})
			image = b.Node("Relu", []string{image}, nil)
		}
		image = b.Node("Conv", []string{image, b.Const(randTensor(r, c, c, 3, 3))}, onnx.Attrs{"pads": []int{1, 1, 1, 1}})
		for i, shape := range []string{b.Ints(-1, c, h*w), b.Ints(-1, c, h*w/2)} {
			rows := fmt.Sprint("rows", i)
			b.NodeTo("Transpose", []string{b.Node("Reshape", []string{image, shape}, nil)}, []string{rows},
				onnx.Attrs{"perm": []int{0, 2, 1}})
			b.Output(rows, tensor.Float32, fmt.Sprint("n", i), fmt.Sprint("l", i), c)
		}
		compareWithPlain(t, b, engine.Options{}, map[string]*tensor.Tensor{"x": randTensor(r, 2, h*w, c)})
	}
}
