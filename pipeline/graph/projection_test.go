package graph

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/tensor"
)

// meeting is a context whose Err, which each core asks before a piece of work, keeps its first
// caller until a second one has come.
type meeting struct {
	context.Context
	callers atomic.Int64
	met     chan struct{}
	alone   bool // nobody came
}

func (m *meeting) Err() error {
	switch m.callers.Add(1) {
	case 1:
		select {
		case <-m.met:
		case <-time.After(10 * time.Second):
			m.alone = true
		}
	case 2:
		close(m.met)
	}
	return nil
}

// A projection of a picture's size, 257 rows from 1408 to 768, is computed by several cores.
func TestProjectionUsesCores(t *testing.T) {
	t.Parallel()
	if runtime.GOMAXPROCS(0) < 2 {
		t.Skip("one core")
	}
	const rows, in, out = 257, 1408, 768
	weight := make([]float32, in*out)
	for i := range out {
		weight[i*in+i] = float32(i)
	}
	p, err := LoadProjection(models.Weights{"p.weight": tensor.Must(tensor.New([]int{out, in}, weight))}, "p")
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, rows*in)
	for i := range x {
		x[i] = float32(i / in)
	}
	ctx := &meeting{Context: t.Context(), met: make(chan struct{})}
	y, err := p.Apply(ctx, tensor.Must(tensor.New([]int{1, rows, in}, x)))
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range tensor.Data[float32](y) {
		if v != float32(i/out*(i%out)) {
			t.Fatalf("row %d, column %d: %v", i/out, i%out, v)
		}
	}
	if ctx.alone {
		t.Error("one core did it all")
	}
}
