package fallback_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginebench"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/tensor"
)

func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// XB="path dim=1 dim=2;path..." XN=runs
func TestScratchBench(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("XN"))
	for _, line := range strings.Split(os.Getenv("XB"), ";") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		dims := map[string]int{}
		for _, kv := range f[1:] {
			k, v, _ := strings.Cut(kv, "=")
			dims[k], _ = strconv.Atoi(v)
		}
		src := engine.FileSource(f[0])
		for _, g := range enginebench.Graphs() {
			if "builtin:"+g.Name == f[0] {
				src, dims = g.Build().Source(), g.Dims
			}
		}
		s, err := fallback.New().Open(context.Background(), src, engine.Options{Threads: 1, NoFusion: os.Getenv("XF") != ""})
		if err != nil {
			t.Fatal(err)
		}
		in := map[string]*tensor.Tensor{}
		for _, spec := range s.Inputs() {
			shape := append([]int{}, spec.Shape...)
			for i := range shape {
				if shape[i] < 0 {
					shape[i] = 1
					if d, ok := dims[spec.Dims[i]]; ok {
						shape[i] = d
					}
				}
			}
			x := tensor.Must(tensor.Zeros(spec.DType, shape...))
			r := rand.New(rand.NewPCG(1, 2))
			for i := range tensor.Data[float32](x) {
				tensor.Data[float32](x)[i] = float32(r.NormFloat64())
			}
			for i := range tensor.Data[int64](x) {
				tensor.Data[int64](x)[i] = 1
			}
			in[spec.Name] = x
		}
		best := time.Hour
		for range n {
			t0 := cpuTime()
			if _, err := s.Run(context.Background(), in); err != nil {
				t.Fatal(err)
			}
			best = min(best, cpuTime()-t0)
		}
		fmt.Println(line, "go best cpu", best)
	}
}
