package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/models/hub/hubtest"
)

// useHub starts a hub with an empty cache for the rest of a test.
func useHub(t *testing.T, repos map[string]map[string][]byte) *hubtest.Server {
	server := hubtest.New(t, repos)
	for name, value := range map[string]string{
		"HF_ENDPOINT": server.URL, "HF_HUB_CACHE": t.TempDir(), "HF_HUB_OFFLINE": "", "HF_TOKEN": "", "HF_HOME": t.TempDir(),
	} {
		t.Setenv(name, value)
	}
	return server
}

// TestPull fetches a CLIP as transformers.js lays it out, and opens it by its name without the hub.
func TestPull(t *testing.T) {
	const layout = "../../testdata/layouts/clip-transformersjs"
	files := map[string][]byte{"README.md": []byte("---\ntags: [onnx]\nlicense: apache-2.0\n---\n# card\n"), "pytorch_model.bin": []byte("weights")}
	err := filepath.WalkDir(layout, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		name, _ := filepath.Rel(layout, p)
		files[filepath.ToSlash(name)] = data
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	server := useHub(t, map[string]map[string][]byte{"org/clip": files, "org/other": {"config.json": []byte(`{"model_type":"other"}`), "a.onnx": {1}}})
	run := func(args ...string) (int, string, string) {
		env, stdout, stderr := testEnvironment()
		code := execute(t.Context(), env, args)
		return code, stdout.String(), stderr.String()
	}

	code, out, errors := run("pull", "org/clip", "--variant", "fp16", "--json")
	var pulled api.Pulled
	if err := json.Unmarshal([]byte(out), &pulled); code != 0 || err != nil {
		t.Fatalf("exit %d, %v: %s%s", code, err, out, errors)
	}
	has := func(name string) bool { return slices.Contains(pulled.Files, api.Name(name)) }
	if !has("onnx/text_model_fp16.onnx") || !has("tokenizer.json") || has("onnx/text_model.onnx") || has("pytorch_model.bin") {
		t.Errorf("files %v", pulled.Files)
	}
	if pulled.Licence != "apache-2.0" || pulled.Commit != hubtest.Commit {
		t.Errorf("%+v", pulled)
	}
	before := len(server.Requests())
	code, out, errors = run("classify", "../../testdata/images/cat.jpg", "cat", "dog", "--model", "org/clip", "--variant", "fp16")
	if code != 0 || len(strings.Split(strings.TrimSpace(out), "\n")) != 2 {
		t.Errorf("classify: exit %d: %s%s", code, out, errors)
	}
	if got := len(server.Requests()); got != before {
		t.Errorf("classify made %d requests", got-before)
	}

	for _, row := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"pull", "clip"}, api.ExitUsage, "org/name"},
		{[]string{"pull", "org/none"}, api.ExitModel, "no such repository"},
		{[]string{"pull", "org/other"}, api.ExitModel, "--include"},
		{[]string{"pull", "org/clip", "--include", "*.gguf"}, api.ExitUsage, "fits none"},
		{[]string{"pull", "org/clip", "--variant", "q4"}, api.ExitModel, "q4"},
	} {
		if code, _, errors := run(row.args...); code != row.code || !strings.Contains(errors, row.says) {
			t.Errorf("%v: exit %d: %s", row.args, code, errors)
		}
	}
	if code, out, errors := run("pull", "org/other", "--include", "*.onnx"); code != 0 {
		t.Errorf("exit %d: %s%s", code, out, errors)
	}
	var listed api.ModelInfo
	code, out, _ = run("models", "--json")
	for line := range strings.Lines(out) {
		if strings.Contains(line, "org/clip") {
			if err := json.Unmarshal([]byte(line), &listed); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The plain graphs are not there, so it opens as a variant only.
	if code != 0 || listed.Licence != "apache-2.0" || listed.Bytes < 10_000 || listed.Embedded {
		t.Errorf("models: exit %d: %s", code, out)
	}
	t.Setenv("HF_HUB_OFFLINE", "1")
	if code, _, errors := run("pull", "org/clip"); code != api.ExitModel || !strings.Contains(errors, "HF_HUB_OFFLINE") {
		t.Errorf("offline: exit %d: %s", code, errors)
	}
	if code, out, errors := run("models", "rm", "org/clip"); code != 0 || !strings.Contains(out, "removed org/clip") {
		t.Errorf("rm: exit %d: %s%s", code, out, errors)
	}
	if code, _, errors := run("models", "rm", "org/clip"); code != api.ExitModel {
		t.Errorf("rm again: exit %d: %s", code, errors)
	}
	if code, _, errors := run("models", "rm", "blip2-mini"); code != api.ExitUsage {
		t.Errorf("rm of an embedded model: exit %d: %s", code, errors)
	}
}

// TestPullNamedWeights fetches the files that graphs say their weights lie in, whatever they are called.
func TestPullNamedWeights(t *testing.T) {
	const layout = "../../testdata/layouts/timm-encoder"
	files := map[string][]byte{"onnx/unused.bin": {1}}
	for _, name := range []string{"config.json", "onnx/model.onnx"} {
		data, err := os.ReadFile(filepath.Join(layout, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = data
	}
	model := &pb.ModelProto{}
	if err := proto.Unmarshal(files["onnx/model.onnx"], model); err != nil {
		t.Fatal(err)
	}
	moved := 0
	for _, w := range model.Graph.Initializer {
		if len(w.RawData) < 64 {
			continue
		}
		name := fmt.Sprintf("part %d.bin", moved%2)
		at := len(files["onnx/"+name])
		files["onnx/"+name] = append(files["onnx/"+name], w.RawData...)
		w.DataLocation = pb.TensorProto_EXTERNAL.Enum()
		for key, value := range map[string]string{
			"location": name, "offset": fmt.Sprint(at), "length": fmt.Sprint(len(w.RawData)),
		} {
			w.ExternalData = append(w.ExternalData, &pb.StringStringEntryProto{Key: &key, Value: &value})
		}
		w.RawData = nil
		moved++
	}
	var err error
	if files["onnx/model.onnx"], err = proto.Marshal(model); err != nil || moved < 2 {
		t.Fatal(moved, err)
	}
	useHub(t, map[string]map[string][]byte{"org/encoder": files})
	env, stdout, stderr := testEnvironment()
	if code := execute(t.Context(), env, []string{"pull", "org/encoder", "--json"}); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	var pulled api.Pulled
	if err := json.Unmarshal(stdout.Bytes(), &pulled); err != nil {
		t.Fatal(err)
	}
	want := []api.Name{"config.json", "onnx/model.onnx", "onnx/part 0.bin", "onnx/part 1.bin"}
	if slices.Sort(pulled.Files); !slices.Equal(pulled.Files, want) {
		t.Errorf("files %v, want %v", pulled.Files, want)
	}
	env, _, stderr = testEnvironment()
	if code := execute(t.Context(), env, []string{"embed", "../../testdata/images/cat.jpg", "-m", "org/encoder"}); code != 0 {
		t.Errorf("embed: exit %d: %s", code, stderr)
	}
}

// TestPullByWhatGraphsAre fetches graphs whose names say nothing, and none that are no part of the model
// in the variant asked for.
func TestPullByWhatGraphsAre(t *testing.T) {
	const layout = "../../testdata/layouts/vit-gpt2-transformersjs"
	files := map[string][]byte{}
	for from, to := range map[string]string{
		"config.json": "config.json", "generation_config.json": "generation_config.json",
		"preprocessor_config.json": "preprocessor_config.json", "tokenizer.json": "tokenizer.json",
		"onnx/encoder_model.onnx": "onnx/look.onnx", "onnx/encoder_model_q4.onnx": "onnx/look_q1.onnx",
		"onnx/decoder_model_merged.onnx": "onnx/write.onnx", "onnx/decoder_model_merged_q4.onnx": "onnx/write_q1.onnx",
	} {
		data, err := os.ReadFile(filepath.Join(layout, from))
		if err != nil {
			t.Fatal(err)
		}
		files[to] = data
	}
	useHub(t, map[string]map[string][]byte{"org/odd": files})
	for variant, suffix := range map[string]string{"": "", "q1": "_q1"} {
		more := []string{"--json"}
		if variant != "" {
			more = append(more, "--variant", variant)
		}
		env, stdout, stderr := testEnvironment()
		var pulled api.Pulled
		code := execute(t.Context(), env, append([]string{"pull", "org/odd"}, more...))
		if err := json.Unmarshal(stdout.Bytes(), &pulled); code != 0 || err != nil {
			t.Fatalf("exit %d, %v: %s", code, err, stderr)
		}
		var graphs []string
		for _, name := range pulled.Files {
			if filepath.Ext(string(name)) == ".onnx" {
				graphs = append(graphs, string(name))
			}
		}
		slices.Sort(graphs)
		if want := []string{"onnx/look" + suffix + ".onnx", "onnx/write" + suffix + ".onnx"}; !slices.Equal(graphs, want) {
			t.Errorf("variant %q: %v, want %v", variant, graphs, want)
		}
		env, stdout, stderr = testEnvironment()
		args := append([]string{"caption", "../../testdata/images/cat.jpg", "--model", "org/odd", "--max-new-tokens", "2"}, more...)
		if code := execute(t.Context(), env, args); code != 0 {
			t.Errorf("caption in the variant %q: exit %d: %s%s", variant, code, stdout, stderr)
		}
	}
}
