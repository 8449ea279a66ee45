package main

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/ort"
	"github.com/crossattn/xpipe/ort/orttest"
)

// third is an engine that the program does not know, but for its row.
type third struct{ *fallback.Engine }

func (third) Name() string { return "third" }

func (e third) Open(ctx context.Context, source engine.Source, opts engine.Options) (engine.Session, error) {
	if !slices.Contains([]string{"", "cpu", "abacus"}, opts.Provider) {
		return nil, engine.ErrEngine
	}
	opts.Provider = ""
	return e.Engine.Open(ctx, source, opts)
}

// withThird appends the engine to the table for the length of a test.
func withThird(t *testing.T) {
	before := api.Engines
	t.Cleanup(func() { api.Engines = before })
	api.Engines = append(slices.Clone(before), engine.Row{
		Name: "third", About: "an engine for tests", Library: "third library", LibraryEnv: "XPIPE_THIRD_LIB",
		Providers: []string{"cpu", "abacus"}, Supported: func(_, op string, _ int) bool { return op != "MatMul" },
		Open: func(c engine.Config) (engine.Engine, engine.Description, error) {
			if strings.HasSuffix(c.Library, ".broken") {
				err := errors.Join(engine.ErrEngine, errors.New("a broken library"))
				return nil, engine.Description{Built: true, Problem: err.Error(), Looked: []string{"third place"},
					Advice: []engine.Advice{{Missing: "third library", Do: "mend it"}}}, err
			}
			return third{fallback.New()}, engine.Description{
				Summary: "third of three", Built: true, Providers: []string{"ABACUS"},
				Library: &engine.Library{Path: c.Library, Version: "3", Found: "the path given"},
			}, nil
		},
	})
}

// A row in the table is all that flags, help, bench, doctor, verify and inspect need.
func TestThirdEngine(t *testing.T) {
	library := orttest.Library(t)
	if !ort.Built {
		t.Skip("this program is built without cgo and loads no library")
	}
	withThird(t)

	help := strings.Join(strings.Fields(want(t, "run", "--help")), " ") // without its line breaks
	for _, words := range []string{
		"engine: go (pure Go), ort (ONNX Runtime), third (an engine for tests), or auto, the default: ort or third where its library is there",
		"--third-lib FILE", "path of the third library",
		"where an engine for tests computes: cpu, abacus; of a list such as abacus,cpu the first that starts",
	} {
		if !strings.Contains(help, words) {
			t.Errorf("the help does not say %q:\n%s", words, help)
		}
	}
	if code, _, stderr := xpipe(t, "", "caption", "--engine", "fourth", apple); code != api.ExitUsage ||
		!strings.Contains(stderr, `there is no engine "fourth"; it is go, ort, third or auto`) {
		t.Errorf("exit %d: %s", code, stderr)
	}
	code, stdout, stderr := xpipe(t, "", "caption", "-v", "--engine", "third", "--third-lib", "/lib3", "--provider", "abacus", apple)
	if code != api.ExitOK || !strings.Contains(stdout, "apple") || !strings.Contains(stderr, "engine: third, third of three") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}

	var b api.Bench
	said := want(t, "--json", "bench", qformer, "--engine", "all", "--ort-lib", library, "--runs", "3", "--warm", "0")
	if err := json.Unmarshal([]byte(said), &b); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go", "ort", "third"} {
		if e := b.Engines[name]; e == nil || e.MS <= 0 || (e.Ratio > 0) != (name != "go") {
			t.Errorf("bench of %s: %s", name, said)
		}
	}
	top := lines(t, said)[0]
	if top["ratio"] != b.Engines["ort"].Ratio || top["go_ms"] != b.Engines["go"].MS || top["third_ms"] != nil {
		t.Errorf("bench: %s", said)
	}
	said = want(t, "bench", qformer, "--engine", "all", "--ort-lib", library, "--runs", "3", "--warm", "0")
	if head := strings.Join(strings.Fields(said[:strings.IndexByte(said, '\n')]), " "); head !=
		"graph threads go ms ort ms third ms go/ort quartiles cpu go/ort go/third quartiles cpu go/third go GFLOP/s share of peak" {
		t.Errorf("bench: %s", said)
	}

	var d api.Diagnosis
	said = want(t, "--json", "doctor", "--ort-lib", library, "--third-lib", "lib.broken")
	if err := json.Unmarshal([]byte(said), &d); err != nil {
		t.Fatal(err)
	}
	if e := d.Engines["third"]; len(d.Engines) != 3 || e.Trial.OK || !strings.Contains(e.Trial.Problem, "a broken library") ||
		!slices.Contains(d.Advice, engine.Advice{Missing: "third library", Do: "mend it"}) {
		t.Errorf("doctor: %s", said)
	}
	said = want(t, "doctor", "--ort-lib", library, "--third-lib", "/lib3")
	if !strings.Contains(said, "third    third of three; providers ABACUS; captioned a picture in") {
		t.Errorf("doctor: %s", said)
	}

	got := lines(t, want(t, "--json", "verify", clipTiny, "--ort-lib", library))
	if len(got) != 2 {
		t.Fatalf("verify: %v", got)
	}
	for i, other := range []string{"ort", "third"} {
		if pair := got[i]["engines"].([]any); pair[0] != other || pair[1] != "go" || got[i]["ok"] != true {
			t.Errorf("verify: %v", got[i])
		}
	}

	var g api.GraphInfo
	if err := json.Unmarshal([]byte(want(t, "--json", "inspect", qformer)), &g); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(g.Missing["third"], []string{"MatMul"}) || len(g.Missing["go"]) != 0 {
		t.Errorf("inspect: %v", g.Missing)
	}
	if said := want(t, "inspect", qformer); strings.Count(said, "engine third lacks it") != 1 {
		t.Errorf("inspect: %s", said)
	}
}
