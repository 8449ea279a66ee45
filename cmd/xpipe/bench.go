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
	"github.com/crossattn/xpipe/fallback/kernel"
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
		Short: "Time a graph on the engines",
		Long: `Runs a graph, or each graph of a bundle, on the engines in turns and prints the
median times and the median of the pairs' ratios ` + strings.Join(ratioNames(api.EngineNames()), ", ") + `: below 1 the
first of the two is the faster one. Inputs are seeded random numbers; dimensions
that are not fixed are 1 unless --dim says otherwise. XPIPE_KERNELS=avx512, avx2
or go in the environment bounds what the Go engine's kernels use of the processor.

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
	engineFlag.Usage = fmt.Sprintf("engines to time: %s; %s: all that can be used", api.OrList(benchNames()), api.AutoEngine)
	engineFlag.DefValue = api.AutoEngine
	cmd.Flags().IntVar(&o.runs, "runs", 20, "runs of each engine that count")
	cmd.Flags().IntVar(&o.warm, "warm", 3, "runs of each engine before those")
	cmd.Flags().StringArrayVar(&o.dims, "dim", nil, "size of a dimension that is not fixed: NAME=N (repeat)")
	cmd.Flags().BoolVar(&o.withFootprint, "footprint", false, "measure peak memory and opening too, each engine in a process of its own")
	cmd.Flags().BoolVar(&o.footprintOnly, "footprint-only", false, "print the footprint of one engine in this process")
	cmd.Flags().MarkHidden("footprint-only")
	cmd.Flags().StringVar(&o.profile, "cpuprofile", "", "write a profile of the runs to this file, for go tool pprof")
	return cmd
}

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
	// OpenMS is the time to open the graph: once, or with --footprint the median of several times in
	// a process of its own.
	OpenMS float64 `json:"open_ms,omitempty"`
	// With --footprint, the most memory that process had resident until the graph was open and had
	// run, and what it had then, in MB of 1e6 bytes.
	PeakMB float64 `json:"peak_mb,omitempty"`
	HeldMB float64 `json:"held_mb,omitempty"`
	GFLOPS float64 `json:"gflops,omitempty"`
	// PeakShare is what was reached of one core's peak, as measured in the Go engine's kernels, times
	// the cores, in processor time.
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
	each := func(format, join string, figure func(*benchEngine) float64) string {
		var all []string
		for _, name := range r.timed() {
			all = append(all, fmt.Sprintf(format, figure(r.Engines[name])))
		}
		return strings.Join(all, join)
	}
	var times, ratios, cpu []string
	for i, name := range r.timed() {
		e := r.Engines[name]
		times = append(times, fmt.Sprintf("%s %.2f ms", name, e.MS))
		if i > 0 {
			ratios = append(ratios, fmt.Sprintf("%.2f", e.Ratio))
			cpu = append(cpu, fmt.Sprintf("%.2f", e.CPURatio))
		}
	}
	if ratios != nil {
		times = append(times, "ratio "+strings.Join(ratios, ", ")+"; processor time "+strings.Join(cpu, ", "))
	}
	return fmt.Sprintf("%s: %s; peak memory %s MB; opening %s ms", r.Graph, strings.Join(times, ", "),
		each("%.0f", " and ", func(e *benchEngine) float64 { return e.PeakMB }),
		each("%.0f", " and ", func(e *benchEngine) float64 { return e.OpenMS }))
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
		env.verbosef("one core: %.1f GFLOP/s in the micro-kernel, %.1f GB/s from memory; features %v",
			peak, kernel.Bandwidth(), kernel.Features())
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
		env.verbosef("%v", r)
		reports = append(reports, r)
	}
	if env.json {
		return nil
	}
	return printBench(env, reports)
}

// The words for all engines; "both" is from when there were two.
const benchBoth, benchAll = "both", "all"

// benchNames are the values of --engine that name engines.
func benchNames() []string { return append(api.EngineNames(), benchBoth, benchAll) }

// timedEngine is an engine to time.
type timedEngine struct {
	engine.Engine
	row engine.Row
}

// engines opens the engines to compare, in the order of the table.
func (o *benchOptions) engines(env *environment) ([]timedEngine, error) {
	rows := api.Engines
	auto := o.name == api.AutoEngine || o.name == ""
	if !auto && o.name != benchBoth && o.name != benchAll {
		row, err := api.FindEngine(o.name)
		if err != nil {
			return nil, usagef("there is no engine %q; bench takes %s", o.name, api.OrList(append(benchNames(), api.AutoEngine)))
		}
		rows = []engine.Row{row}
	}
	var engines []timedEngine
	for _, row := range rows {
		choice, err := api.SelectEngine(row.Name, o.libraries.config(env))
		switch {
		case err == nil:
			engines = append(engines, timedEngine{choice.Engine, row})
			env.verbosef("%v", choice)
		case auto && o.libraries[row.Name] == "":
			env.verbosef("engine: without %s, because %s is not usable (%v)", row.Name, row.About, err)
		default:
			return nil, err
		}
	}
	return engines, nil
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
func bench(ctx context.Context, engines []timedEngine, g benchGraph, o benchOptions, peak float64) (benchReport, error) {
	r := benchReport{
		Graph: g.name, Curve: g.curve, X: g.x, Threads: o.threads, Runs: o.runs,
		Engines: map[string]*benchEngine{},
	}
	source, flop, err := g.source()
	if err != nil {
		return r, err
	}
	var sessions []engine.Session
	for _, e := range engines {
		start := time.Now()
		s, err := e.Open(ctx, source, o.optionsFor(e))
		if err != nil {
			return r, err
		}
		defer s.Close()
		r.Engines[e.Name()] = &benchEngine{OpenMS: float64(time.Since(start)) / 1e6}
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
		t, first := timings[i], timings[0]
		b := r.Engines[e.Name()]
		b.MS, b.CPUMS = enginebench.Median(t.Wall), enginebench.Median(t.CPU)
		b.GFLOPS = r.GFLOP / b.MS * 1e3
		if b.CPUMS > 0 {
			b.PeakShare = r.GFLOP / b.CPUMS * 1e3 / peak
		}
		if i > 0 {
			b.Ratio, b.RatioLow, b.RatioHigh = enginebench.Ratio(first.Wall, t.Wall)
			b.CPURatio, _, _ = enginebench.Ratio(first.CPU, t.CPU)
		}
	}
	if o.withFootprint {
		err = o.footprints(ctx, engines, g, source, &r)
	}
	return r, err
}

// startProfile begins to write a profile of the processor's time to a file, if one is named; stop
// ends it.
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

// optionsFor are the options to open a graph with. The provider is for engines that have a choice.
func (o *benchOptions) optionsFor(e timedEngine) engine.Options {
	opts := o.options()
	if len(e.row.Providers) < 2 {
		opts.Provider, opts.ProviderOptions = "", nil
	}
	return opts
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
