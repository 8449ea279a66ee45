package enginebench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/tensor"
)

// Inputs makes seeded inputs for a graph: normal floats of deviation about 1, ones where a mask is
// asked for, small integers elsewhere. Dimensions that are not fixed have the sizes that dims gives
// them, 1 where it gives none.
func Inputs(specs []tensor.Spec, dims map[string]int) (map[string]*tensor.Tensor, error) {
	in := map[string]*tensor.Tensor{}
	random := uint64(7)
	next := func() uint64 {
		random = random*6364136223846793005 + 1442695040888963407
		return random >> 40
	}
	for _, s := range specs {
		if s.Shape == nil {
			return nil, fmt.Errorf("%w: the graph does not say how many dimensions input %q has",
				engine.ErrInput, s.Name)
		}
		shape := slices.Clone(s.Shape)
		for i, d := range shape {
			if d < 0 {
				shape[i] = 1
				if n, ok := dims[s.Dims[i]]; ok {
					shape[i] = n
				}
			}
		}
		t, err := tensor.Zeros(s.DType, shape...)
		if err != nil {
			return nil, fmt.Errorf("%w: input %v: %v", engine.ErrInput, s, err)
		}
		mask := strings.Contains(s.Name, "mask")
		float := func() float32 {
			if mask {
				return 0 // float masks are added
			}
			return (float32(next()) - 1<<23) / (1 << 22)
		}
		for i := range t.Len() {
			switch t.DType() {
			case tensor.Float32:
				tensor.Data[float32](t)[i] = float()
			case tensor.Float64:
				tensor.Data[float64](t)[i] = float64(float())
			case tensor.Float16:
				tensor.Data[tensor.Half](t)[i] = tensor.ToHalf(float())
			case tensor.BFloat16:
				tensor.Data[tensor.BF16](t)[i] = tensor.ToBF16(float())
			case tensor.Int64:
				tensor.Data[int64](t)[i] = 1
				if !mask && s.Name != "num_logits_to_keep" {
					tensor.Data[int64](t)[i] = int64(next() % 2)
				}
			case tensor.Int32:
				tensor.Data[int32](t)[i] = 1
			case tensor.Bool:
				tensor.Data[bool](t)[i] = true
			}
		}
		in[s.Name] = t
	}
	return in, nil
}

// Timing holds the times that one engine took for each run, in order.
type Timing struct {
	Wall []time.Duration
	CPU  []time.Duration // of the whole process; nil where the system does not report it
	Open time.Duration
}

// Measure runs the sessions in turns, warm-up runs first: a run of each, again and again, so that
// other load on the machine affects all of them alike. Where sessions may leave threads spinning,
// which would take cores from the next one, each turn begins when the process has come to rest, with
// a run that does not count and wakes the session's own threads.
func Measure(
	ctx context.Context, sessions []engine.Session, in map[string]*tensor.Tensor, warm, runs int,
	spinning bool,
) ([]Timing, error) {
	timings := make([]Timing, len(sessions))
	for i := range warm + runs {
		for k, s := range sessions {
			if spinning {
				rest(ctx)
				if _, err := s.Run(ctx, in); err != nil {
					return nil, err
				}
			}
			cpu, start := processTime(), time.Now()
			if _, err := s.Run(ctx, in); err != nil {
				return nil, err
			}
			if wall := time.Since(start); i >= warm {
				timings[k].Wall = append(timings[k].Wall, wall)
				if cpu > 0 {
					timings[k].CPU = append(timings[k].CPU, processTime()-cpu)
				}
			}
		}
	}
	return timings, nil
}

// rest waits until the process uses next to no processor time, for two seconds at most. The system
// books the time of a thread that runs on another core when its clock ticks, every 1 to 10
// milliseconds: in less than two ticks a thread that spins could seem to be at rest.
func rest(ctx context.Context) {
	const step = 20 * time.Millisecond
	for range 100 {
		before := processTime()
		time.Sleep(step)
		if ctx.Err() != nil || processTime()-before < step/10 {
			return
		}
	}
}

// Median returns the median of durations in milliseconds.
func Median(d []time.Duration) float64 {
	return quantile(milliseconds(d), 0.5)
}

func milliseconds(d []time.Duration) []float64 {
	ms := make([]float64, len(d))
	for i, v := range d {
		ms[i] = float64(v) / float64(time.Millisecond)
	}
	return ms
}

func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	at := q * float64(len(v)-1)
	i := int(at)
	if i+1 >= len(v) {
		return v[len(v)-1]
	}
	return v[i] + (at-float64(i))*(v[i+1]-v[i])
}

// Ratio compares pairs: the median of a[i]/b[i], and the quartiles around it.
func Ratio(a, b []time.Duration) (median, low, high float64) {
	var r []float64
	for i := range a {
		if i < len(b) && b[i] > 0 {
			r = append(r, float64(a[i])/float64(b[i]))
		}
	}
	return quantile(r, 0.5), quantile(r, 0.25), quantile(r, 0.75)
}
