package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
)

func TestBench(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	env := &environment{stdin: strings.NewReader(""), stdout: &out, stderr: &errs}
	args := []string{"bench", "blip2-mini", "--engine", "go", "--runs", "2", "--warm", "0", "--threads", "1", "--json", "--dim", "length=1", "--dim", "past=3", "--dim", "total=4"}
	if code := execute(context.Background(), env, args); code != api.ExitOK {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines: %s", len(lines), out.String())
	}
	for _, line := range lines {
		var r api.Bench
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Threads != 1 || r.Runs != 2 || !strings.HasPrefix(r.Graph, "blip2-mini/") {
			t.Errorf("%s: %v", line, err)
		}
		var before struct { // the table of engines
			GoMS float64 `json:"go_ms"`
		}
		if err := json.Unmarshal([]byte(line), &before); err != nil || before.GoMS <= 0 || r.Engines["go"] == nil || r.Engines["go"].MS != before.GoMS {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// An engine that could not be used has a column of "-".
func TestBenchMissing(t *testing.T) {
	t.Parallel()
	env, out, _ := testEnvironment()
	line := api.Bench{Graph: "g", Threads: 1, Engines: map[string]*api.BenchEngine{"go": {MS: 1.5}}}
	if err := printBench(env, []api.Bench{line}, []string{"ort"}); err != nil {
		t.Fatal(err)
	}
	head, row, _ := strings.Cut(out.String(), "\n")
	if !strings.Contains(head, "ort ms") || strings.Join(strings.Fields(row), " ") != "g 1 1.50 - - - -" {
		t.Errorf("%s", out)
	}
}

func TestBenchRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args string
		code int
	}{
		{"bench", api.ExitUsage},
		{"bench builtin:nothing --engine go", api.ExitUsage},
		{"bench blip2-mini --engine fast", api.ExitUsage},
		{"bench blip2-mini --engine go --dim batch", api.ExitUsage},
		{"bench blip2-mini --engine go --dim batch=-1", api.ExitUsage},
		{"bench blip2-mini --engine go --runs 0", api.ExitUsage},
		{"bench blip2-mini --engine go --ort-spinning maybe", api.ExitUsage},
		{"bench no/such/graph.onnx --engine go", api.ExitModel},
	} {
		var out, errs bytes.Buffer
		env := &environment{stdin: strings.NewReader(""), stdout: &out, stderr: &errs}
		if code := execute(context.Background(), env, strings.Fields(c.args)); code != c.code {
			t.Errorf("%s: exit %d, want %d: %s", c.args, code, c.code, errs.String())
		}
	}
}
