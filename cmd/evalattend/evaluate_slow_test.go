//go:build slow

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/models/mini"
)

// Every embedded model is measured, and the same seed gives the same figures.
func TestEvaluateAll(t *testing.T) {
	t.Parallel()
	dir, file := tinySets(t, 6), filepath.Join(t.TempDir(), "figures.txt")
	args := []string{"--scenes", "2", "--curves", "1", "--drawn", dir, "--out", file}
	code, said, stderr := evalattend(t, args...)
	if code != api.ExitOK || stderr != "" {
		t.Fatalf("exit %d: %s%s", code, said, stderr)
	}
	if written, err := os.ReadFile(file); err != nil || string(written) != said {
		t.Errorf("%v: the file holds %q", err, written)
	}
	for _, name := range mini.Names() {
		if !strings.Contains(said, name+" (") {
			t.Errorf("nothing of %s:\n%s", name, said)
		}
	}
	// The mean's rate and areas: blip2 and flamingo once, clip twice, lxmert once.
	means := regexp.MustCompile(`(?m)^ +[0-9.]+( %|,).*  mean(:|$)`).FindAllString(said, -1)
	if len(means) != 3*5 {
		t.Errorf("%d figures of the mean:\n%s", len(means), said)
	}
	one := []string{"--model", mini.BLIP2, "--scenes", "2", "--curves", "1", "--floors"}
	if _, again, _ := evalattend(t, one...); again == "" || !strings.HasPrefix(said, again) {
		t.Errorf("%q is not the begin of %q", again, said)
	}
}
