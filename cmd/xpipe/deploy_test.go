package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// Files of deploy/ give serve flags that it has, and ask paths that answer.
func TestDeploy(t *testing.T) {
	t.Parallel()
	env, _, _ := testEnvironment()
	cmd := newServeCommand(env)
	files, err := filepath.Glob("../../deploy/*")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		flags := regexp.MustCompile(`[\s"'>]--(listen|token-file|models|log-format|drain|no-auth)\b`).FindAllSubmatch(data, -1)
		if len(flags) < 2 {
			t.Errorf("%s: %d flags of serve", file, len(flags))
		}
		serve := regexp.MustCompile(`(?m)^\s+- --([a-z-]+)=|serve (.*)$`)
		for _, m := range serve.FindAllSubmatch(data, -1) {
			names := [][]byte{m[1]}
			for _, word := range regexp.MustCompile(`--([a-z-]+)`).FindAllSubmatch(m[2], -1) {
				names = append(names, word[1])
			}
			for _, name := range names {
				if len(name) > 0 && cmd.Flags().Lookup(string(name)) == nil {
					t.Errorf("%s: serve has no flag --%s", file, name)
				}
			}
		}
		for _, m := range regexp.MustCompile(`path: (/[a-z]+)`).FindAllSubmatch(data, -1) {
			if path := string(m[1]); path != "/healthz" && path != "/readyz" {
				t.Errorf("%s asks %s", file, path)
			}
		}
	}
}
