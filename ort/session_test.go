//go:build cgo && !noort

package ort

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// cacheGraph appends to a cache as decoders do, layers times.
func cacheGraph(layers int) *onnx.Builder {
	b := onnx.NewBuilder("cache", 17)
	b.Input("new", tensor.Float32, "batch", 4, "new", 8)
	for i := range layers {
		past, present := fmt.Sprintf("past.%d", i), fmt.Sprintf("present.%d", i)
		b.Input(past, tensor.Float32, "batch", 4, "past", 8)
		b.NodeTo("Concat", []string{past, "new"}, []string{present}, onnx.Attrs{"axis": 2})
		b.Output(present, tensor.Float32, "batch", 4, "all", 8)
	}
	return b
}

// doubler returns twice its input, of any length.
func doubler() *onnx.Builder {
	b := onnx.NewBuilder("doubler", 17)
	b.Input("x", tensor.Float32, "n")
	b.NodeTo("Add", []string{"x", "x"}, []string{"y"}, nil)
	b.Output("y", tensor.Float32, "n")
	return b
}

// slow takes seconds, in steps of a few milliseconds.
func slow() *onnx.Builder {
	b := onnx.NewBuilder("slow", 17)
	b.Input("x", tensor.Float32, 512, 512)
	v := "x"
	for range 500 {
		v = b.Node("Tanh", []string{b.Node("MatMul", []string{v, "x"}, nil)}, nil)
	}
	b.NodeTo("Identity", []string{v}, []string{"y"}, nil)
	b.Output("y", tensor.Float32, 512, 512)
	return b
}

// Every element type, in every kind of shape, goes through unchanged, be the output small or big:
// the cases in which onnxruntime_go's own outputs fail (float16, no dimensions) among them.
func TestElementTypesAndShapes(t *testing.T) {
	t.Parallel()
	fill := map[tensor.DType]func(n int) any{
		tensor.Float32: func(n int) any { return make2(n, func(i int) float32 { return float32(i) - 1.5 }) },
		tensor.Float16: func(n int) any { return make2(n, func(i int) tensor.Half { return tensor.ToHalf(float32(i % 999)) }) },
		tensor.Int64:   func(n int) any { return make2(n, func(i int) int64 { return math.MinInt64 + int64(i) }) },
		tensor.Int32:   func(n int) any { return make2(n, func(i int) int32 { return int32(-i) }) },
		tensor.Int8:    func(n int) any { return make2(n, func(i int) int8 { return int8(i) }) },
		tensor.Uint8:   func(n int) any { return make2(n, func(i int) uint8 { return uint8(i) }) },
		tensor.Bool:    func(n int) any { return make2(n, func(i int) bool { return i%3 == 0 }) },
	}
	for dtype := tensor.Float32; dtype <= tensor.Bool; dtype++ {
		for _, shape := range [][]int{{}, {1}, {0}, {3, 0, 2}, {2, 3}, {1, 1, 1, 1, 1, 1, 2}, {1 << 17}, {2, 3, 1 << 15}} {
			t.Run(fmt.Sprint(dtype, shape), func(t *testing.T) {
				b := onnx.NewBuilder("copy", 17)
				dims := make([]any, len(shape))
				for i := range dims {
					dims[i] = fmt.Sprint("d", i)
				}
				b.Input("x", dtype, dims...)
				b.Output("y", dtype, dims...)
				// Transposed twice, the value is the input's, but the memory is not.
				v := b.Node("Transpose", []string{"x"}, nil)
				b.NodeTo("Transpose", []string{v}, []string{"y"}, nil)
				in, err := fromAny(shape, fill[dtype](product(shape)))
				if err != nil {
					t.Fatal(err)
				}
				out, err := open(t, b).Run(t.Context(), tensors{"x": in})
				if err != nil {
					t.Fatal(err)
				}
				if err := enginetest.Compare(out["y"], in, 0, 0); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func make2[T any](n int, f func(int) T) []T {
	s := make([]T, n)
	for i := range s {
		s[i] = f(i)
	}
	return s
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

func fromAny(shape []int, data any) (*tensor.Tensor, error) {
	switch d := data.(type) {
	case []float32:
		return tensor.New(shape, d)
	case []tensor.Half:
		return tensor.New(shape, d)
	case []int64:
		return tensor.New(shape, d)
	case []int32:
		return tensor.New(shape, d)
	case []int8:
		return tensor.New(shape, d)
	case []uint8:
		return tensor.New(shape, d)
	}
	return tensor.New(shape, data.([]bool))
}

func TestSpecs(t *testing.T) {
	t.Parallel()
	b := onnx.NewBuilder("specs", 17)
	b.Input("fixed", tensor.Float32, 2, 3)
	b.Input("open", tensor.Int64, "batch", 3)
	b.Input("scalar", tensor.Bool)
	b.Input("any", tensor.Float16)
	b.Model.Graph.Input[3].GetType().GetTensorType().Shape = nil // no word about dimensions
	for _, name := range []string{"fixed", "open", "scalar", "any"} {
		b.NodeTo("Identity", []string{name}, []string{name + "2"}, nil)
	}
	b.Output("fixed2", tensor.Float32, 2, 3)
	b.Output("open2", tensor.Int64, "batch", 3)
	b.Output("scalar2", tensor.Bool)
	b.Output("any2", tensor.Float16)
	b.Model.Graph.Output[3].GetType().GetTensorType().Shape = nil
	s := open(t, b)
	for _, specs := range [][]tensor.Spec{s.Inputs(), s.Outputs()} {
		var got []string
		for _, spec := range specs {
			got = append(got, strings.Replace(spec.String(), "2 ", " ", 1))
		}
		want := []string{"fixed float32[2,3]", "open int64[batch,3]", "scalar bool[]", "any float16[...]"}
		if !slices.Equal(got, want) {
			t.Errorf("specs %q, want %q", got, want)
		}
	}
	in := tensors{"fixed": ramp(2, 3), "open": tensor.Must(tensor.New([]int{1, 3}, []int64{1, 2, 3})), "scalar": tensor.Scalar(true)}
	for _, shape := range [][]int{{}, {5}, {2, 2, 2}} {
		in["any"] = tensor.Must(tensor.Zeros(tensor.Float16, shape...))
		out, err := s.Run(t.Context(), in, "any2")
		if err != nil || !slices.Equal(out["any2"].Shape(), shape) {
			t.Errorf("any shape %v: %v, %v", shape, out, err)
		}
	}
}

// onnxruntime_go panics on a graph without inputs.
func TestGraphWithoutInputs(t *testing.T) {
	t.Parallel()
	b := onnx.NewBuilder("constant", 17)
	b.NodeTo("Identity", []string{b.Const(ramp(3))}, []string{"y"}, nil)
	b.Output("y", tensor.Float32, 3)
	s := open(t, b)
	for _, in := range []tensors{nil, {}} {
		out, err := s.Run(t.Context(), in)
		if err != nil || enginetest.Compare(out["y"], ramp(3), 0, 0) != nil {
			t.Errorf("%v, %v", out, err)
		}
	}
}

// Outputs must not share memory with what the caller may change (an input handed through) or what
// Close frees (a constant).
func TestOutputsAreTheCallers(t *testing.T) {
	t.Parallel()
	const n = 1 << 16
	b := onnx.NewBuilder("through", 17)
	b.Input("x", tensor.Float32, "n")
	b.NodeTo("Identity", []string{"x"}, []string{"through"}, nil)
	b.NodeTo("Identity", []string{b.Const(ramp(n))}, []string{"constant"}, nil)
	b.NodeTo("Reshape", []string{"x", b.Ints(-1, 2)}, []string{"reshaped"}, nil)
	b.Output("through", tensor.Float32, "n")
	b.Output("constant", tensor.Float32, n)
	b.Output("reshaped", tensor.Float32, "half", 2)
	for _, noFusion := range []bool{false, true} {
		s, err := testEngine(t).Open(t.Context(), b.Source(), engine.Options{NoFusion: noFusion})
		if err != nil {
			t.Fatal(err)
		}
		x := ramp(n)
		out, err := s.Run(t.Context(), tensors{"x": x})
		if err != nil {
			t.Fatal(err)
		}
		clear(tensor.Data[float32](x))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		for name, shape := range map[string][]int{"through": {n}, "constant": {n}, "reshaped": {n / 2, 2}} {
			if err := enginetest.Compare(out[name], ramp(shape...), 0, 0); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// A big output stays in ONNX Runtime, goes back in as it is, and is copied once if somebody looks.
func TestBigOutputsStayInside(t *testing.T) {
	t.Parallel()
	s := open(t, cacheGraph(1))
	in := tensors{"past.0": tensor.Must(tensor.Zeros(tensor.Float32, 1, 4, 0, 8)), "new": ramp(1, 4, 1024, 8)}
	var want []float32 // of head 0
	for step := range 5 {
		out, err := s.Run(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		present := out["present.0"]
		if present.Storage() == nil {
			t.Fatalf("step %d: %v was copied to Go memory", step, present)
		}
		in["past.0"] = present
		want = append(want, tensor.Data[float32](in["new"])[:1024*8]...)
	}
	last := in["past.0"]
	if got := tensor.Data[float32](last)[:len(want)]; !slices.Equal(got, want) {
		t.Error("the cache does not hold what was appended")
	}
	if last.Storage() != nil {
		t.Error("the elements are in Go memory, and still elsewhere")
	}
	if _, err := s.Run(t.Context(), in); err != nil {
		t.Errorf("an output that was looked at is no input any more: %v", err)
	}
}

func TestReleasedOutputs(t *testing.T) {
	s := open(t, doubler())
	run := func() *tensor.Tensor {
		out, err := s.Run(t.Context(), tensors{"x": ramp(1 << 18)})
		if err != nil {
			t.Fatal(err)
		}
		return out["y"]
	}
	runtime.GC()
	before := bytesHeld()
	y := run()
	reshaped := tensor.Must(y.Reshape(1<<9, 1<<9))
	y.Release()
	y.Release()
	reshaped.Release()
	if n := bytesHeld(); n > before {
		t.Errorf("%d bytes are still held", n-before)
	}
	if _, err := s.Run(t.Context(), tensors{"x": y}); !errors.Is(err, engine.ErrInput) {
		t.Errorf("a released tensor as input: %v", err)
	}
	y = run()
	data := tensor.Data[float32](y)
	y.Release()
	if data[1000] != 2000 || len(tensor.Data[float32](y)) != 1<<18 {
		t.Error("Release took elements that were in Go memory")
	}
	// Releasing what a run reads right now must wait for the run.
	var wg sync.WaitGroup
	for range 50 {
		y := run()
		for range 2 {
			wg.Go(func() {
				out, err := s.Run(context.Background(), tensors{"x": y})
				if err == nil && tensor.Data[float32](out["y"])[1000] != 4000 {
					t.Error("wrong elements")
				} else if err != nil && !errors.Is(err, engine.ErrInput) {
					t.Error(err)
				}
			})
		}
		wg.Go(y.Release)
		wg.Wait()
	}
}

// The collector does not see what outputs hold; dropping them without a word must not pile them up
// all the same.
func TestDroppedOutputsAreFreed(t *testing.T) {
	s := open(t, doubler())
	x := ramp(1 << 18) // 1 MiB
	var most int64
	for range 1000 {
		if _, err := s.Run(t.Context(), tensors{"x": x}); err != nil {
			t.Fatal(err)
		}
		most = max(most, bytesHeld())
	}
	if most > 3*minGarbage {
		t.Errorf("%d MiB were held at once", most>>20)
	}
	for range 100 {
		runtime.GC()
		if bytesHeld() == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d bytes are held when nothing is in use", bytesHeld())
}

// Elements in Go memory are pinned while C reads them: a collector that runs all the time, and a
// heap that is written all over, change nothing.
func TestCollectorUnderRuns(t *testing.T) {
	s := open(t, doubler())
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !stop.Load() {
			junk := make([]float32, 1<<16)
			for i := range junk {
				junk[i] = -1
			}
			runtime.GC()
		}
	})
	for range 300 {
		out, err := s.Run(t.Context(), tensors{"x": ramp(1 << 16)})
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range tensor.Data[float32](out["y"]) {
			if v != float32(2*i) {
				t.Fatalf("element %d is %v", i, v)
			}
		}
	}
	stop.Store(true)
	wg.Wait()
}

func TestManyGoroutines(t *testing.T) {
	t.Parallel()
	s := open(t, cacheGraph(2))
	var wg sync.WaitGroup
	for g := range 64 {
		wg.Go(func() {
			fresh := ramp(1, 4, g+1, 8)
			in := tensors{"new": fresh, "past.0": tensor.Must(tensor.Zeros(tensor.Float32, 1, 4, 0, 8)), "past.1": fresh}
			for step := range 10 {
				out, err := s.Run(t.Context(), in)
				if err != nil {
					t.Error(err)
					return
				}
				in["past.0"] = out["present.0"]
				if err := enginetest.Compare(tensor.Must(out["present.1"].Reshape(4, 2, g+1, 8)), twice(fresh, g+1), 0, 0); err != nil {
					t.Errorf("goroutine %d, step %d: %v", g, step, err)
					return
				}
			}
			if n := in["past.0"].Dim(2); n != 10*(g+1) {
				t.Errorf("the cache holds %d positions, want %d", n, 10*(g+1))
			}
		})
	}
	wg.Wait()
}

// twice is what appending fresh [1,4,n,8] to itself gives, as [4,2,n,8].
func twice(fresh *tensor.Tensor, n int) *tensor.Tensor {
	var data []float32
	for head := range 4 {
		one := tensor.Data[float32](fresh)[head*n*8 : (head+1)*n*8]
		data = append(append(data, one...), one...)
	}
	return tensor.Must(tensor.New([]int{4, 2, n, 8}, data))
}

func TestCancel(t *testing.T) {
	s := open(t, slow())
	in := tensors{"x": tensor.Must(tensor.Zeros(tensor.Float32, 512, 512))}
	goroutines := runtime.NumGoroutine()
	for name, begin := range map[string]func() (context.Context, context.CancelFunc){
		"cancel": func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(30*time.Millisecond, cancel)
			return ctx, cancel
		},
		"deadline": func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), 30*time.Millisecond)
		},
		"before": func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			return ctx, cancel
		},
	} {
		ctx, cancel := begin()
		out, err := s.Run(ctx, in)
		if !errors.Is(err, ctx.Err()) || ctx.Err() == nil || out != nil {
			t.Errorf("%s: %v, %v", name, out, err)
		}
		if errors.Is(err, engine.ErrInput) || strings.Contains(err.Error(), "terminate") {
			t.Errorf("%s: the error speaks of something else: %v", name, err)
		}
		cancel()
	}
	for i := 0; runtime.NumGoroutine() > goroutines && i < 100; i++ {
		time.Sleep(10 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("%d goroutines are left, %d before", n, goroutines)
	}
	// One that ends in time does not notice the context, and the session is fine.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if out, err := open(t, doubler()).Run(ctx, tensors{"x": ramp(3)}); err != nil || out["y"].Len() != 3 {
		t.Errorf("%v, %v", out, err)
	}
}

// Close waits for the run, which comes to its right end or is cancelled.
func TestCloseWaits(t *testing.T) {
	t.Parallel()
	s := open(t, slow())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := s.Run(ctx, tensors{"x": tensor.Must(tensor.Zeros(tensor.Float32, 512, 512))})
		done <- err
	}()
	for s.(*session).running.TryLock() { // until the run has begun
		s.(*session).running.Unlock()
		time.Sleep(time.Millisecond)
	}
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case <-closed:
		t.Error("Close came back while a run was going on")
	case <-time.After(50 * time.Millisecond):
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := s.Run(t.Context(), nil); !errors.Is(err, engine.ErrEngine) {
		t.Errorf("run after Close: %v", err)
	}
	if len(s.Inputs()) != 1 || s.Outputs()[0].Name != "y" {
		t.Error("a closed session has forgotten its inputs or outputs")
	}
}

// float64 and bfloat16 go in and come out as they are.
func TestOtherFloats(t *testing.T) {
	t.Parallel()
	b := onnx.NewBuilder("floats", 17)
	b.Input("x", tensor.Float64, 2)
	b.Input("z", tensor.BFloat16, 3)
	b.NodeTo("Neg", []string{"x"}, []string{"y"}, nil)
	b.NodeTo("Identity", []string{"z"}, []string{"same"}, nil)
	b.Output("y", tensor.Float64, 2)
	b.Output("same", tensor.BFloat16, 3)
	out, err := open(t, b).Run(t.Context(), tensors{
		"x": tensor.Must(tensor.New([]int{2}, []float64{math.Pi, -1e300})),
		"z": tensor.Must(tensor.New([]int{3}, []tensor.BF16{0x3f80, 0xff80, 1})),
	})
	if err != nil {
		t.Fatal(err)
	}
	if y := tensor.Data[float64](out["y"]); !slices.Equal(y, []float64{-math.Pi, 1e300}) {
		t.Error(y)
	}
	same := tensor.Data[tensor.BF16](out["same"])
	if !slices.Equal(same, []tensor.BF16{0x3f80, 0xff80, 1}) {
		t.Error(same)
	}
}

// Types that package tensor lacks: what can be run without them is run.
func TestForeignTypes(t *testing.T) {
	t.Parallel()
	b := onnx.NewBuilder("foreign", 17)
	b.Input("x", tensor.Float32, 2)
	b.NodeTo("Cast", []string{"x"}, []string{"unsigned"}, onnx.Attrs{"to": 12})
	b.NodeTo("Neg", []string{"x"}, []string{"y"}, nil)
	b.NodeTo("SequenceConstruct", []string{"x"}, []string{"list"}, nil)
	b.NodeTo("SequenceLength", []string{"list"}, []string{"length"}, nil)
	b.Output("unsigned", tensor.Float32, 2)
	b.Model.Graph.Output[0].GetType().GetTensorType().ElemType = new(int32)
	*b.Model.Graph.Output[0].GetType().GetTensorType().ElemType = 12 // UINT32
	b.Output("y", tensor.Float32, 2)
	b.Output("length", tensor.Int64)
	s := open(t, b)
	if out := s.Outputs(); out[0].DType != tensor.Invalid {
		t.Errorf("outputs %v", out)
	}
	for _, names := range [][]string{nil, {"unsigned"}} {
		if _, err := s.Run(t.Context(), tensors{"x": ramp(2)}, names...); !errors.Is(err, engine.ErrGraph) || !strings.Contains(err.Error(), `"unsigned"`) {
			t.Errorf("%v: %v", names, err)
		}
	}
	out, err := s.Run(t.Context(), tensors{"x": ramp(2)}, "y", "length", "y")
	if err != nil || len(out) != 2 || tensor.Data[int64](out["length"])[0] != 1 {
		t.Errorf("%v, %v", out, err)
	}
}
