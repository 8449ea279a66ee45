package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/spf13/cobra"
)

// engineOptions are the flags of every verb that runs graphs.
type engineOptions struct {
	name            string
	libraries       libraries
	provider        string
	providerOptions map[string]string
	threads         int
	memoryLimit     byteSize
	noFusion        bool
	precision       string
	note            func(string) // of engines; nil: nobody is told
}

// addFlags adds the flags to cmd.
func (o *engineOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Var(engineFlag(&o.name), "engine", engineUsage(api.AutoEngine))
	o.libraries.addFlags(cmd, "searched for, see doctor")
	f.Var(providerFlag(&o.provider), "provider", providerUsage())
	f.Lookup("provider").DefValue = api.Engines[0].Providers[0] // of each engine, its first
	f.StringToStringVar(&o.providerOptions, "provider-option", nil,
		"option for the provider, such as device_id=1")
	f.Var((*threadCount)(&o.threads), "threads", "cores to use (0: all)")
	f.Var(&o.memoryLimit, "memory-limit", fmt.Sprintf(
		"most memory for the tensors of one run of a graph, such as 500M or 2G; the Go engine keeps "+
			"to it (default: %dG for models, no bound for a single graph)",
		pipeline.DefaultLimits().Memory>>30))
	f.Var(precisionFlag(&o.precision), "precision", precisionUsage())
	f.BoolVar(&o.noFusion, "no-fusion", false, "run graphs operator by operator, as written")
}

// wordFlag is a flag whose value is one of some words, or with list some of them with commas
// between.
type wordFlag struct {
	value *string
	what  string // that the words name
	words []string
	list  bool
	pairs bool              // whether a word may be NAME=WORD
	also  map[string]string // what other words for the same suggest
}

func (f wordFlag) Type() string { return "name" }

func (f wordFlag) String() string {
	if f.value == nil {
		return ""
	}
	return *f.value
}

func (f wordFlag) Set(text string) error {
	given := []string{text}
	if f.list {
		given = strings.Split(text, ",")
	}
	for _, word := range given {
		if _, of, ok := strings.Cut(word, "="); ok && f.pairs {
			word = of
		}
		if text != "" && !slices.Contains(f.words, word) {
			near := api.DidYouMean(word, f.words)
			if known, ok := f.also[strings.ToLower(word)]; ok {
				near = "; did you mean " + known + "?"
			}
			return fmt.Errorf("there is no %s %q; it is %s%s", f.what, word, api.OrList(f.words), near)
		}
	}
	*f.value = text
	return nil
}

// engineFlag names an engine, or one of the words in also.
func engineFlag(name *string, also ...string) wordFlag {
	words := slices.Concat(api.EngineNames(), also, []string{api.AutoEngine})
	return wordFlag{value: name, what: "engine", words: words}
}

// providerFlag names providers of any engine. One that the engine lacks is the engine's to refuse.
func providerFlag(name *string) wordFlag {
	var words []string
	for _, row := range api.Engines {
		for _, provider := range row.Providers {
			if !slices.Contains(words, provider) {
				words = append(words, provider)
			}
		}
	}
	return wordFlag{value: name, what: "provider", words: words, list: true, also: providersBy}
}

// precisionFlag names a precision.
func precisionFlag(name *string) wordFlag {
	var words []string
	for _, p := range engine.Precisions() {
		words = append(words, string(p))
	}
	return wordFlag{value: name, what: "precision", words: words}
}

// precisionUsage says what --precision does, and on which engines.
func precisionUsage() string {
	var names []string
	for _, row := range api.Engines {
		if len(row.Precisions) > 0 {
			names = append(names, row.Name)
		}
	}
	return fmt.Sprintf("how engine %s multiplies floats by weights: float32 (exact, which auto is too), "+
		"bf16 (weights in half the memory) or int8 (in a quarter)", api.OrList(names))
}

// providersBy are the providers that people mean by other words; "gpu" is no misspelt "cpu".
var providersBy = map[string]string{
	"gpu":    `"cuda" (NVIDIA), "directml" (Windows) or "coreml" (macOS)`,
	"nvidia": `"cuda"`, "cuda12": `"cuda"`, "trt": `"tensorrt"`, "dml": `"directml"`,
	"metal": `"coreml"`, "mps": `"coreml"`, "ane": `"coreml"`,
}

// threadCount is a flag for a number of cores.
type threadCount int

func (n *threadCount) Type() string { return "count" }

func (n *threadCount) String() string { return strconv.Itoa(int(*n)) }

func (n *threadCount) Set(text string) error {
	v, err := strconv.Atoi(text)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is no number of cores", text)
	}
	*n = threadCount(v)
	return nil
}

// engineUsage lists the engines for --engine of a verb, with the one it takes without the flag.
func engineUsage(byDefault string) string {
	var all []string
	for _, row := range api.Engines {
		about := row.About
		if row.Name == byDefault {
			about += ", the default here"
		}
		all = append(all, fmt.Sprintf("%s (%s)", row.Name, about))
	}
	usage := "engine: " + strings.Join(all, ", ") + ", or " + api.AutoEngine
	if byDefault == api.AutoEngine {
		usage += ", the default: " + api.OrList(api.EngineNames()[1:]) +
			" where its library is there"
	}
	return usage
}

// providerUsage lists the providers of the engines that have a choice of them.
func providerUsage() string {
	var all []string
	for _, row := range api.Engines {
		if names := row.Providers; len(names) > 1 {
			all = append(all, fmt.Sprintf(
				"where %s computes: %s; of a list such as %s,%s the first that starts",
				row.About, strings.Join(names, ", "), names[1], names[0]))
		}
	}
	return strings.Join(all, "; ")
}

func (o *engineOptions) options() engine.Options {
	return engine.Options{
		Threads: o.threads, Provider: o.provider, ProviderOptions: o.providerOptions,
		MemoryLimit: int64(o.memoryLimit), NoFusion: o.noFusion,
		Precision: engine.Precision(o.precision), Note: o.note,
	}
}

// open selects the engine and, with -v, says which and why.
func (o *engineOptions) open(env *environment) (engine.Engine, error) {
	o.note = env.noteEngine
	name := o.name
	if p := engine.Precision(o.precision); !p.Exact() && (name == api.AutoEngine || name == "") {
		name = api.EngineWith(p)
	}
	choice, err := api.SelectEngine(name, o.libraries.config(env))
	if err != nil {
		return nil, err
	}
	// Stay quiet if the user named no engine and no library exists. Warn if they asked for auto, or
	// if a library was named or found but failed.
	broken := slices.ContainsFunc(choice.Refused, func(r api.Refusal) bool { return r.Library })
	if len(choice.Refused) > 0 && (o.name == api.AutoEngine || broken) {
		env.warnf("%v", choice)
	} else {
		env.verbosef("%v", choice)
	}
	if o.precision != "" {
		env.verbosef("precision %s: %s has %s", o.precision, choice.Name, choice.Found.Summary)
	}
	if providers := strings.Split(o.provider, ","); len(providers) > 1 {
		warn := func(err error) { env.warnf("%w", err) }
		return api.WithProviders(choice.Engine, providers, warn), nil
	}
	return choice.Engine, nil
}

// libraries are the paths that the user gave for the libraries of engines, by their names.
type libraries map[string]string

// addFlags adds --NAME-lib for each engine that loads a library; byDefault says what happens
// without.
func (l *libraries) addFlags(cmd *cobra.Command, byDefault string) {
	*l = libraries{}
	for _, row := range api.Engines {
		if row.Library != "" {
			usage := fmt.Sprintf("path of the %s (default: %s)", row.Library, byDefault)
			cmd.Flags().Var(libraryFlag{*l, row.Name}, libraryFlagName(row.Name), usage)
		}
	}
}

func libraryFlagName(engineName string) string { return engineName + "-lib" }

// config opens engines with these libraries, each tried in another process first.
func (l libraries) config(env *environment) api.EngineConfig {
	return api.EngineConfig{Libraries: l, Trial: env.tryLibrary}
}

// libraryFlag is the flag for one engine's library.
type libraryFlag struct {
	libraries libraries
	engine    string
}

func (f libraryFlag) Type() string { return "string" }

func (f libraryFlag) String() string { return f.libraries[f.engine] }

func (f libraryFlag) Set(path string) error {
	f.libraries[f.engine] = path
	return nil
}

// byteSize is a flag for a number of bytes: 1000, 64K, 500M, 2G, by 1024.
type byteSize int64

func (b *byteSize) Type() string { return "size" }

func (b *byteSize) String() string { return strconv.FormatInt(int64(*b), 10) }

func (b *byteSize) Set(text string) error {
	upper := strings.TrimSuffix(strings.ToUpper(text), "B")
	shift := 0
	for i, unit := range []string{"K", "M", "G", "T"} {
		if number, ok := strings.CutSuffix(upper, unit); ok {
			upper, shift = number, 10*(i+1)
			break
		}
	}
	n, err := strconv.ParseInt(upper, 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64>>shift {
		return fmt.Errorf("%q is not a valid size (example: 500M)", text)
	}
	*b = byteSize(n << shift)
	return nil
}
