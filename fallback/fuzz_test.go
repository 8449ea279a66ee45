package fallback_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/fallback/internal/ops"
	"github.com/crossattn/xpipe/internal/sweep"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// attrNames are the attributes of all operators.
var attrNames = []string{
	"axis", "axes", "keepdims", "perm", "to", "alpha", "beta", "gamma", "bias", "lambd",
	"epsilon", "group", "num_groups", "kernel_shape", "strides", "dilations", "pads", "auto_pad",
	"ceil_mode", "count_include_pad", "storage_order", "blocksize", "mode", "equation",
	"batch_dims", "reduction", "starts", "ends", "split", "num_outputs", "largest",
	"select_last_index", "noop_with_empty_axes", "exclusive", "reverse", "upper", "k", "dtype",
	"value", "value_int", "value_ints", "start", "end", "allowzero", "transA", "transB",
	"block_size", "output_dtype", "approximate", "fmod", "size", "p", "output_padding",
	"output_shape", "detect_negative", "training_mode", "q_num_heads", "kv_num_heads",
	"is_causal", "scale",
}

// attrKinds are the types of those that are no integers: 0 float, 1 string, 3 list.
var attrKinds = map[string]int{
	"alpha": 0, "beta": 0, "gamma": 0, "epsilon": 0, "axes": 3, "perm": 3, "kernel_shape": 3,
	"strides": 3, "dilations": 3, "pads": 3, "split": 3, "starts": 3, "ends": 3,
	"output_shape": 3, "output_padding": 3, "auto_pad": 1, "mode": 1, "equation": 1,
	"reduction": 1, "approximate": 1, "value": 5, "axis": 7, "keepdims": 7, "group": 7, "to": 7,
	"num_groups": 7, "blocksize": 7, "batch_dims": 7,
}

var words = []string{
	"SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET", "reflect", "edge", "wrap", "constant",
	"reflect", "DCR", "add", "mul", "max", "tanh", "none", "CRD", "ij,jk->ik",
	"...ij,...jk->...ik", "ii->i", "i,j", "bhqd,bhkd->bhqk", "ij->", "",
}

func oddInt(r *rand.Rand) int {
	if r.IntN(10) == 0 {
		return [...]int{1 << 31, -(1 << 40), 1 << 62, 1000}[r.IntN(4)]
	}
	return [...]int{0, 0, 1, 1, 1, 2, 2, 3, 4, -1, -1, -2, -3, 7}[r.IntN(14)]
}

func oddTensor(r *rand.Rand) *tensor.Tensor {
	shape := make([]int, r.IntN(5))
	for i := range shape {
		shape[i] = [...]int{0, 1, 1, 2, 2, 2, 2, 3, 3, 4}[r.IntN(10)]
	}
	dtype := tensor.DType(1 + r.IntN(int(tensor.BFloat16)))
	if r.IntN(2) == 0 {
		dtype = tensor.Float32
	}
	t := tensor.Must(tensor.Zeros(dtype, shape...))
	for i := range t.Len() {
		switch t.DType() {
		case tensor.Float32:
			tensor.Data[float32](t)[i] = float32(r.NormFloat64() * 3)
		case tensor.Float16:
			tensor.Data[tensor.Half](t)[i] = tensor.Half(r.Uint32())
		case tensor.Float64:
			tensor.Data[float64](t)[i] = r.NormFloat64() * 3
		case tensor.BFloat16:
			tensor.Data[tensor.BF16](t)[i] = tensor.BF16(r.Uint32())
		case tensor.Int64:
			tensor.Data[int64](t)[i] = int64(oddInt(r))
		case tensor.Int32:
			tensor.Data[int32](t)[i] = int32(oddInt(r))
		case tensor.Int8:
			tensor.Data[int8](t)[i] = int8(r.Uint32())
		case tensor.Uint8:
			tensor.Data[uint8](t)[i] = uint8(r.Uint32())
		default:
			tensor.Data[bool](t)[i] = r.IntN(2) == 1
		}
	}
	return t
}

// oddGraph makes a graph of one operator with inputs and attributes out of a hat, half of the
// inputs constant.
func oddGraph(r *rand.Rand, name string) (*onnx.Builder, map[string]*tensor.Tensor) {
	b := onnx.NewBuilder("odd", [...]int{7, 9, 11, 13, 17, 18, 21, 24}[r.IntN(8)])
	in := map[string]*tensor.Tensor{}
	var names, outs []string
	last := oddTensor(r)
	low, high := ops.Inputs(name)
	if high < 0 {
		high = low + 2
	}
	count := low + r.IntN(high-low+1)
	if r.IntN(20) == 0 {
		count = r.IntN(6)
	}
	for i := range count {
		t := oddTensor(r)
		// Operators want inputs that fit each other.
		switch r.IntN(6) {
		case 0, 1:
			t = last
		case 2:
			t = tensor.Must(tensor.Zeros(last.DType(), t.Shape()...))
		case 3:
			t = ints(int64(oddInt(r)))
		}
		last = t
		switch r.IntN(16) {
		case 0, 1, 2:
			names = append(names, b.Const(t))
		case 3:
			names = append(names, "")
		default:
			dims := make([]any, t.Rank())
			for j := range dims {
				dims[j] = "d"
			}
			n := string(rune('a' + i))
			names = append(names, b.Input(n, t.DType(), dims...))
			in[n] = t
		}
	}
	attrs := onnx.Attrs{}
	for _, a := range attrNames {
		if r.IntN(12) != 0 {
			continue
		}
		kind := r.IntN(8)
		if k, known := attrKinds[a]; known && r.IntN(8) != 0 {
			kind = k // usually of the right type
		}
		switch kind {
		case 0:
			attrs[a] = float32(r.NormFloat64())
		case 1, 2:
			attrs[a] = words[r.IntN(len(words))]
		case 3, 4:
			list := make([]int, r.IntN(5))
			for j := range list {
				list[j] = oddInt(r)
			}
			attrs[a] = list
		case 5:
			attrs[a] = oddTensor(r)
		default:
			attrs[a] = oddInt(r)
		}
	}
	for i := range 1 + r.IntN(3) {
		outs = append(outs, "y"+string(rune('0'+i)))
	}
	b.NodeTo(name, names, outs, attrs)
	b.Output("y0", tensor.Float32)
	return b, in
}

// check opens and runs a graph that may be anything: whatever happens must be a result or an error
// about the graph or the inputs. A caught panic is neither.
func check(t *testing.T, what string, source engine.Source, in map[string]*tensor.Tensor) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	e := &fallback.Engine{MemoryLimit: 64 << 20}
	s, err := e.Open(ctx, source, engine.Options{})
	if err == nil {
		defer s.Close()
		_, err = s.Run(ctx, in)
	}
	if err == nil {
		return
	}
	if !errors.Is(err, engine.ErrGraph) && !errors.Is(err, engine.ErrInput) {
		t.Errorf("%s: %v", what, err)
	}
}

func TestOddOperators(t *testing.T) {
	t.Parallel()
	rounds := sweep.Count(t, 25, 600) // of each operator
	if testing.Short() {
		rounds = 50
	}
	for _, name := range ops.Names() {
		for seed := range rounds {
			r := rand.New(rand.NewPCG(uint64(seed), 1))
			b, in := oddGraph(r, name)
			check(t, name, b.Source(), in)
			if t.Failed() {
				t.Fatalf("%s with seed %d: %v of %v", name, seed, b.Model.Graph.Node, in)
			}
		}
	}
}

func FuzzOddOperators(f *testing.F) {
	names := ops.Names()
	for i := range names {
		f.Add(uint64(i), uint16(i))
	}
	f.Fuzz(func(t *testing.T, seed uint64, which uint16) {
		name := names[int(which)%len(names)]
		b, in := oddGraph(rand.New(rand.NewPCG(seed, 2)), name)
		check(t, name, b.Source(), in)
	})
}

func FuzzModelFile(f *testing.F) {
	for seed := range 20 {
		r := rand.New(rand.NewPCG(uint64(seed), 3))
		b, _ := oddGraph(r, ops.Names()[seed*5%len(ops.Names())])
		data, err := b.Bytes()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	functions, err := filepath.Glob("../testdata/onnx/functions/*.onnx")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range functions {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := map[string]*tensor.Tensor{}
		if m, err := onnx.Load(onnx.MemorySource(data)); err == nil {
			for _, s := range m.Inputs() {
				shape := make([]int, len(s.Shape))
				for i, d := range s.Shape {
					shape[i] = min(max(d, 2), 1<<10)
				}
				if n, err := tensor.NumElements(shape); s.DType != tensor.Invalid && err == nil && n < 1<<20 {
					in[s.Name] = tensor.Must(tensor.Zeros(s.DType, shape...))
				}
			}
			m.Summary()
			m.Close()
		}
		check(t, "file", onnx.MemorySource(data), in)
	})
}
