package api

import (
	"github.com/crossattn/xpipe/internal/enginebench"
)

// Bench is one graph's line of bench: medians of the runs on each engine.
type Bench struct {
	Graph string `json:"graph"`
	// Curve and X say which point of which curve the graph is, where it is one.
	Curve   string `json:"curve,omitempty"`
	X       int    `json:"x,omitempty"`
	Threads int    `json:"threads"`
	Runs    int    `json:"runs"`
	// ORTSpinning is "on" or "off", whether ONNX Runtime's idle threads spin; "" where it was not
	// timed.
	ORTSpinning string `json:"ort_spinning,omitempty"`
	// Precision is how the engines that have a choice multiplied floats by weights; the others
	// computed in float32.
	Precision string `json:"precision,omitempty"`
	// GFLOP are the operations of a run's products, where they are known.
	GFLOP   float64                 `json:"gflop,omitempty"`
	Engines map[string]*BenchEngine `json:"engines"` // that were timed, by name
}

// BenchEngine is what bench says of one graph on one engine. A value of 0 was not measured, and is
// left out.
type BenchEngine struct {
	MS float64 `json:"ms,omitempty"`
	// CPUMS is the processor time of the whole process, which a busy machine disturbs less.
	CPUMS float64 `json:"cpu_ms,omitempty"`
	// OpenMS is the time to open the graph: once, or with a footprint the median of several times
	// in a process of its own.
	OpenMS float64 `json:"open_ms,omitempty"`
	// PeakMB and HeldMB are of the footprint: the most memory that the process had resident until
	// the graph was open and had run, and what it had then, in MB of 1e6 bytes.
	PeakMB float64 `json:"peak_mb,omitempty"`
	HeldMB float64 `json:"held_mb,omitempty"`
	GFLOPS float64 `json:"gflops,omitempty"` // GFLOP a second
	// PeakShare is the share of the cores' peak that was reached in processor time. A core's peak
	// is what the Go engine's kernels reach.
	PeakShare float64 `json:"peak_share,omitempty"`
	BenchRatios
}

// BenchRatios compare the first engine timed with another: its figure over the other's, below 1
// where the first one is better.
type BenchRatios struct {
	// Ratio is the median of the ratios of pairs of runs; RatioLow and RatioHigh are their
	// quartiles.
	Ratio     float64 `json:"ratio,omitempty"`
	RatioLow  float64 `json:"ratio_low,omitempty"`
	RatioHigh float64 `json:"ratio_high,omitempty"`
	CPURatio  float64 `json:"cpu_ratio,omitempty"`
	OpenRatio float64 `json:"open_ratio,omitempty"`
	PeakRatio float64 `json:"peak_ratio,omitempty"`
}

// NewBench makes a graph's line from the timings of engines, one at least, in the order in which
// they ran: the first is compared with each of the others. flop are the operations of a run, 0
// where they are not known; peak is what one core can do, in GFLOP/s.
func NewBench(
	graph string, engines []string, timings []enginebench.Timing, flop, peak float64,
) Bench {
	line := Bench{
		Graph: graph, Runs: len(timings[0].Wall), GFLOP: flop / 1e9,
		Engines: map[string]*BenchEngine{},
	}
	first := timings[0]
	for i, t := range timings {
		e := &BenchEngine{
			MS: enginebench.Median(t.Wall), CPUMS: enginebench.Median(t.CPU),
			OpenMS: float64(t.Open) / 1e6,
		}
		e.GFLOPS = line.GFLOP / e.MS * 1e3
		if e.CPUMS > 0 {
			e.PeakShare = line.GFLOP / e.CPUMS * 1e3 / peak
		}
		if i > 0 {
			e.Ratio, e.RatioLow, e.RatioHigh = enginebench.Ratio(first.Wall, t.Wall)
			e.CPURatio, _, _ = enginebench.Ratio(first.CPU, t.CPU)
		}
		line.Engines[engines[i]] = e
	}
	return line
}

// AddFootprints adds what the engines take in a process of their own; both lists are in NewBench's
// order.
func (b *Bench) AddFootprints(engines []string, footprints []enginebench.Footprint) {
	first := footprints[0]
	for i, f := range footprints {
		e := b.Engines[engines[i]]
		e.OpenMS, e.PeakMB, e.HeldMB = f.OpenMS, f.PeakMB, f.HeldMB
		if i == 0 {
			continue
		}
		e.OpenRatio = first.OpenMS / f.OpenMS
		if f.PeakMB > 0 {
			e.PeakRatio = first.PeakMB / f.PeakMB
		}
	}
}

// MarshalJSON adds keys from before there was "engines": the figures of the first two engines under
// their names, such as go_ms, and the ratios of the two.
func (b Bench) MarshalJSON() ([]byte, error) {
	type plain Bench
	object := struct {
		plain
		BenchRatios
	}{plain: plain(b)}
	var more namedKeys
	for _, name := range namedEngines() {
		e := b.Engines[name]
		if e == nil {
			continue
		}
		more.addNonZero(name+"_ms", e.MS)
		more.addNonZero(name+"_cpu_ms", e.CPUMS)
		more.addNonZero(name+"_open_ms", e.OpenMS)
		more.addNonZero(name+"_peak_mb", e.PeakMB)
		more.addNonZero(name+"_held_mb", e.HeldMB)
		more.addNonZero(name+"_gflops", e.GFLOPS)
		more.addNonZero(name+"_peak_share", e.PeakShare)
		object.BenchRatios = e.BenchRatios
	}
	return marshalWith(object, more)
}
