package main

import (
	"testing"
	"time"
)

func TestImmichVariables(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name        string
		variables   map[string]string
		flags       []string
		listen, dir string
		idle        time.Duration
	}{
		{"none", nil, nil, "127.0.0.1:8080", "", 5 * time.Minute},
		{"all", map[string]string{
			"IMMICH_HOST": "[::]", "IMMICH_PORT": "3004", "MACHINE_LEARNING_CACHE_FOLDER": "/cache",
			"MACHINE_LEARNING_MODEL_TTL": "60",
		}, nil, "[::]:3004", "/cache", time.Minute},
		{"a port", map[string]string{"IMMICH_PORT": "3004"}, nil, "127.0.0.1:3004", "", 5 * time.Minute},
		{"never idle", map[string]string{"MACHINE_LEARNING_MODEL_TTL": "0"}, nil, "127.0.0.1:8080", "", -time.Second},
		{"flags first", map[string]string{"IMMICH_PORT": "3004", "MACHINE_LEARNING_MODEL_TTL": "60"},
			[]string{"--listen", "127.0.0.1:1", "--idle", "1h"}, "127.0.0.1:1", "", time.Hour},
	} {
		env := &environment{getenv: func(name string) string { return test.variables[name] }}
		cmd := newServeCommand(env)
		if err := cmd.ParseFlags(test.flags); err != nil {
			t.Fatal(err)
		}
		if err := env.takeImmich(cmd); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		idle, err := cmd.Flags().GetDuration("idle")
		if err != nil || cmd.Flag("listen").Value.String() != test.listen ||
			cmd.Flag("models").Value.String() != test.dir || idle != test.idle {
			t.Errorf("%s: %s, %s, %s", test.name, cmd.Flag("listen").Value, cmd.Flag("models").Value, idle)
		}
	}
	env := &environment{getenv: func(string) string { return "soon" }}
	if err := env.takeImmich(newServeCommand(env)); err == nil {
		t.Error("a time that is none is taken")
	}
}
