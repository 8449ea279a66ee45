package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginebench"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/fallback/kernel"
	"github.com/crossattn/xpipe/ort"
	"github.com/spf13/cobra"
)

type benchOptions struct {
	engineOptions
	runs, warm    int
	dims          []string
	withFootprint bool
	footprintOnly bool // in the process that bench starts for that
	profile       string
}

// The prefixes of what enginebench makes: graphs, and graphs in several sizes.
const (
	builtin = "builtin:"
	curves  = "curve:"
)

func newBenchCommand(env *environment) *cobra.Command {
	var o benchOptions
	var names []string
	for _, g := range enginebench.Graphs() {
		names = append(names, "  "+builtin+g.Name+"  "+g.About)
	}
	var growing []string
	for _, c := range enginebench.Curves() {
		growing = append(growing, "  "+curves+c.Name+"  "+c.About)
	}
	cmd := &cobra.Command{
		Use:   "bench GRAPH.onnx|BUNDLE|builtin:NAME|curve:NAME",
		Short: "Time a graph on the two engines",
		Long: `Runs a graph, or each graph of a bundle, on both engines in turns and prints
the median times and the median of the pairs' ratios go/ort: below 1 the Go
engine is the faster one. Inputs are seeded random numbers; dimensions that are
not fixed are 1 unless --dim says otherwise. XPIPE_KERNELS=avx512, avx2 or go in
the environment bounds what the Go engine's kernels use of the processor.

GFLOP/s are given for graphs of full size with random weights, made on the spot:
` + strings.Join(names, "\n") + "\n  " + builtin + "all  all of them" + `

How time grows with one size of a graph:
` + strings.Join(growing, "\n") + "\n  " + curves + "all  all of them\n\n" + exitHelp,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runBench(cmd.Context(), env, o, args[0])
		},
	}
	o.addFlags(cmd)
	engineFlag := cmd.Flags().Lookup("engine")
	engineFlag.Usage, engineFlag.DefValue = "engines to time: go, ort or both; auto: both where ONNX Runtime is there", "auto"
	cmd.Flags().IntVar(&o.runs, "runs", 20, "runs of each engine that count")
	cmd.Flags().IntVar(&o.warm, "warm", 3, "runs of each engine before those")
	cmd.Flags().StringArrayVar(&o.dims, "dim", nil, "size of a dimension that is not fixed: NAME=N (repeat)")
	cmd.Flags().BoolVar(&o.withFootprint, "footprint", false, "measure peak memory and opening too, each engine in a process of its own")
	cmd.Flags().BoolVar(&o.footprintOnly, "footprint-only", false, "print the footprint of one engine in this process")
	cmd.Flags().MarkHidden("footprint-only")
	cmd.Flags().StringVar(&o.profile, "cpuprofile", "", "write a profile of the runs to this file, for go tool pprof")
	return cmd
}

// benchReport is what bench says of one graph; times are medians in
// milliseconds, zero where an engine was not asked for.
type benchReport struct {
	Graph string `json:"graph"`
	// A point of a curve: which, and its size.
	Curve   string  `json:"curve,omitempty"`
	X       int     `json:"x,omitempty"`
	Threads int     `json:"threads"`
	Runs    int     `json:"runs"`
	GoMS    float64 `json:"go_ms,omitempty"`
	OrtMS   float64 `json:"ort_ms,omitempty"`
	// Ratio is the median of the pairs' go/ort, RatioLow and RatioHigh their
	// quartiles.
	Ratio     float64 `json:"ratio,omitempty"`
	RatioLow  float64 `json:"ratio_low,omitempty"`
	RatioHigh float64 `json:"ratio_high,omitempty"`
	// The same in processor time of the whole process, which a busy machine
	// disturbs less.
	GoCPUMS  float64 `json:"go_cpu_ms,omitempty"`
	OrtCPUMS float64 `json:"ort_cpu_ms,omitempty"`
	CPURatio float64 `json:"cpu_ratio,omitempty"`
	// Opening a graph: once, or with --footprint the median of several times in a
	// process of its own.
	GoOpenMS  float64 `json:"go_open_ms,omitempty"`
	OrtOpenMS float64 `json:"ort_open_ms,omitempty"`
	OpenRatio float64 `json:"open_ratio,omitempty"`
	// With --footprint, the most memory that process had resident until the graph was
	// open and had run, and what it had then, in MB of 1e6 bytes.
	GoPeakMB  float64 `json:"go_peak_mb,omitempty"`
	OrtPeakMB float64 `json:"ort_peak_mb,omitempty"`
	PeakRatio float64 `json:"peak_ratio,omitempty"`
	GoHeldMB  float64 `json:"go_held_mb,omitempty"`
	OrtHeldMB float64 `json:"ort_held_mb,omitempty"`
	// GFLOP are the operations of a run's products, where they are known, and
	// PeakShare what the Go engine reached of one core's measured peak times the
	// cores, in processor time.
	GFLOP     float64 `json:"gflop,omitempty"`
	GoGFLOPS  float64 `json:"go_gflops,omitempty"`
	OrtGFLOPS float64 `json:"ort_gflops,omitempty"`
	PeakShare float64 `json:"go_peak_share,omitempty"`
}

// benchGraph is a graph to time.
type benchGraph struct {
	name   string
	source func() (engine.Source, float64, error) // and the FLOP of a run, 0 if unknown
	dims   map[string]int
	curve  string // and the size, for a point of a curve
	x      int
}

func runBench(ctx context.Context, env *environment, o benchOptions, target string) error {
	dims := map[string]int{}
	for _, d := range o.dims {
		name, size, ok := strings.Cut(d, "=")
		n, err := strconv.Atoi(size)
		if !ok || name == "" || err != nil || n < 0 {
			return usagef("--dim %q is not NAME=N", d)
		}
		dims[name] = n
	}
	if o.runs < 1 || o.warm < 0 || o.threads < 0 {
		return usagef("--runs must be 1 or more, --warm and --threads 0 or more")
	}
	if o.threads == 0 {
		o.threads = runtime.GOMAXPROCS(0)
	}
	engines, err := o.engines(env)
	if err != nil {
		return err
	}
	graphs, done, err := benchTargets(target, dims)
	if err != nil {
		return err
	}
	defer done()
	if o.profile != "" && len(graphs) != 1 {
		return usagef("--cpuprofile is for one graph at a time")
	}
	if o.footprintOnly {
		if len(engines) != 1 || len(graphs) != 1 {
			return usagef("a footprint is that of one graph and one engine")
		}
		return o.printFootprint(ctx, env, engines[0], graphs[0])
	}
	peak := kernel.Peak()
	if env.verbose {
		env.verbosef("one core: %.1f GFLOP/s in the micro-kernel, %.1f GB/s from memory; features %v", peak, kernel.Bandwidth(), kernel.Features())
	}
	var reports []benchReport
	for _, g := range graphs {
		r, err := bench(ctx, engines, g, o, peak)
		if err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		if env.json {
			if err := env.printJSON(r); err != nil {
				return err
			}
		}
		env.verbosef("%s: go %.2f ms, ort %.2f ms, ratio %.2f; processor time %.2f; peak memory %.0f and %.0f MB; opening %.0f and %.0f ms",
			r.Graph, r.GoMS, r.OrtMS, r.Ratio, r.CPURatio, r.GoPeakMB, r.OrtPeakMB, r.GoOpenMS, r.OrtOpenMS)
		reports = append(reports, r)
	}
	if env.json {
		return nil
	}
	return printBench(env, reports)
}

// engines opens the engines to compare: the Go engine first.
func (o *benchOptions) engines(env *environment) ([]engine.Engine, error) {
	switch o.name {
	case "go":
		return []engine.Engine{fallback.New()}, nil
	case "both", "ort":
		eng, note, err := api.SelectEngine("ort", o.library, ort.WithCheck(env.checkLibrary))
		if err != nil {
			return nil, err
		}
		env.verbosef("%s", note)
		if o.name == "ort" {
			return []engine.Engine{eng}, nil
		}
		return []engine.Engine{fallback.New(), eng}, nil
	case "auto", "":
		eng, note, err := api.SelectEngine("auto", o.library, ort.WithCheck(env.checkLibrary))
		if err != nil {
			return nil, err
		}
		env.verbosef("%s", note)
		if eng.Name() == "go" {
			return []engine.Engine{eng}, nil
		}
		return []engine.Engine{fallback.New(), eng}, nil
	}
	return nil, usagef("there is no engine %q; bench takes go, ort, both or auto", o.name)
}

// benchTargets lists the graphs that an argument names; done closes what they
// are read from.
func benchTargets(target string, dims map[string]int) (graphs []benchGraph, done func(), err error) {
	done = func() {}
	if name, ok := strings.CutPrefix(target, builtin); ok {
		for _, g := range enginebench.Graphs() {
			if name == g.Name || name == "all" {
				graphs = append(graphs, builtinGraph(builtin, g))
			}
		}
		if graphs == nil {
			return nil, done, usagef("there is no graph %q; bench --help lists them", target)
		}
		return graphs, done, nil
	}
	if name, ok := strings.CutPrefix(target, curves); ok {
		for _, c := range enginebench.Curves() {
			for _, p := range c.Points {
				if name == c.Name || name == "all" {
					g := builtinGraph(curves, p.Graph)
					g.curve, g.x = c.Name, p.X
					graphs = append(graphs, g)
				}
			}
		}
		if graphs == nil {
			return nil, done, usagef("there is no %q; bench --help lists curves", target)
		}
		return graphs, done, nil
	}
	info, statErr := os.Stat(target)
	if statErr == nil && !info.IsDir() {
		source := func() (engine.Source, float64, error) { return engine.FileSource(target), 0, nil }
		return []benchGraph{{name: target, source: source, dims: dims}}, done, nil
	}
	b, err := openBundle(target)
	if err != nil {
		return nil, done, err
	}
	for _, role := range slices.Sorted(maps.Keys(b.Graphs)) {
		source := func() (engine.Source, float64, error) {
			s, err := b.Graph(role)
			return s, 0, err
		}
		graphs = append(graphs, benchGraph{name: target + "/" + role, source: source, dims: dims})
	}
	return graphs, func() { b.Close() }, nil
}

// builtinGraph is a graph of enginebench, made when it is needed.
func builtinGraph(prefix string, g enginebench.Graph) benchGraph {
	source := func() (engine.Source, float64, error) {
		m := g.Build()
		return m.Source(), m.FLOP, nil
	}
	return benchGraph{name: prefix + g.Name, source: source, dims: g.Dims}
}

// bench times one graph on the engines.
func bench(ctx context.Context, engines []engine.Engine, g benchGraph, o benchOptions, peak float64) (benchReport, error) {
	r := benchReport{Graph: g.name, Curve: g.curve, X: g.x, Threads: o.threads, Runs: o.runs}
	source, flop, err := g.source()
	if err != nil {
		return r, err
	}
	var sessions []engine.Session
	for _, e := range engines {
		start := time.Now()
		s, err := e.Open(ctx, source, o.engineOptionsFor(e))
		if err != nil {
			return r, err
		}
		defer s.Close()
		if ms := float64(time.Since(start)) / 1e6; e.Name() == "go" {
			r.GoOpenMS = ms
		} else {
			r.OrtOpenMS = ms
		}
		sessions = append(sessions, s)
	}
	in, err := enginebench.Inputs(sessions[0].Inputs(), g.dims)
	if err != nil {
		return r, err
	}
	stop, err := startProfile(o.profile)
	if err != nil {
		return r, err
	}
	timings, err := enginebench.Measure(ctx, sessions, in, o.warm, o.runs)
	if stopped := stop(); err == nil {
		err = stopped
	}
	if err != nil {
		return r, err
	}
	r.GFLOP = flop / 1e9
	for i, e := range engines {
		wall, cpu := enginebench.Median(timings[i].Wall), enginebench.Median(timings[i].CPU)
		if e.Name() == "go" {
			r.GoMS, r.GoCPUMS, r.GoGFLOPS = wall, cpu, r.GFLOP/wall*1e3
			if cpu > 0 {
				r.PeakShare = r.GFLOP / cpu * 1e3 / peak
			}
		} else {
			r.OrtMS, r.OrtCPUMS, r.OrtGFLOPS = wall, cpu, r.GFLOP/wall*1e3
		}
	}
	if len(timings) == 2 {
		r.Ratio, r.RatioLow, r.RatioHigh = enginebench.Ratio(timings[0].Wall, timings[1].Wall)
		r.CPURatio, _, _ = enginebench.Ratio(timings[0].CPU, timings[1].CPU)
	}
	if o.withFootprint {
		err = o.footprints(ctx, engines, g, source, &r)
	}
	return r, err
}

// startProfile begins to write a profile of the processor's time to a file, if one is
// named; stop ends it.
func startProfile(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		f.Close()
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

// engineOptionsFor are the options to open a graph with.
func (o *benchOptions) engineOptionsFor(e engine.Engine) engine.Options {
	opts := o.options()
	if e.Name() == "go" {
		opts.Provider, opts.ProviderOptions = "", nil
	}
	return opts
}

func printBench(env *environment, reports []benchReport) error {
	w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	columns := "graph\tthreads\tgo ms\tort ms\tgo/ort\tquartiles\tcpu go/ort\tgo GFLOP/s\tshare of peak\t"
	footprint := slices.ContainsFunc(reports, func(r benchReport) bool { return r.GoPeakMB+r.OrtPeakMB > 0 })
	if footprint {
		columns += "go peak MB\tort peak MB\tgo/ort\tgo open ms\tort open ms\tgo/ort\t"
	}
	fmt.Fprintln(w, columns)
	for _, r := range reports {
		share, rate := "", ""
		if r.GFLOP > 0 && r.GoMS > 0 {
			share, rate = fmt.Sprintf("%.0f %%", 100*r.PeakShare), fmt.Sprintf("%.1f", r.GoGFLOPS)
		}
		fmt.Fprintf(w, "%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f-%.2f\t%.2f\t%s\t%s\t",
			r.Graph, r.Threads, r.GoMS, r.OrtMS, r.Ratio, r.RatioLow, r.RatioHigh, r.CPURatio, rate, share)
		if footprint {
			fmt.Fprintf(w, "%.0f\t%.0f\t%.2f\t%.0f\t%.0f\t%.2f\t", r.GoPeakMB, r.OrtPeakMB, r.PeakRatio, r.GoOpenMS, r.OrtOpenMS, r.OpenRatio)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}
