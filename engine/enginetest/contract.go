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

// contract is what package engine promises, case by case.
var contract = []struct {
	name string
	test func(t *testing.T, e subject)
	// alone: the test counts what the process does, and does not run beside others.
	alone bool
}{
	{name: "specs", test: testSpecs},
	{name: "outputs", test: testOutputs},
	{name: "outputs stay", test: testOutputsStay},
	{name: "zero-length cache", test: testZeroLengthCache},
	{name: "empty batch", test: testEmptyBatch},
	{name: "bad inputs", test: testBadInputs},
	{name: "bad shapes inside", test: testBadShapesInside},
	{name: "bad graphs", test: testBadGraphs},
	{name: "concurrent", test: testConcurrent},
	{name: "cancelled before", test: testCancelledBefore},
	{name: "cancelled while running", test: testCancelledWhileRunning, alone: true},
	{name: "close", test: testClose},
	{name: "close while running", test: testCloseWhileRunning},
	{name: "provider", test: testProvider},
	{name: "taps", test: testTaps},
	{name: "taps after close", test: testTapsAfterClose},
}

// subject is the engine under test, and how it opens graphs.
type subject struct {
	engine.Engine
	options engine.Options
}

// open opens a graph for the length of a test.
func (e subject) open(t *testing.T, b *onnx.Builder) engine.Session {
	t.Helper()
	s, err := e.Open(t.Context(), b.Source(), e.options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func runContract(t *testing.T, e subject) {
	for _, c := range contract {
		t.Run(c.name, func(t *testing.T) {
			if !c.alone {
				t.Parallel()
			}
			c.test(t, e)
		})
	}
}

func testSpecs(t *testing.T, e subject) {
	s := e.open(t, smallGraph())
	in, out := s.Inputs(), s.Outputs()
	if len(in) != 2 || in[0].String() != "a float32[batch,4]" || in[1].Name != "b" ||
		len(out) != 3 || out[1].String() != "product float32[batch,3]" {
		t.Errorf("inputs %v, outputs %v", in, out)
	}
}

// The outputs asked for are computed, and no others.
func testOutputs(t *testing.T, e subject) {
	s := e.open(t, smallGraph())
	for _, batch := range []int{1, 3, 2} {
		all, err := s.Run(t.Context(), small(batch))
		if err != nil || len(all) != 3 {
			t.Fatalf("%v, %v", all, err)
		}
		if err := Compare(all["sum"], floats(3, batch, 4), 0, 0); err != nil {
			t.Error(err)
		}
		for name, want := range all {
			one, err := s.Run(t.Context(), small(batch), name)
			if err != nil || len(one) != 1 {
				t.Fatalf("%v, %v", one, err)
			}
			if err := Compare(one[name], want, 0, 0); err != nil {
				t.Errorf("%s alone: %v", name, err)
			}
		}
	}
}

// A later run does not write to the outputs of an earlier one.
func testOutputsStay(t *testing.T, e subject) {
	s := e.open(t, smallGraph())
	first, err := s.Run(t.Context(), small(2))
	if err != nil {
		t.Fatal(err)
	}
	in := small(2)
	clear(tensor.Data[float32](in["a"]))
	if _, err := s.Run(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if err := Compare(first["sum"], floats(3, 2, 4), 0, 0); err != nil {
		t.Error(err)
	}
}

func testZeroLengthCache(t *testing.T, e subject) {
	s := e.open(t, cacheGraph())
	cache := tensors{"past": tensor.Must(tensor.Zeros(tensor.Float32, 3, 2, 0, 4))}
	for step := range 4 {
		cache["new"] = floats(1, 3, 2, 1, 4)
		out, err := s.Run(t.Context(), cache)
		if err != nil {
			t.Fatal(err)
		}
		want := tensor.Must(floats(float32(step+1), 3, 2, 1, 4).Reshape(3, 2, 4))
		if err := Compare(out["total"], want, 0, 0); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		cache["past"] = out["present"] // an output is a later run's input
	}
}

func testEmptyBatch(t *testing.T, e subject) {
	s := e.open(t, smallGraph())
	out, err := s.Run(t.Context(), small(0), "product")
	if err != nil || out["product"].Len() != 0 || out["product"].Dim(1) != 3 {
		t.Errorf("%v, %v", out, err)
	}
}

// Inputs are refused with the error of engine.CheckInputs, the same on every engine.
func testBadInputs(t *testing.T, e subject) {
	s := e.open(t, smallGraph())
	for name, c := range map[string]struct {
		in    tensors
		unfit bool // a tensor that does not fit its spec
	}{
		"missing":      {in: tensors{"a": floats(1, 2, 4)}},
		"nothing":      {},
		"nil":          {in: tensors{"a": floats(1, 2, 4), "b": nil}},
		"unknown":      {in: tensors{"a": floats(1, 2, 4), "b": floats(1, 2, 4), "c": floats(1, 2, 4)}},
		"unknown, nil": {in: tensors{"a": floats(1, 2, 4), "b": floats(1, 2, 4), "c": nil}},
		"type": {
			in:    tensors{"a": floats(1, 2, 4), "b": tensor.Must(tensor.Zeros(tensor.Int64, 2, 4))},
			unfit: true,
		},
		"rank":       {in: tensors{"a": floats(1, 2, 4), "b": floats(1, 4)}, unfit: true},
		"fixed size": {in: tensors{"a": floats(1, 2, 4), "b": floats(1, 2, 5)}, unfit: true},
	} {
		out, err := s.Run(t.Context(), c.in)
		if !errors.Is(err, engine.ErrInput) || errors.Is(err, tensor.ErrTensor) != c.unfit {
			t.Errorf("%s: %v, %v", name, out, err)
		}
		want := engine.CheckInputs(s.Inputs(), c.in)
		if err == nil || want == nil || err.Error() != want.Error() {
			t.Errorf("%s: error %v, CheckInputs says %v", name, err, want)
		}
	}
	if out, err := s.Run(t.Context(), small(2), "nothing"); !errors.Is(err, engine.ErrInput) {
		t.Errorf("unknown output: %v, %v", out, err)
	}
	if err := engine.CheckInputs(s.Inputs(), small(2)); err != nil {
		t.Errorf("CheckInputs of good inputs: %v", err)
	}
	if _, err := s.Run(t.Context(), small(2)); err != nil {
		t.Errorf("a good run after bad ones: %v", err)
	}
}

// Free dimensions may disagree, which only the run can tell.
func testBadShapesInside(t *testing.T, e subject) {
	s := e.open(t, smallGraph())
	in := tensors{"a": floats(1, 2, 4), "b": floats(1, 3, 4)}
	out, err := s.Run(t.Context(), in)
	if !errors.Is(err, engine.ErrInput) && !errors.Is(err, engine.ErrGraph) {
		t.Errorf("%v, %v", out, err)
	}
}

func testBadGraphs(t *testing.T, e subject) {
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
	built := map[string]*onnx.Builder{"unknown.onnx": unknown, "missing.onnx": missing}
	for name, b := range built {
		data, err := b.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: data}
	}
	for name := range files {
		s, err := e.Open(t.Context(), engine.Source{FS: files, Name: name}, e.options)
		if !errors.Is(err, engine.ErrGraph) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			s.Close()
		}
	}
	absent := engine.Source{FS: files, Name: "absent.onnx"}
	if _, err := e.Open(t.Context(), absent, e.options); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}

func testConcurrent(t *testing.T, e subject) {
	s := e.open(t, smallGraph())
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for range 20 {
				if err := runSum(t.Context(), s, g+1); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// runSum runs smallGraph for its sum, and checks it.
func runSum(ctx context.Context, s engine.Session, batch int) error {
	out, err := s.Run(ctx, small(batch), "sum")
	if err != nil {
		return err
	}
	return Compare(out["sum"], floats(3, batch, 4), 0, 0)
}

func testCancelledBefore(t *testing.T, e subject) {
	s := e.open(t, smallGraph())
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Run(gone, small(2)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := s.Run(t.Context(), small(2)); err != nil {
		t.Errorf("the next run: %v", err)
	}
}

// A run that is stopped leaves no goroutine behind.
func testCancelledWhileRunning(t *testing.T, e subject) {
	s := e.open(t, slowGraph())
	before := runtime.NumGoroutine()
	soon, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err := s.Run(soon, tensors{"x": floats(1e-7, 768, 768)})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("want a deadline error, got %v", err)
	}
	for i := 0; runtime.NumGoroutine() > before && i < 100; i++ {
		time.Sleep(10 * time.Millisecond) // the context's own timer goroutine
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines before, %d after", before, n)
	}
}

func testClose(t *testing.T, e subject) {
	s := e.open(t, smallGraph())
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if _, err := s.Run(t.Context(), small(2)); !errors.Is(err, engine.ErrEngine) {
		t.Errorf("a run after close: %v", err)
	}
}

// Runs in progress end well, and later ones say that the session is closed.
func testCloseWhileRunning(t *testing.T, e subject) {
	s := e.open(t, smallGraph())
	var running, all sync.WaitGroup
	for range 4 {
		running.Add(1)
		all.Go(func() {
			for started := false; ; started = true {
				err := runSum(t.Context(), s, 2)
				if !started {
					running.Done()
				}
				if errors.Is(err, engine.ErrEngine) && started {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	all.Wait()
}

func testProvider(t *testing.T, e subject) {
	o := e.options
	o.Provider = "no such provider"
	if s, err := e.Open(t.Context(), smallGraph().Source(), o); !errors.Is(err, engine.ErrEngine) {
		t.Error(err)
		if err == nil {
			s.Close()
		}
	}
}
