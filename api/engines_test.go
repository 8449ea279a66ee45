package api_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/ort"
	"github.com/crossattn/xpipe/ort/orttest"
	"github.com/crossattn/xpipe/tensor"
)

// Each row says what its engine is.
func TestEngines(t *testing.T) {
	t.Parallel()
	config := api.EngineConfig{Libraries: map[string]string{}}
	if path, ok := orttest.Find(); ok {
		config.Libraries[ort.Name] = path
	}
	b := onnx.NewBuilder("identity", 17)
	b.Input("x", tensor.Float32, "n")
	b.NodeTo("Identity", []string{"x"}, []string{"y"}, nil)
	b.Output("y", tensor.Float32, "n")
	for i, row := range api.Engines {
		e, found, err := config.Open(row)
		if err != nil {
			if i == 0 || found.Problem == "" || !errors.Is(err, engine.ErrEngine) {
				t.Errorf("%s: %+v, %v", row.Name, found, err)
			}
			continue
		}
		if e.Name() != row.Name || row.About == "" || !found.Built || found.Summary == "" || found.Problem != "" {
			t.Errorf("%+v: engine %s, %+v", row, e.Name(), found)
		}
		if (row.Library != "") != (found.Library != nil) || (row.Library != "") != (row.LibraryEnv != "") {
			t.Errorf("%s: library %q in %q, found %+v", row.Name, row.Library, row.LibraryEnv, found.Library)
		}
		for _, provider := range []string{"", row.Providers[0]} {
			s, err := e.Open(t.Context(), b.Source(), engine.Options{Provider: provider})
			if err != nil {
				t.Fatalf("%s on %q: %v", row.Name, provider, err)
			}
			if _, taps := s.(engine.Tapper); taps != row.Taps {
				t.Errorf("%s: Taps is %v, its sessions say %v", row.Name, row.Taps, taps)
			}
			s.Close()
		}
	}
}

// fake is an engine that opens no graph.
type fake string

func (f fake) Name() string { return string(f) }

func (f fake) Open(context.Context, engine.Source, engine.Options) (engine.Session, error) {
	return nil, engine.ErrEngine
}

// table replaces the engines of the program by some that open, and some that do not.
func table(t *testing.T, rows ...engine.Row) {
	t.Helper()
	before := api.Engines
	api.Engines = rows
	t.Cleanup(func() { api.Engines = before })
}

func works(name string) engine.Row {
	return engine.Row{Name: name, About: "the " + name, Open: func(c engine.Config) (engine.Engine, engine.Description, error) {
		found := engine.Description{Summary: "found it"}
		if c.Library != "" {
			found.Library = &engine.Library{Path: c.Library}
		}
		return fake(name), found, nil
	}}
}

func fails(name, library string) engine.Row {
	return engine.Row{
		Name: name, About: "the " + name, LibraryEnv: "XPIPE_TEST_" + name,
		Open: func(c engine.Config) (engine.Engine, engine.Description, error) {
			err := fmt.Errorf("%w: no %s", engine.ErrEngine, name)
			if library != "" {
				if bad := c.Trial(library); bad != nil {
					err = fmt.Errorf("%w: %w", engine.ErrEngine, bad)
				}
			}
			return nil, engine.Description{Problem: "none"}, err
		},
	}
}

func TestSelectEngine(t *testing.T) {
	broken := errors.New("it crashed")
	trial := func(row engine.Row, library string) error {
		return fmt.Errorf("%s of %s: %w", library, row.Name, broken)
	}
	libraryOf := func(name string) map[string]string { return map[string]string{name: "/lib.so"} }
	for _, c := range []struct {
		rows    []engine.Row
		name    string
		config  api.EngineConfig
		says    string // the choice, or the error
		engine  string // "" for an error
		library bool   // the first refusal is of a library that is there
	}{
		{rows: []engine.Row{works("a")}, name: "auto", engine: "a", says: "engine: a"},
		{rows: []engine.Row{works("a"), works("b"), works("c")}, engine: "b", says: "engine: b"},
		{rows: []engine.Row{works("a"), works("b")}, name: "a", engine: "a", says: "engine: a"},
		{rows: []engine.Row{works("a"), works("b")}, config: api.EngineConfig{Libraries: libraryOf("b")},
			engine: "b", says: "engine: b, found it"},
		{rows: []engine.Row{works("a"), fails("b", "")}, engine: "a",
			says: "engine: a, because the b is not usable (engine: no b)"},
		{rows: []engine.Row{works("a"), fails("b", ""), fails("c", "")}, engine: "a",
			says: "engine: a, because the b is not usable (engine: no b) and the c is not usable (engine: no c)"},
		{rows: []engine.Row{works("a"), fails("b", ""), works("c")}, engine: "c",
			says: "engine: c, because the b is not usable (engine: no b)"},
		{rows: []engine.Row{works("a"), fails("b", "/b.so")}, engine: "a", library: true,
			says: "engine: a, because the b is not usable (engine: no b)"},
		{rows: []engine.Row{works("a"), fails("b", "/b.so")}, config: api.EngineConfig{Trial: trial}, engine: "a", library: true,
			says: "engine: a, because the b is not usable (engine: /b.so of b: it crashed)"},
		// What was asked for is not replaced.
		{rows: []engine.Row{works("a"), fails("b", "")}, name: "b", says: "engine: no b"},
		{rows: []engine.Row{works("a"), fails("b", "")}, config: api.EngineConfig{Libraries: libraryOf("b")}, says: "engine: no b"},
		{rows: []engine.Row{works("a"), works("b"), works("c")}, name: "d",
			says: `engine: there is no engine "d"; it is a, b, c or auto`},
		{rows: []engine.Row{fails("a", "")}, says: "engine: no a"},
	} {
		t.Run(c.says, func(t *testing.T) {
			table(t, c.rows...)
			choice, err := api.SelectEngine(c.name, c.config)
			if c.engine == "" {
				if !errors.Is(err, engine.ErrEngine) || err.Error() != c.says || choice.Engine != nil {
					t.Errorf("%v, %v", choice, err)
				}
				return
			}
			if err != nil || choice.Name != c.engine || choice.Engine.Name() != c.engine || choice.String() != c.says {
				t.Errorf("%v, %v", choice, err)
			}
			if len(choice.Refused) > 0 && choice.Refused[0].Library != c.library {
				t.Errorf("refused %+v", choice.Refused)
			}
		})
	}
	table(t, works("a"), fails("b", ""))
	t.Setenv("XPIPE_TEST_b", "/somewhere")
	if choice, err := api.SelectEngine("", api.EngineConfig{}); err != nil || !choice.Refused[0].Library {
		t.Errorf("a library that the environment names: %+v, %v", choice, err)
	}
}

// Of the program's own table: what a broken library comes to.
func TestSelectBrokenLibrary(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "libonnxruntime.so")
	if err := os.WriteFile(broken, []byte("no library"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XPIPE_ORT_LIB", broken)
	choice, err := api.SelectEngine(api.AutoEngine, api.EngineConfig{})
	if err != nil || choice.Name != "go" || !strings.HasPrefix(choice.String(), "engine: go, because ONNX Runtime is not usable (") {
		t.Errorf("%v, %v", choice, err)
	}
	config := api.EngineConfig{Libraries: map[string]string{"ort": broken}}
	for _, name := range []string{"", "auto", "ort"} {
		if _, err := api.SelectEngine(name, config); !errors.Is(err, engine.ErrEngine) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if got := api.EngineNames(); !slices.Equal(got, []string{"go", "ort"}) {
		t.Errorf("engines %v", got)
	}
	if _, err := api.FindEngine("abacus", "auto"); err == nil || !strings.HasSuffix(err.Error(), `there is no engine "abacus"; it is go, ort or auto`) {
		t.Error(err)
	}
}
