package engine

// Row is one engine in a program's table of engines. A program makes its flags, help, reports and
// errors about engines from the rows, so that another engine costs its package and one row; see
// api.Engines.
type Row struct {
	// Name is the engine's name for users, such as "go". Engine.Name returns it.
	Name string
	// About describes the engine in a few words, such as "pure Go".
	About string
	// Library describes the shared library that the engine loads, such as "ONNX Runtime library";
	// LibraryEnv is the environment variable with its path. Both are "" where the engine loads
	// none.
	Library, LibraryEnv string
	// Providers are the names that Options.Provider takes, the default first.
	Providers []string
	// Taps reports whether the engine's sessions are Tappers.
	Taps bool
	// Spins reports whether the engine heeds Options.Spinning.
	Spins bool
	// Precisions are the values of Options.Precision that the engine has besides float32.
	Precisions []Precision
	// Supported reports whether the engine has an operator in a version of its operator set; the
	// domain "" is the default one. It is nil where only opening a graph tells.
	Supported func(domain, op string, version int) bool
	// Open makes the engine ready to open graphs, which may load a library. The description covers
	// everything found, whether or not it can be used. Errors wrap ErrEngine and say what to do.
	Open func(Config) (Engine, Description, error)
}

// Config adjusts how an engine is opened. The zero value is right for most uses.
type Config struct {
	// Library is the path of the engine's library, or of its folder; "" lets the engine search for
	// one.
	Library string
	// Trial, if not nil, is called with every library before it is loaded; an error of Trial keeps
	// it from being loaded. Loading a library runs its code, and a crash there kills the process:
	// Trial can load it in another process first.
	Trial func(library string) error
}

// Description is an engine's state on this machine, whether or not it can be used.
type Description struct {
	Summary   string   // one line for people; "" where nothing was found
	Built     bool     // the engine is part of this program
	Kernels   []string // features of the processor that the engine's own kernels use
	Library   *Library // that was loaded, or that a program with the engine would load
	Providers []string // of the library, as the library calls them
	Problem   string   // why the engine cannot be used, in short; "" where it can
	Looked    []string // the paths searched in vain for the library, and why
	Advice    []Advice
}

// Library is a shared library that an engine found.
type Library struct {
	Path    string `json:"path"`
	Version string `json:"version"` // "" where it is unknown
	Found   string `json:"found"`   // how it was found, for people
}

// Advice is something missing and what to do about it.
type Advice struct {
	Missing string `json:"missing"`
	Do      string `json:"do"`
}
