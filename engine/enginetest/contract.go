package enginetest

import (
	"context"
	"errors"
	"io/fs"
	"runtime"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// floats makes a tensor of 0, 1, 2, ... times step.
func floats(step float32, shape ...int) *tensor.Tensor {
	t := tensor.Must(tensor.Zeros(tensor.Float32, shape...))
	for i := range tensor.Data[float32](t) {
		tensor.Data[float32](t)[i] = float32(i) * step
	}
	return t
}

// smallGraph has two inputs and three outputs: the sum of the inputs, its
// product with a constant matrix, and a sum over the batch.
func smallGraph() *onnx.Builder {
	b := onnx.NewBuilder("small", 17)
	b.Input("a", tensor.Float32, "batch", 4)
	b.Input("b", tensor.Float32, "batch", 4)
	b.NodeTo("Add", []string{"a", "b"}, []string{"sum"}, nil)
	b.NodeTo("MatMul", []string{"sum", b.Const(floats(0.5, 4, 3))}, []string{"product"}, nil)
	b.NodeTo("ReduceSum", []string{"sum", b.Ints(0)}, []string{"total"}, onnx.Attrs{"keepdims": 0})
	b.Output("sum", tensor.Float32, "batch", 4)
	b.Output("product", tensor.Float32, "batch", 3)
	b.Output("total", tensor.Float32, 4)
	return b
}

// cacheGraph appends to a cache, as decoders do.
func cacheGraph() *onnx.Builder {
	b := onnx.NewBuilder("cache", 17)
	b.Input("past", tensor.Float32, "batch", 2, "past", 4)
	b.Input("new", tensor.Float32, "batch", 2, "new", 4)
	b.NodeTo("Concat", []string{"past", "new"}, []string{"present"}, onnx.Attrs{"axis": 2})
	b.NodeTo("ReduceSum", []string{"present", b.Ints(2)}, []string{"total"}, onnx.Attrs{"keepdims": 0})
	b.Output("present", tensor.Float32, "batch", 2, "all", 4)
	b.Output("total", tensor.Float32, "batch", 2, 4)
	return b
}

// slowGraph multiplies a matrix by itself many times: seconds of work.
func slowGraph() *onnx.Builder {
	b := onnx.NewBuilder("slow", 17)
	b.Input("x", tensor.Float32, 768, 768)
	v := "x"
	for range 400 {
		v = b.Node("MatMul", []string{v, "x"}, nil)
		v = b.Node("Tanh", []string{v}, nil)
	}
	b.NodeTo("Identity", []string{v}, []string{"y"}, nil)
	b.Output("y", tensor.Float32, 768, 768)
	return b
}

func open(t *testing.T, e engine.Engine, b *onnx.Builder, opts Options) engine.Session {
	t.Helper()
	s, err := e.Open(context.Background(), b.Source(), opts.Open)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func runContract(t *testing.T, e engine.Engine, opts Options) {
	ctx := context.Background()
	type tensors = map[string]*tensor.Tensor
	good := func(batch int) tensors { return tensors{"a": floats(1, batch, 4), "b": floats(2, batch, 4)} }

	t.Run("specs", func(t *testing.T) {
		s := open(t, e, smallGraph(), opts)
		if in, out := s.Inputs(), s.Outputs(); len(in) != 2 || in[0].String() != "a float32[batch,4]" || in[1].Name != "b" ||
			len(out) != 3 || out[1].String() != "product float32[batch,3]" {
			t.Errorf("inputs %v, outputs %v", in, out)
		}
	})
	t.Run("outputs", func(t *testing.T) {
		s := open(t, e, smallGraph(), opts)
		for _, batch := range []int{1, 3, 2} {
			all, err := s.Run(ctx, good(batch))
			if err != nil || len(all) != 3 {
				t.Fatalf("%v, %v", all, err)
			}
			if err := Compare(all["sum"], floats(3, batch, 4), 0, 0); err != nil {
				t.Error(err)
			}
			for name, want := range all {
				one, err := s.Run(ctx, good(batch), name)
				if err != nil || len(one) != 1 {
					t.Fatalf("%v, %v", one, err)
				}
				if err := Compare(one[name], want, 0, 0); err != nil {
					t.Errorf("%s alone: %v", name, err)
				}
			}
		}
	})
	t.Run("outputs stay", func(t *testing.T) { // a later run must not write to them
		s := open(t, e, smallGraph(), opts)
		first, err := s.Run(ctx, good(2))
		if err != nil {
			t.Fatal(err)
		}
		in := good(2)
		clear(tensor.Data[float32](in["a"]))
		if _, err := s.Run(ctx, in); err != nil {
			t.Fatal(err)
		}
		if err := Compare(first["sum"], floats(3, 2, 4), 0, 0); err != nil {
			t.Error(err)
		}
	})
	t.Run("zero-length cache", func(t *testing.T) {
		s := open(t, e, cacheGraph(), opts)
		cache := tensors{"past": tensor.Must(tensor.Zeros(tensor.Float32, 3, 2, 0, 4))}
		for step := range 4 {
			cache["new"] = floats(1, 3, 2, 1, 4)
			out, err := s.Run(ctx, cache)
			if err != nil {
				t.Fatal(err)
			}
			want := tensor.Must(floats(float32(step+1), 3, 2, 1, 4).Reshape(3, 2, 4))
			if err := Compare(out["total"], want, 0, 0); err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			cache["past"] = out["present"] // an output is a later run's input
		}
	})
	t.Run("empty batch", func(t *testing.T) {
		s := open(t, e, smallGraph(), opts)
		out, err := s.Run(ctx, good(0), "product")
		if err != nil || out["product"].Len() != 0 || out["product"].Dim(1) != 3 {
			t.Errorf("%v, %v", out, err)
		}
	})
	t.Run("bad inputs", func(t *testing.T) {
		s := open(t, e, smallGraph(), opts)
		for name, in := range map[string]tensors{
			"missing":    {"a": floats(1, 2, 4)},
			"nil":        {"a": floats(1, 2, 4), "b": nil},
			"unknown":    {"a": floats(1, 2, 4), "b": floats(1, 2, 4), "c": floats(1, 2, 4)},
			"type":       {"a": floats(1, 2, 4), "b": tensor.Must(tensor.Zeros(tensor.Int64, 2, 4))},
			"rank":       {"a": floats(1, 2, 4), "b": floats(1, 4)},
			"fixed size": {"a": floats(1, 2, 4), "b": floats(1, 2, 5)},
		} {
			if out, err := s.Run(ctx, in); !errors.Is(err, engine.ErrInput) {
				t.Errorf("%s: %v, %v", name, out, err)
			}
		}
		if out, err := s.Run(ctx, good(2), "nothing"); !errors.Is(err, engine.ErrInput) {
			t.Errorf("unknown output: %v, %v", out, err)
		}
		if _, err := s.Run(ctx, good(2)); err != nil {
			t.Errorf("a good run after bad ones: %v", err)
		}
	})
	t.Run("bad shapes inside", func(t *testing.T) { // free dimensions that disagree
		s := open(t, e, smallGraph(), opts)
		in := tensors{"a": floats(1, 2, 4), "b": floats(1, 3, 4)}
		if out, err := s.Run(ctx, in); !errors.Is(err, engine.ErrInput) && !errors.Is(err, engine.ErrGraph) {
			t.Errorf("%v, %v", out, err)
		}
	})
	t.Run("bad graphs", func(t *testing.T) {
		whole, err := smallGraph().Bytes()
		if err != nil {
			t.Fatal(err)
		}
		unknown := smallGraph()
		unknown.NodeTo("NoSuchOperator", []string{"a"}, []string{"x"}, nil)
		missing := smallGraph()
		missing.NodeTo("Add", []string{"a", "nowhere"}, []string{"x"}, nil)
		files := fstest.MapFS{
			"empty.onnx":     {Data: nil},
			"text.onnx":      {Data: []byte("this is no graph, whatever its name says\n")},
			"truncated.onnx": {Data: whole[:len(whole)*2/3]},
		}
		for name, b := range map[string]*onnx.Builder{"unknown.onnx": unknown, "missing.onnx": missing} {
			data, err := b.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			files[name] = &fstest.MapFile{Data: data}
		}
		for name := range files {
			s, err := e.Open(ctx, engine.Source{FS: files, Name: name}, opts.Open)
			if !errors.Is(err, engine.ErrGraph) {
				t.Errorf("%s: %v", name, err)
			}
			if err == nil {
				s.Close()
			}
		}
		if _, err := e.Open(ctx, engine.Source{FS: files, Name: "absent.onnx"}, opts.Open); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("absent: %v", err)
		}
	})
	t.Run("concurrent", func(t *testing.T) {
		s := open(t, e, smallGraph(), opts)
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for range 20 {
					out, err := s.Run(ctx, good(g+1), "sum")
					if err == nil {
						err = Compare(out["sum"], floats(3, g+1, 4), 0, 0)
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			}()
		}
		wg.Wait()
	})
	t.Run("cancelled before", func(t *testing.T) {
		s := open(t, e, smallGraph(), opts)
		gone, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := s.Run(gone, good(2)); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if _, err := s.Run(ctx, good(2)); err != nil {
			t.Errorf("the next run: %v", err)
		}
	})
	t.Run("cancelled while running", func(t *testing.T) {
		s := open(t, e, slowGraph(), opts)
		before := runtime.NumGoroutine()
		soon, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
		defer cancel()
		if _, err := s.Run(soon, tensors{"x": floats(1e-7, 768, 768)}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("want a deadline error, got %v", err)
		}
		for i := 0; runtime.NumGoroutine() > before && i < 100; i++ {
			time.Sleep(10 * time.Millisecond) // the context's own timer goroutine
		}
		if n := runtime.NumGoroutine(); n > before {
			t.Errorf("%d goroutines before, %d after", before, n)
		}
	})
	t.Run("close", func(t *testing.T) {
		s := open(t, e, smallGraph(), opts)
		for range 2 {
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		if _, err := s.Run(ctx, good(2)); !errors.Is(err, engine.ErrEngine) {
			t.Errorf("a run after close: %v", err)
		}
	})
	t.Run("close while running", func(t *testing.T) {
		s := open(t, e, smallGraph(), opts)
		var wg sync.WaitGroup
		start := make(chan struct{})
		for range 4 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				<-start
				for {
					out, err := s.Run(ctx, good(2), "sum")
					if err == nil {
						err = Compare(out["sum"], floats(3, 2, 4), 0, 0)
					}
					if errors.Is(err, engine.ErrEngine) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			}()
		}
		close(start)
		time.Sleep(5 * time.Millisecond)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
	t.Run("provider", func(t *testing.T) {
		o := opts.Open
		o.Provider = "no such provider"
		if s, err := e.Open(ctx, smallGraph().Source(), o); !errors.Is(err, engine.ErrEngine) {
			t.Error(err)
			if err == nil {
				s.Close()
			}
		}
	})
}
