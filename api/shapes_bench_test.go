package api

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crossattn/xpipe/internal/enginebench"
	"github.com/crossattn/xpipe/pipeline/compare"
)

// The first engine is compared with each of the others, and what is not known is left out.
func TestNewBench(t *testing.T) {
	t.Parallel()
	run := func(wall, cpu time.Duration) enginebench.Timing {
		timing := enginebench.Timing{Wall: slices.Repeat([]time.Duration{wall}, 3)}
		if cpu > 0 {
			timing.CPU = slices.Repeat([]time.Duration{cpu}, 3)
		}
		return timing
	}
	const ms = time.Millisecond
	timings := []enginebench.Timing{run(4*ms, 8*ms), run(2*ms, 4*ms), run(8*ms, 16*ms)}
	timings[0].Open = time.Second
	names := []string{"go", "ort", "third"}
	b := NewBench("g", names, timings, 1e9, 500)
	b.AddFootprints(names, []enginebench.Footprint{
		{OpenMS: 10, PeakMB: 30, HeldMB: 20}, {OpenMS: 20, PeakMB: 60, HeldMB: 50}, {OpenMS: 5},
	})
	var got strings.Builder
	WriteJSON(&got, b)
	want := `{"graph":"g","threads":0,"runs":3,"gflop":1,"engines":{` +
		`"go":{"ms":4,"cpu_ms":8,"open_ms":10,"peak_mb":30,"held_mb":20,"gflops":250,"peak_share":0.25},` +
		`"ort":{"ms":2,"cpu_ms":4,"open_ms":20,"peak_mb":60,"held_mb":50,"gflops":500,"peak_share":0.5,` +
		`"ratio":2,"ratio_low":2,"ratio_high":2,"cpu_ratio":2,"open_ratio":0.5,"peak_ratio":0.5},` +
		`"third":{"ms":8,"cpu_ms":16,"open_ms":5,"gflops":125,"peak_share":0.125,` +
		`"ratio":0.5,"ratio_low":0.5,"ratio_high":0.5,"cpu_ratio":0.5,"open_ratio":2}},` +
		`"ratio":2,"ratio_low":2,"ratio_high":2,"cpu_ratio":2,"open_ratio":0.5,"peak_ratio":0.5,` +
		`"go_ms":4,"go_cpu_ms":8,"go_open_ms":10,"go_peak_mb":30,"go_held_mb":20,"go_gflops":250,` +
		`"go_peak_share":0.25,"ort_ms":2,"ort_cpu_ms":4,"ort_open_ms":20,"ort_peak_mb":60,` +
		`"ort_held_mb":50,"ort_gflops":500,"ort_peak_share":0.5}` + "\n"
	if got.String() != want {
		t.Errorf("%s, want\n%s", &got, want)
	}
	got.Reset()
	WriteJSON(&got, NewBench("g", names, []enginebench.Timing{run(4*ms, 0)}, 0, 500))
	want = `{"graph":"g","threads":0,"runs":3,"engines":{"go":{"ms":4}},"go_ms":4}` + "\n"
	if got.String() != want {
		t.Errorf("%s, want\n%s", &got, want)
	}
}

// JSON has no infinity and no NaN.
func TestNewVerification(t *testing.T) {
	t.Parallel()
	v := NewVerification("m", &compare.Report{Tolerance: 1, Stages: []compare.Stage{
		{Graph: "g", MaxDiff: math.Inf(1), MeanDiff: math.NaN(), Argmax: math.NaN()},
		{Graph: "h", MaxDiff: 1, Argmax: 0.5, Times: [2]time.Duration{time.Second, time.Millisecond}},
	}})
	a, b := v.Stages[0], v.Stages[1]
	if v.OK || a.OK || a.MaxDiff != math.MaxFloat64 || a.MeanDiff != math.MaxFloat64 || a.Argmax != nil {
		t.Errorf("%+v", a)
	}
	if !b.OK || *b.Argmax != 0.5 || !slices.Equal(b.Millis, []float64{1000, 1}) {
		t.Errorf("%+v", b)
	}
	var got strings.Builder
	if err := WriteJSON(&got, v); err != nil {
		t.Error(err)
	}
}
