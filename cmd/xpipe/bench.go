package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/enginebench"
	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/spf13/cobra"
)

type benchOptions struct {
	engineOptions
	runs, warm    int
	dims          []string
	spinning      string   // of ONNX Runtime's threads
	missing       []string // engines that were to be timed and cannot be used
	withFootprint bool
	footprintOnly bool // in the process that bench starts for that
	profile       string
	model         string
}

// The values of --ort-spinning.
const spinningOn, spinningOff = "on", "off"

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
	ratios := strings.Join(ratioNames(api.EngineNames()), ", ")
	cmd := &cobra.Command{
		Use:   "bench GRAPH.onnx|BUNDLE|builtin:NAME|curve:NAME",
		Short: "Time a graph on the engines",
		Example: `  xpipe bench clip-mini
  xpipe bench graph.onnx --dim batch=8 --runs 50 --threads 1
  xpipe bench builtin:all --engine go --json`,
		Long: `Runs a graph, or each graph of a bundle, on the engines in turns and prints the
median times and the median of the pairs' ratios ` + ratios + `: below 1 the
first of the two is the faster one. Inputs are seeded random numbers; dimensions
that are not fixed are 1 unless --dim says otherwise. With --precision the Go
engine is compared with the others in float32. XPIPE_KERNELS=amx, bf16, vnni,
avx512, avxvnni, avx2 or go in the environment bounds what the Go engine's
kernels use of the processor; each allows those after it.

GFLOP/s are given for graphs of full size with random weights, made on the spot:
` + strings.Join(names, "\n") + "\n  " + builtin + "all  all of them" + `

How time grows with one size of a graph:
` + strings.Join(growing, "\n") + "\n  " + curves + "all  all of them\n\n" + exitHelp,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := env.modelArgument(cmd, &o.model, "a graph or a model", args); err != nil {
				return err
			}
			return runBench(cmd.Context(), env, o, o.model)
		},
	}
	o.addFlags(cmd)
	addModelFlag(cmd, &o.model, "")
	engines := cmd.Flags().Lookup("engine")
	engines.Value = engineFlag(&o.name, benchBoth, benchAll)
	engines.Usage = fmt.Sprintf("engines to time: %s; %s: all that can be used",
		api.OrList(benchNames()), api.AutoEngine)
	engines.DefValue = api.AutoEngine
	f := cmd.Flags()
	f.IntVar(&o.runs, "runs", 20, "runs of each engine that count")
	f.IntVar(&o.warm, "warm", 3, "runs of each engine before those")
	f.StringVar(&o.spinning, "ort-spinning", spinningOn,
		"on or off: whether ONNX Runtime's idle threads spin, as they do by default")
	f.StringArrayVar(&o.dims, "dim", nil,
		"size of a dimension that is not fixed: NAME=N (repeat)")
	f.BoolVar(&o.withFootprint, "footprint", false,
		"measure peak memory and opening too, each engine in a process of its own")
	f.BoolVar(&o.footprintOnly, "footprint-only", false,
		"print the footprint of one engine in this process")
	f.MarkHidden("footprint-only")
	f.StringVar(&o.profile, "cpuprofile", "",
		"write a profile of the runs to this file, for go tool pprof")
	return cmd
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
	o.note = env.noteEngine
	dims := map[string]int{}
	for _, d := range o.dims {
		name, size, ok := strings.Cut(d, "=")
		n, err := strconv.Atoi(size)
		if !ok || name == "" || err != nil || n < 0 {
			return api.Usagef("--dim %q is not NAME=N", d)
		}
		dims[name] = n
	}
	if o.runs < 1 || o.warm < 0 {
		return api.Usagef("--runs must be 1 or more, --warm 0 or more")
	}
	if o.spinning != spinningOn && o.spinning != spinningOff {
		return api.Usagef("--ort-spinning %q is neither on nor off", o.spinning)
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
		return api.Usagef("--cpuprofile is for one graph at a time")
	}
	if o.footprintOnly {
		if len(engines) != 1 || len(graphs) != 1 {
			return api.Usagef("a footprint is that of one graph and one engine")
		}
		return o.printFootprint(ctx, env, engines[0], graphs[0])
	}
	peak := kernel.Peak()
	if env.verbose {
		env.verbosef("one core: %.1f GFLOP/s in the micro-kernel, %.1f GB/s from memory; "+
			"features %v", peak, kernel.Bandwidth(), kernel.Features())
	}
	var lines []api.Bench
	for _, g := range graphs {
		line, err := bench(ctx, engines, g, o, peak)
		if err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		if env.json {
			if err := env.printJSON(line); err != nil {
				return err
			}
		}
		env.verbosef("%s", benchLine(line))
		lines = append(lines, line)
	}
	if env.json {
		return nil
	}
	return printBench(env, lines, o.missing)
}

// The words for all engines; benchBoth dates from when there were two.
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
			return nil, err
		}
		rows = []engine.Row{row}
	}
	var engines []timedEngine
	var unusable error // why the first that is left out cannot be used
	for _, row := range rows {
		choice, err := api.SelectEngine(row.Name, o.libraries.config(env))
		switch {
		case err == nil:
			engines = append(engines, timedEngine{choice.Engine, row})
			env.verbosef("%v", choice)
		case auto && o.libraries[row.Name] == "":
			unusable = cmp.Or(unusable, err)
			o.missing = append(o.missing, row.Name)
			env.verboseUnusable(row, err)
		default:
			return nil, err
		}
	}
	if engines == nil {
		return nil, unusable
	}
	for _, name := range o.missing {
		env.warnf("engine %s is not timed: it cannot be used here (xpipe doctor says why)", name)
	}
	return engines, nil
}

// benchTargets lists the graphs that an argument names; done closes what they are read from.
func benchTargets(
	target string, dims map[string]int,
) (graphs []benchGraph, done func(), err error) {
	done = func() {}
	if name, ok := strings.CutPrefix(target, builtin); ok {
		for _, g := range enginebench.Graphs() {
			if name == g.Name || name == "all" {
				graphs = append(graphs, builtinGraph(builtin, g))
			}
		}
		if graphs == nil {
			return nil, done, api.Usagef("there is no graph %q; bench --help lists them", target)
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
			return nil, done, api.Usagef("there is no %q; bench --help lists curves", target)
		}
		return graphs, done, nil
	}
	info, statErr := os.Stat(target)
	if statErr == nil && !info.IsDir() {
		source := func() (engine.Source, float64, error) {
			return engine.FileSource(target), 0, nil
		}
		return []benchGraph{{name: target, source: source, dims: dims}}, done, nil
	}
	b, err := api.OpenBundle(target)
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
func bench(
	ctx context.Context, engines []timedEngine, g benchGraph, o benchOptions, peak float64,
) (line api.Bench, err error) {
	source, flop, err := g.source()
	if err != nil {
		return line, err
	}
	var names []string
	var sessions []engine.Session
	var opened []time.Duration
	spins := false // there is an engine that Options.Spinning means something to
	for _, e := range engines {
		start := time.Now()
		s, err := e.Open(ctx, source, o.optionsFor(e))
		if err != nil {
			return line, err
		}
		defer s.Close()
		names = append(names, e.Name())
		spins = spins || e.row.Spins
		sessions = append(sessions, s)
		opened = append(opened, time.Since(start))
	}
	in, err := enginebench.Inputs(sessions[0].Inputs(), g.dims)
	if err != nil {
		return line, err
	}
	// With a made graph still in memory garbage would gather up to its size, and what runs allocate would
	// lie in new pages each time: not so in a process that opened its graph from a file.
	source = engine.Source{}
	runtime.GC()
	stop, err := startProfile(o.profile)
	if err != nil {
		return line, err
	}
	timings, err := enginebench.Measure(ctx, sessions, in, o.warm, o.runs, spins && o.spinning == spinningOn)
	if err := cmp.Or(err, stop()); err != nil {
		return line, err
	}
	for i, took := range opened {
		timings[i].Open = took
	}
	line = api.NewBench(g.name, names, timings, flop, peak)
	line.Curve, line.X, line.Threads = g.curve, g.x, o.threads
	line.Precision = string(engine.PrecisionFloat32)
	if p := engine.Precision(o.precision); !p.Exact() {
		line.Precision = o.precision
	}
	if spins {
		line.ORTSpinning = o.spinning
	}
	if o.withFootprint {
		if source, _, err = g.source(); err != nil {
			return line, err
		}
		footprints, err := o.footprints(ctx, engines, g, source)
		if err != nil {
			return line, err
		}
		line.AddFootprints(names, footprints)
	}
	return line, nil
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

// optionsFor are the options to open a graph with. The provider and the precision are for engines
// that have a choice; one that is timed alone is given the precision in any case, and refuses it.
func (o *benchOptions) optionsFor(e timedEngine) engine.Options {
	opts := o.options()
	opts.Spinning = o.spinning == spinningOn
	if len(e.row.Providers) < 2 {
		opts.Provider, opts.ProviderOptions = "", nil
	}
	if len(e.row.Precisions) == 0 && o.name != e.row.Name {
		opts.Precision = ""
	}
	return opts
}
