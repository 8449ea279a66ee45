package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/crossattn/xpipe/api"
)

// benchReport is what bench says of one graph: medians of the runs.
type benchReport struct {
	Graph string `json:"graph"`
	// A point of a curve: which, and its size.
	Curve   string `json:"curve,omitempty"`
	X       int    `json:"x,omitempty"`
	Threads int    `json:"threads"`
	Runs    int    `json:"runs"`
	// GFLOP are the operations of a run's products, where they are known.
	GFLOP   float64                 `json:"gflop,omitempty"`
	Engines map[string]*benchEngine `json:"engines"` // that were timed, by name
}

// benchEngine is what bench says of one graph on one engine. Zero is left out: it stands for what
// was not measured.
type benchEngine struct {
	MS float64 `json:"ms,omitempty"`
	// CPUMS is the processor time of the whole process, which a busy machine disturbs less.
	CPUMS float64 `json:"cpu_ms,omitempty"`
	// OpenMS is the time to open the graph: once, or with --footprint the median of several times
	// in a process of its own.
	OpenMS float64 `json:"open_ms,omitempty"`
	// With --footprint, the most memory that process had resident until the graph was open and had
	// run, and what it had then, in MB of 1e6 bytes.
	PeakMB float64 `json:"peak_mb,omitempty"`
	HeldMB float64 `json:"held_mb,omitempty"`
	GFLOPS float64 `json:"gflops,omitempty"`
	// PeakShare is what was reached of one core's peak, as measured in the Go engine's kernels,
	// times the cores, in processor time.
	PeakShare float64 `json:"peak_share,omitempty"`
	benchRatios
}

// benchRatios compare the first engine timed with another: its time over the other's.
type benchRatios struct {
	// Ratio is the median of the pairs' ratios, RatioLow and RatioHigh are their quartiles.
	Ratio     float64 `json:"ratio,omitempty"`
	RatioLow  float64 `json:"ratio_low,omitempty"`
	RatioHigh float64 `json:"ratio_high,omitempty"`
	CPURatio  float64 `json:"cpu_ratio,omitempty"`
	OpenRatio float64 `json:"open_ratio,omitempty"`
	PeakRatio float64 `json:"peak_ratio,omitempty"`
}

// MarshalJSON adds the keys that were there before "engines": the figures of its first two under
// their names, such as go_ms, and the ratios of the two.
func (r benchReport) MarshalJSON() ([]byte, error) {
	type plain benchReport
	object := struct {
		plain
		benchRatios
	}{plain: plain(r)}
	var more namedKeys
	for _, name := range namedEngines() {
		e := r.Engines[name]
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
		object.benchRatios = e.benchRatios
	}
	return marshalWith(object, more)
}

// timed are the names of the engines in the report, in the order of the table.
func (r benchReport) timed() []string {
	return slices.DeleteFunc(api.EngineNames(), func(name string) bool { return r.Engines[name] == nil })
}

// String is the report in one line.
func (r benchReport) String() string {
	var times, ratios, cpu, peak, open []string
	for i, name := range r.timed() {
		e := r.Engines[name]
		times = append(times, fmt.Sprintf("%s %.2f ms", name, e.MS))
		peak = append(peak, fmt.Sprintf("%.0f", e.PeakMB))
		open = append(open, fmt.Sprintf("%.0f", e.OpenMS))
		if i > 0 {
			ratios = append(ratios, fmt.Sprintf("%.2f", e.Ratio))
			cpu = append(cpu, fmt.Sprintf("%.2f", e.CPURatio))
		}
	}
	text := r.Graph + ": " + strings.Join(times, ", ")
	if ratios != nil {
		text += ", ratio " + strings.Join(ratios, ", ") + "; processor time " + strings.Join(cpu, ", ")
	}
	return text + "; peak memory " + strings.Join(peak, " and ") + " MB; opening " + strings.Join(open, " and ") + " ms"
}

// ratioNames are the names of the ratios between the first engine and each of the others.
func ratioNames(engines []string) []string {
	var names []string
	for _, other := range engines[1:] {
		names = append(names, engines[0]+"/"+other)
	}
	return names
}

func printBench(env *environment, reports []benchReport) error {
	w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(cells []string) { fmt.Fprintln(w, strings.Join(cells, "\t")+"\t") }
	footprint := slices.ContainsFunc(reports, benchReport.hasFootprint)
	row(benchColumns(reports[0].timed(), footprint))
	for _, r := range reports {
		row(r.cells(footprint))
	}
	return w.Flush()
}

func (r benchReport) hasFootprint() bool {
	for _, e := range r.Engines {
		if e.PeakMB > 0 {
			return true
		}
	}
	return false
}

// benchColumns are the heads of the table, for engines of which the first is compared with the
// others.
func benchColumns(names []string, footprint bool) []string {
	columns := []string{"graph", "threads"}
	each := func(what string) {
		for _, name := range names {
			columns = append(columns, name+" "+what)
		}
	}
	each("ms")
	for _, ratio := range ratioNames(names) {
		columns = append(columns, ratio, "quartiles", "cpu "+ratio)
	}
	columns = append(columns, names[0]+" GFLOP/s", "share of peak")
	if footprint {
		each("peak MB")
		columns = append(columns, ratioNames(names)...)
		each("open ms")
		columns = append(columns, ratioNames(names)...)
	}
	return columns
}

// cells are what stands under benchColumns for one graph.
func (r benchReport) cells(footprint bool) []string {
	var engines []*benchEngine
	for _, name := range r.timed() {
		engines = append(engines, r.Engines[name])
	}
	first, others := engines[0], engines[1:]
	cells := []string{r.Graph, strconv.Itoa(r.Threads)}
	add := func(list []*benchEngine, format string, figure func(*benchEngine) float64) {
		for _, e := range list {
			cells = append(cells, fmt.Sprintf(format, figure(e)))
		}
	}
	add(engines, "%.2f", func(e *benchEngine) float64 { return e.MS })
	for _, e := range others {
		cells = append(cells, fmt.Sprintf("%.2f", e.Ratio),
			fmt.Sprintf("%.2f-%.2f", e.RatioLow, e.RatioHigh), fmt.Sprintf("%.2f", e.CPURatio))
	}
	rate, share := "", ""
	if r.GFLOP > 0 {
		rate, share = fmt.Sprintf("%.1f", first.GFLOPS), fmt.Sprintf("%.0f %%", 100*first.PeakShare)
	}
	cells = append(cells, rate, share)
	if footprint {
		add(engines, "%.0f", func(e *benchEngine) float64 { return e.PeakMB })
		add(others, "%.2f", func(e *benchEngine) float64 { return e.PeakRatio })
		add(engines, "%.0f", func(e *benchEngine) float64 { return e.OpenMS })
		add(others, "%.2f", func(e *benchEngine) float64 { return e.OpenRatio })
	}
	return cells
}
