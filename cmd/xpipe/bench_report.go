package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/crossattn/xpipe/api"
)

// timed are the names of the engines in a line, in the order of the table.
func timed(b api.Bench) []string {
	left := func(name string) bool { return b.Engines[name] == nil }
	return slices.DeleteFunc(api.EngineNames(), left)
}

// benchLine is what -v says of a graph.
func benchLine(b api.Bench) string {
	var times, ratios, cpu, peak, open []string
	for i, name := range timed(b) {
		e := b.Engines[name]
		times = append(times, fmt.Sprintf("%s %.2f ms", name, e.MS))
		peak = append(peak, fmt.Sprintf("%.0f", e.PeakMB))
		open = append(open, fmt.Sprintf("%.0f", e.OpenMS))
		if i > 0 {
			ratios = append(ratios, fmt.Sprintf("%.2f", e.Ratio))
			cpu = append(cpu, fmt.Sprintf("%.2f", e.CPURatio))
		}
	}
	text := b.Graph + ": " + strings.Join(times, ", ")
	if ratios != nil {
		text += ", ratio " + strings.Join(ratios, ", ") +
			"; processor time " + strings.Join(cpu, ", ")
	}
	return text + "; peak memory " + strings.Join(peak, " and ") + " MB; opening " +
		strings.Join(open, " and ") + " ms"
}

// ratioNames are the names of the ratios between the first engine and each of the others.
func ratioNames(engines []string) []string {
	var names []string
	for _, other := range engines[1:] {
		names = append(names, engines[0]+"/"+other)
	}
	return names
}

// printBench prints a line a graph. Engines that are missing have columns of "-".
func printBench(env *environment, lines []api.Bench, missing []string) error {
	w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(cells []string) { fmt.Fprintln(w, strings.Join(cells, "\t")+"\t") }
	footprint := slices.ContainsFunc(lines, hasFootprint)
	names := slices.DeleteFunc(api.EngineNames(), func(name string) bool {
		return lines[0].Engines[name] == nil && !slices.Contains(missing, name)
	})
	row(benchColumns(names, footprint))
	for _, b := range lines {
		row(benchCells(b, names, footprint))
	}
	return w.Flush()
}

func hasFootprint(b api.Bench) bool {
	for _, e := range b.Engines {
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

// benchCells are what stands under benchColumns for one graph: "-" where an engine was not timed.
func benchCells(b api.Bench, names []string, footprint bool) []string {
	var engines []*api.BenchEngine
	for _, name := range names {
		engines = append(engines, b.Engines[name])
	}
	first, others := engines[0], engines[1:]
	cells := []string{b.Graph, strconv.Itoa(b.Threads)}
	add := func(list []*api.BenchEngine, format string, figure func(*api.BenchEngine) float64) {
		for _, e := range list {
			cell := "-"
			if e != nil {
				cell = fmt.Sprintf(format, figure(e))
			}
			cells = append(cells, cell)
		}
	}
	add(engines, "%.2f", func(e *api.BenchEngine) float64 { return e.MS })
	for _, e := range others {
		if e == nil {
			cells = append(cells, "-", "-", "-")
			continue
		}
		cells = append(cells, fmt.Sprintf("%.2f", e.Ratio),
			fmt.Sprintf("%.2f-%.2f", e.RatioLow, e.RatioHigh), fmt.Sprintf("%.2f", e.CPURatio))
	}
	rate, share := "", ""
	if b.GFLOP > 0 {
		rate, share = fmt.Sprintf("%.1f", first.GFLOPS), fmt.Sprintf("%.0f %%", 100*first.PeakShare)
	}
	cells = append(cells, rate, share)
	if footprint {
		add(engines, "%.0f", func(e *api.BenchEngine) float64 { return e.PeakMB })
		add(others, "%.2f", func(e *api.BenchEngine) float64 { return e.PeakRatio })
		add(engines, "%.0f", func(e *api.BenchEngine) float64 { return e.OpenMS })
		add(others, "%.2f", func(e *api.BenchEngine) float64 { return e.OpenRatio })
	}
	return cells
}
