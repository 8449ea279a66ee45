package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Directories of other tools are models like any other, and --variant picks among their graphs.
func TestVariant(t *testing.T) {
	t.Parallel()
	const (
		layouts = "../../testdata/layouts/"
		figure  = "../../testdata/families/images/figure0.png"
	)
	for _, args := range [][]string{
		{"-m", layouts + "clip-transformersjs"}, {"-m", layouts + "clip-transformersjs", "--variant", "fp16"},
		{"-m", layouts + "clip-optimum"}, {"-m", layouts + "siglip-transformersjs"},
	} {
		if got := want(t, append([]string{"classify", "--engine", "go", figure, "cat", "boat"}, args...)...); strings.Count(got, "\n") != 2 {
			t.Errorf("%v: %q", args, got)
		}
	}
	if got := want(t, "inspect", layouts+"clip-transformersjs", "--variant", "fp16"); !strings.Contains(got, "vision_model_fp16.onnx") {
		t.Errorf("inspect: %s", got)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"classify", "--engine", "go", figure, "cat", "boat", "-m", layouts + "clip-optimum", "--variant", "half"}, 2, "fp16"},
		{[]string{"inspect", layouts + "clip-optimum", "--variant", "half"}, 2, "fp16"},
		{[]string{"inspect", layouts + "clip-optimum", "--variant", "q4"}, 4, "model.onnx"},
		{[]string{"caption", "--engine", "go", apple, "--variant", "q4"}, 4, "there are onnx/"},
	} {
		if code, _, stderr := xpipe(t, "", c.args...); code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit %d, %q", c.args, code, stderr)
		}
	}
}

// Two graphs without the trained scale of their scores give similarities, and it is said once.
func TestUnscaled(t *testing.T) {
	t.Parallel()
	dir := "../../testdata/layouts/clip-transformersjs"
	figures := []string{"../../testdata/families/images/figure0.png", "../../testdata/families/images/figure1.png"}
	for verb, says := range map[string]string{"match": "-\t", "classify": ": "} {
		args := append([]string{verb, "--engine", "go", "-m", dir, "cat", "boat"}, "--list", writeLines(t, figures))
		code, stdout, stderr := xpipe(t, "", args...)
		if code != 0 || strings.Count(stderr, "similarities, not probabilities") != 1 || strings.Count(stdout, "\n") != 4 || !strings.Contains(stdout, says) {
			t.Errorf("%s: exit %d, %q, %s", verb, code, stdout, stderr)
		}
		code, stdout, _ = xpipe(t, "", append(args, "--json")...)
		if code != 0 || strings.Count(stdout, `"probability":null`) != 4 || strings.Count(stdout, `"score":"similarity"`) != 4 {
			t.Errorf("%s: exit %d, %q", verb, code, stdout)
		}
	}
	if code, _, stderr := xpipe(t, "", "embed", "--engine", "go", "-m", dir, figures[0]); code != 0 || stderr != "" {
		t.Errorf("embed: exit %d, %s", code, stderr)
	}
}

// writeLines writes lines to a file.
func writeLines(t *testing.T, lines []string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "list.txt")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}
