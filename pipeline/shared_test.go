package pipeline

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/internal/sweep"
	"github.com/crossattn/xpipe/ort"
	"github.com/crossattn/xpipe/ort/orttest"
)

// Opening costs more than most tests do with a model, so tests share engines, and the models that
// they only read.

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // but in tests that count memory
	code := m.Run()
	sharedModels.Range(func(_, open any) bool {
		if p, err := open.(openModel)(); err == nil {
			p.Close()
		}
		return true
	})
	os.Exit(code)
}

// goEngine is the Go engine of all tests.
var goEngine engine.Engine = fallback.New()

// openedRuntime holds ONNX Runtime once a test has asked for it.
var openedRuntime struct {
	sync.Mutex
	engine engine.Engine
}

// runtimeEngine is ONNX Runtime. A test is skipped where the library is missing or the program was
// built without it, and fails where enginetest.RequireEnv is 1.
func runtimeEngine(t testing.TB) engine.Engine {
	t.Helper()
	library := orttest.Library(t)
	openedRuntime.Lock()
	defer openedRuntime.Unlock()
	if openedRuntime.engine != nil {
		return openedRuntime.engine
	}
	eng, err := ort.New(ort.WithLibrary(library))
	switch {
	case err == nil:
		openedRuntime.engine = eng
	case ort.Built || os.Getenv(enginetest.RequireEnv) == "1":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
	return eng
}

// eachEngine runs f on the Go engine and on ONNX Runtime.
func eachEngine(t *testing.T, f func(t *testing.T, eng engine.Engine)) {
	t.Run("go", func(t *testing.T) { f(t, goEngine) })
	t.Run("ort", func(t *testing.T) { f(t, runtimeEngine(t)) })
}

// mostlyGo runs f on the Go engine, and on ONNX Runtime in a sample of the tests that call it, the
// same each time; with the build tag slow (make test-full) in all of them. It is for tests of many
// models, on which opening their graphs costs ONNX Runtime more than all the rest.
func mostlyGo(t *testing.T, f func(t *testing.T, eng engine.Engine)) {
	t.Run("go", func(t *testing.T) { f(t, goEngine) })
	if sweep.KeepsName(t.Name(), 16) {
		t.Run("ort", func(t *testing.T) { f(t, runtimeEngine(t)) })
	}
}

// sharing is the engine, the Go engine or ONNX Runtime, as one that opens each graph once for all
// tests (enginetest.Share). Tests of closing take the engine itself.
func sharing(t testing.TB, eng engine.Engine) engine.Engine {
	t.Helper()
	switch eng.(type) {
	case *fallback.Engine, *ort.Engine:
	default:
		t.Fatalf("an engine of %T is one test's own", eng)
	}
	shared, _ := sharingEngines.LoadOrStore(eng.Name(), enginetest.Share(eng))
	return shared.(engine.Engine)
}

// sharingEngines are the engines of sharing, by name.
var sharingEngines sync.Map

type openModel = func() (*Pipeline, error)

// sharedModels are the openModel of each model and engine, which opens the model once.
var sharedModels sync.Map

// share opens a model for all tests that ask for it on this engine. They must not change it.
func share(t testing.TB, name string, eng engine.Engine,
	open func(...Option) (*Pipeline, error)) *Pipeline {
	t.Helper()
	eng = sharing(t, eng)
	opts := []Option{WithEngine(eng)}
	if eng.Name() != "go" {
		// Each of its sessions would keep threads that wait for the next run by spinning.
		opts = append(opts, WithEngineOptions(engine.Options{Threads: 1}))
	}
	once, _ := sharedModels.LoadOrStore(eng.Name()+" "+name,
		openModel(sync.OnceValues(func() (*Pipeline, error) { return open(opts...) })))
	p, err := once.(openModel)()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// embeddedFS is the bundle that mini.FS gives, from its folder: the models themselves would make the
// tests' binary ten times as large, to be linked for each run.
func embeddedFS(name string) fs.FS { return os.DirFS(filepath.Join("../models/mini", name)) }

// openEmbedded opens an embedded model until the test ends, with options of the test's own.
func openEmbedded(t testing.TB, name string, opts ...Option) *Pipeline {
	t.Helper()
	p, err := embedded(name)(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// sharedEmbedded is an embedded model that tests share.
func sharedEmbedded(t testing.TB, name string, eng engine.Engine) *Pipeline {
	t.Helper()
	return share(t, name, eng, embedded(name))
}

func embedded(name string) func(...Option) (*Pipeline, error) {
	return func(opts ...Option) (*Pipeline, error) {
		return OpenFS(context.Background(), embeddedFS(name), opts...)
	}
}

// openGolden opens a golden model until the test ends, with options of the test's own.
func openGolden(t testing.TB, g *golden, eng engine.Engine, opts ...Option) *Pipeline {
	t.Helper()
	p, err := Open(t.Context(), filepath.Join(g.dir, "bundle"), append(opts, WithEngine(eng))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// sharedGolden is a golden model that tests share.
func sharedGolden(t testing.TB, g *golden, eng engine.Engine) *Pipeline {
	t.Helper()
	return share(t, g.dir, eng, func(opts ...Option) (*Pipeline, error) {
		return Open(context.Background(), filepath.Join(g.dir, "bundle"), opts...)
	})
}
