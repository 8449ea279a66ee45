package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
)

// configured runs a command line with a configuration file and variables.
func configured(
	t *testing.T, file string, variables map[string]string, args ...string,
) (code int, stdout, stderr string) {
	t.Helper()
	env, out, errs := testEnvironment()
	env.config = filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(env.config, []byte(file), 0o666); err != nil {
		t.Fatal(err)
	}
	env.getenv = func(name string) string { return variables[name] }
	code = execute(t.Context(), env, args)
	return code, strings.ReplaceAll(out.String(), env.config, "FILE"), strings.ReplaceAll(errs.String(), env.config, "FILE")
}

// A flag counts before a variable, a variable before the file, and the file's part for a verb
// before its part for all.
func TestConfig(t *testing.T) {
	t.Parallel()
	const file = "# mine\nengine = go # the one that is there\n\nmodel = \"nobody\"\nthreads=1\n" +
		"[classify]\nmodel = " + clipTiny + "\ntop = 1\n[caption]\nnum-beams = 2\n"
	type vars = map[string]string
	picture := "../../testdata/families/images/figure0.png"
	for _, c := range []struct {
		file      string
		variables vars
		args      []string
		code      int
		says      string // part of what is written
	}{
		{file, nil, []string{"classify", picture, "cat", "boat"}, api.ExitOK, "0."},
		{file, nil, []string{"-v", "classify", picture, "cat", "boat"}, api.ExitOK,
			"setting: top = 1, from FILE:8"},
		{file, nil, []string{"match", picture, "cat", "boat"}, api.ExitModel, `"nobody"`},
		{file, nil, []string{"match", "-m", clipTiny, picture, "cat", "boat"}, api.ExitOK, "0."},
		{file, vars{"XPIPE_MODEL": "other"}, []string{"classify", picture, "cat", "boat"},
			api.ExitModel, `"other"`},
		{file, vars{"XPIPE_MODEL": "other"}, []string{"classify", "-m", clipTiny, picture, "cat",
			"boat"}, api.ExitOK, "0."},
		// The model of a setting gives way to one that stands for itself.
		{file, nil, []string{"inspect", qformer}, api.ExitOK, "image_embeds"},
		{file, nil, []string{"inspect"}, api.ExitModel, `"nobody"`},
		{file, nil, []string{"tokenize", "--tokenizer", clipTiny}, api.ExitOK, ""},
		{file, nil, []string{"run", qformer, "-o", "x"}, api.ExitInput, "image_embeds"},
		{file, nil, []string{"doctor", "--json"}, api.ExitOK,
			`{"name":"num-beams","value":"2","from":"FILE:10 [caption]"}`},
		{"engine = onnx", nil, []string{"doctor", "--json"}, api.ExitOK, `"problem":"engine: there is no`},
		{"[caption", nil, []string{"caption", apple}, api.ExitUsage, "FILE:1"},
		{"modle = x", nil, []string{"caption", apple}, api.ExitUsage,
			`FILE:1: there is no setting "modle"; did you mean "model"?`},
		{"\n[captoin]", nil, []string{"caption", apple}, api.ExitUsage,
			`FILE:2: there is no verb "captoin"; did you mean "caption"?`},
		{"[embed]\nnum-beams = 2", nil, []string{"caption", apple}, api.ExitUsage,
			`FILE:2: there is no flag of embed "num-beams"`},
		{"num-beams = 2", nil, []string{"caption", apple}, api.ExitUsage,
			`there is no setting "num-beams"; for one verb it stands below a line such as [ask]`},
		{"batch = 2\nbatch = 3", nil, []string{"caption", apple}, api.ExitUsage,
			"FILE:2: batch is set already, at FILE:1"},
		{"threads = two", nil, []string{"caption", apple}, api.ExitUsage,
			`FILE:1: threads takes a whole number of 0 or more, not "two"`},
		{"engine = onnx", nil, []string{"caption", apple}, api.ExitUsage,
			`FILE:1: engine: there is no engine "onnx"`},
		{"engine", nil, []string{"caption", apple}, api.ExitUsage, `FILE:1: "engine" is neither`},
		{`model = "x`, nil, []string{"caption", apple}, api.ExitUsage, "a quotation mark"},
		{"", vars{"XPIPE_THREADS": "many"}, []string{"caption", apple}, api.ExitUsage,
			"XPIPE_THREADS: threads takes a whole number of 0 or more"},
		{"modle = x", nil, []string{"version"}, api.ExitOK, "engines go"},
	} {
		code, stdout, stderr := configured(t, c.file, c.variables, c.args...)
		if code != c.code || !strings.Contains(stdout+stderr, c.says) {
			t.Errorf("%v with %q, %v: exit %d, want %d with %q: %s%s",
				c.args, c.file, c.variables, code, c.code, c.says, stdout, stderr)
		}
	}
}

// Variables that are nearly settings are told once, those of a user's own scripts not at all.
func TestMisspeltVariables(t *testing.T) {
	t.Parallel()
	for variable, says := range map[string]string{
		"XPIPE_ENGNE=go":        "there is no setting XPIPE_ENGNE; did you mean XPIPE_ENGINE?",
		"XPIPE_THREAD=2":        "did you mean XPIPE_THREADS?",
		"XPIPE_ort_lib=x":       "did you mean XPIPE_ORT_LIB?",
		"XPIPE_NUM_BEAMS=3":     "XPIPE_NUM_BEAMS sets nothing: --num-beams is a flag of some verbs",
		"XPIPE_ENGINE=go":       "",
		"XPIPE_ORT_LIB=x":       "",
		"XPIPE_KERNELS=avx2":    "",
		"XPIPE_REQUIRE_REFS=1":  "",
		"XPIPE_PYTHON=python3":  "",
		"XPIPE_BACKUP_FOLDER=x": "",
		"XPIPELINE=1":           "",
	} {
		env, _, errs := testEnvironment()
		env.environ = []string{"HOME=/x", variable}
		if code := execute(t.Context(), env, []string{"preprocess", apple}); code != 0 {
			t.Errorf("%s: exit %d: %s", variable, code, errs)
		}
		want := 0
		if says != "" {
			want = 1
		}
		if !strings.Contains(errs.String(), says) || strings.Count(errs.String(), "XPIPE") > 2 ||
			strings.Count(errs.String(), "warning: ") != want {
			t.Errorf("%s: %q, want %q", variable, errs, says)
		}
	}
}

func TestConfigValue(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		" x ": "x", "a b": "a b", `"a # b" # c`: "a # b", "a#b": "a#b", "a # b": "a", `"\""`: `"`,
	} {
		if got, err := configValue(text); got != want || err != nil {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}
