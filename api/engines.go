package api

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/ort"
	"github.com/crossattn/xpipe/ort/ortlib"
)

// Engines is the table of this program's engines. Whatever is said or done for each engine reads
// it, so that another engine is a package of its own and a row here.
//
// The first row is the fallback, which needs nothing of the machine and always opens; other engines
// are compared with it. Of the others, earlier rows are preferred: see SelectEngine.
var Engines = []engine.Row{
	{
		Name: "go", About: "pure Go",
		Providers: []string{"cpu"},
		Taps:      true, Supported: fallback.Supported,
		Precisions: []engine.Precision{engine.PrecisionBFloat16, engine.PrecisionInt8},
		Open:       fallback.Open,
	},
	{
		Name: ort.Name, About: "ONNX Runtime",
		Library: "ONNX Runtime library", LibraryEnv: ortlib.Env,
		Providers: ort.Providers,
		Spins:     true,
		Open:      openRuntime,
	},
}

// openRuntime searches this machine for ONNX Runtime's library where none is named.
func openRuntime(c engine.Config) (engine.Engine, engine.Description, error) {
	return ort.OpenWith(ortlib.Find, c)
}

// AutoEngine is the name by which SelectEngine chooses.
const AutoEngine = "auto"

// PreferredEngines are the rows in the order in which SelectEngine tries them: the fallback last.
func PreferredEngines() []engine.Row {
	return append(Engines[1:len(Engines):len(Engines)], Engines[0])
}

// EngineNames are the names of all engines, in the order of the table.
func EngineNames() []string {
	names := make([]string, len(Engines))
	for i, row := range Engines {
		names[i] = row.Name
	}
	return names
}

// TappingEngine is the name of the first engine that shows the attention inside its graphs.
func TappingEngine() string {
	i := slices.IndexFunc(Engines, func(row engine.Row) bool { return row.Taps })
	return Engines[max(0, i)].Name
}

// EngineWith is the name of the engine that "auto" stands for where products are computed with a
// precision other than float32: the first that has it.
func EngineWith(p engine.Precision) string {
	i := slices.IndexFunc(Engines, func(row engine.Row) bool { return slices.Contains(row.Precisions, p) })
	return Engines[max(0, i)].Name
}

// FindEngine returns the row of a name. Its error has the kind KindUsage, wraps engine.ErrEngine and
// lists the names there are, then those in also.
func FindEngine(name string, also ...string) (engine.Row, error) {
	for _, row := range Engines {
		if row.Name == name {
			return row, nil
		}
	}
	names := append(EngineNames(), also...)
	return engine.Row{}, Usagef("%w: there is no engine %q; it is %s%s",
		engine.ErrEngine, name, OrList(names), DidYouMean(name, names))
}

// OrList joins words as in "go, ort or auto".
func OrList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// EngineConfig says how engines are opened. The zero value searches for their libraries, and loads
// what it finds.
type EngineConfig struct {
	// Libraries are the paths of libraries, by the names of their engines; "" or none lets the
	// engine search.
	Libraries map[string]string
	// Trial, if not nil, is asked about every library before an engine loads it: see engine.Config.
	Trial func(row engine.Row, library string) error
}

// Open opens the engine of a row. The description holds with and without an error, which wraps
// engine.ErrEngine.
func (c EngineConfig) Open(row engine.Row) (engine.Engine, engine.Description, error) {
	config := engine.Config{Library: c.Libraries[row.Name]}
	if c.Trial != nil {
		config.Trial = func(library string) error { return c.Trial(row, library) }
	}
	return row.Open(config)
}

// EngineChoice is the engine that SelectEngine took, and why.
type EngineChoice struct {
	Engine engine.Engine
	Name   string
	// Found describes what the engine found.
	Found engine.Description
	// Refused are the engines that are preferred and could not be used. An engine that was asked
	// for by name has none.
	Refused []Refusal
}

// Refusal is an engine that could not be used.
type Refusal struct {
	Row engine.Row
	// Library says that a library was named or found, and did not work.
	Library bool
	Err     error
}

// SelectEngine opens the engine of a name. "auto", or "", is the first of PreferredEngines that can
// be used; one whose library config names is used, or is an error. Errors wrap engine.ErrEngine.
func SelectEngine(name string, config EngineConfig) (EngineChoice, error) {
	rows := PreferredEngines()
	if name != AutoEngine && name != "" {
		row, err := FindEngine(name, AutoEngine)
		if err != nil {
			return EngineChoice{}, err
		}
		rows = []engine.Row{row}
	}
	var refused []Refusal
	for {
		row := rows[0]
		refusal, watched := Refusal{Row: row, Library: inEnvironment(row)}, config
		watched.Trial = func(row engine.Row, library string) error {
			refusal.Library = true
			if config.Trial == nil {
				return nil
			}
			return config.Trial(row, library)
		}
		e, found, err := watched.Open(row)
		if err == nil {
			return EngineChoice{Engine: e, Name: row.Name, Found: found, Refused: refused}, nil
		}
		if rows = rows[1:]; len(rows) == 0 || config.Libraries[row.Name] != "" {
			return EngineChoice{}, err
		}
		refusal.Err = err
		refused = append(refused, refusal)
	}
}

// inEnvironment says whether the environment names a library for the engine.
func inEnvironment(row engine.Row) bool {
	return row.LibraryEnv != "" && os.Getenv(row.LibraryEnv) != ""
}

// String says in one line which engine was taken, and why.
func (c EngineChoice) String() string {
	var b strings.Builder
	b.WriteString("engine: " + c.Name)
	if c.Found.Library != nil {
		b.WriteString(", " + c.Found.Summary)
	}
	for i, r := range c.Refused {
		join := " and "
		if i == 0 {
			join = ", because "
		}
		why := r.Err.Error()
		if !r.Library { // where it was looked for is doctor's to say
			if first, _, longer := strings.Cut(why, ". "); longer {
				why = first + "; see xpipe doctor"
			}
		}
		fmt.Fprintf(&b, "%s%s is not usable (%s)", join, r.Row.About, why)
	}
	return b.String()
}
