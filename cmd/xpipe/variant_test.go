package main

import (
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
