package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/server"
)

// The studio is there on this machine alone; what is said of it has to fit.
func TestStudioOptions(t *testing.T) {
	t.Parallel()
	taken := t.TempDir()
	env, _, _ := testEnvironment()
	folder := dataOption{taken}
	kept, err := folder.open(t.Context(), env, false)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	for _, test := range []struct {
		name, home string
		flags      []string
		page       bool
		err, warns string
	}{
		{"the user's folder", t.TempDir(), nil, true, "", ""},
		{"a folder", "", []string{"--data", filepath.Join(t.TempDir(), "new", "one")}, true, "", ""},
		{"none", t.TempDir(), []string{"--no-studio"}, false, "", ""},
		{"both", "", []string{"--no-studio", "--data", "x"}, false, "exclude each other", ""},
		{"no home", "", nil, false, "", "serving without the studio"},
		{"a folder in use", "", []string{"--data", taken}, false, "in use by another xpipe", ""},
		{"others reach it", t.TempDir(), []string{"--listen", "0.0.0.0:0", "--no-auth"}, false, "", ""},
		{"others reach it, and a folder", "", []string{"--listen", "0.0.0.0:0", "--no-auth", "--data", t.TempDir()}, false, "this machine alone", ""},
	} {
		env, _, errs := testEnvironment()
		env.getenv = func(name string) string {
			if name == "XDG_DATA_HOME" {
				return test.home
			}
			return ""
		}
		cmd := newServeCommand(env)
		if err := cmd.ParseFlags(test.flags); err != nil {
			t.Fatal(err)
		}
		o := serveOptions{listen: cmd.Flag("listen").Value.String(), data: cmd.Flag("data").Value.String()}
		o.noStudio, _ = cmd.Flags().GetBool("no-studio")
		o.noAuth, _ = cmd.Flags().GetBool("no-auth")
		var c server.Config
		if err := o.guard(&c); err != nil {
			t.Fatal(err)
		}
		closeStore, err := o.openStudio(t.Context(), env, &c)
		if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %v", test.name, err)
		}
		if (c.Page != nil) != test.page || !strings.Contains(errs.String(), test.warns) {
			t.Errorf("%s: a page: %t, it says %q", test.name, c.Page != nil, errs)
		}
		if err == nil {
			if err := closeStore(); err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
		}
	}
}
