package engine

// Row is one engine in a program's table of engines. What a program says of its engines (flags,
// help, reports, errors) is made from the rows, so that another engine costs its package and one
// row; see api.Engines.
type Row struct {
	// Name is what the user calls the engine, such as "go": what Engine.Name returns.
	Name string
	// About says in a few words what the engine is, such as "pure Go".
	About string
	// Library is what the shared library that the engine loads is called, such as "ONNX Runtime
	// library", and LibraryEnv the environment variable that says where it is. Both are "" where
	// the engine loads none.
	Library, LibraryEnv string
	// Providers are the names that Options.Provider takes, the default first.
	Providers []string
	// Taps says that the engine's sessions are Tappers.
	Taps bool
	// Supported says whether the engine has an operator in a version of its operator set, "" being
	// the default domain. It is nil where that is not known before a graph is opened.
	Supported func(domain, op string, version int) bool
	// Open makes the engine ready to open graphs, which may load a library. The description says
	// what was found, whether or not it can be used. Errors wrap ErrEngine and say what to do.
	Open func(Config) (Engine, Description, error)
}

// Config says how to open an engine. The zero value is right for most uses.
type Config struct {
	// Library is the path of the engine's library, or of the folder it lies in; "" lets the engine
	// search for one.
	Library string
	// Trial, if not nil, is asked about every library before it is loaded; one that it has an error
	// for is not. Loading a library runs its code, and a crash there kills the process: Trial can
	// load it in another process first.
	Trial func(library string) error
}

// Description is what an engine found on this machine, whether or not it can be used.
type Description struct {
	Summary   string   // what was found, in one line for people; "" where nothing was
	Built     bool     // the engine is part of this program
	Kernels   []string // features of the processor that the engine's own kernels use
	Library   *Library // that was loaded, or that a program with the engine would load
	Providers []string // of the library, as the library calls them
	Problem   string   // why the engine cannot be used, in short; "" where it can
	Looked    []string // where a search for the library came to nothing, and why
	Advice    []Advice
}

// Library is a shared library that an engine found.
type Library struct {
	Path    string `json:"path"`
	Version string `json:"version"` // "" where the file does not tell
	Found   string `json:"found"`   // how it was found, for people
}

// Advice is something missing and what to do about it.
type Advice struct {
	Missing string `json:"missing"`
	Do      string `json:"do"`
}
