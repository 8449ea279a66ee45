package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestModels(t *testing.T) {
	t.Parallel()
	const layouts = "../../testdata/layouts"
	got := strings.Fields(want(t, "models", layouts))
	row := strings.Join(got, " ")
	for _, part := range []string{
		"NAME FAMILY TASKS MB LICENCE", layouts + "/clip-optimum clip match, classify, embed, attend",
	} {
		if !strings.Contains(row, part) {
			t.Errorf("%q lacks %q", row, part)
		}
	}
	if got := want(t, "models", "show", clipTiny); got != want(t, "inspect", clipTiny) {
		t.Errorf("show: %s", got)
	}
	if got := want(t, "version"); !strings.Contains(got, "engines go, ort") {
		t.Errorf("version: %s", got)
	}
}

// Each verb that help lists has a manual page.
func TestManualPages(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "man")
	want(t, "man", dir)
	env, _, _ := testEnvironment()
	for _, verb := range newRootCommand(env).Commands() {
		page, err := os.ReadFile(filepath.Join(dir, "xpipe-"+verb.Name()+".1"))
		if verb.IsAvailableCommand() != (err == nil) {
			t.Errorf("%s: %v", verb.Name(), err)
		}
		if err == nil && (!strings.HasPrefix(string(page), ".TH XPIPE") ||
			!strings.Contains(string(page), "\n.SH \"EXIT STATUS\"\n")) {
			t.Errorf("%s: %s", verb.Name(), page)
		}
	}
}
