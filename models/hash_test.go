package models

import (
	"strings"
	"testing"
	"testing/fstest"
)

// The hash tells weights, graphs and configurations apart, and nothing that is not the model.
func TestHash(t *testing.T) {
	t.Parallel()
	large := func(fill string) []byte { return []byte(strings.Repeat(fill, smallFile+7)) }
	files := fstest.MapFS{
		"config.json":          {Data: []byte("{}")},
		"onnx/model.onnx":      {Data: large("x")},
		"onnx/model.onnx_data": {Data: []byte("weights")},
	}
	hashOf := func(edit func(fstest.MapFS)) string {
		t.Helper()
		all := fstest.MapFS{}
		for name, file := range files {
			all[name] = file
		}
		edit(all)
		b := &Bundle{fsys: all, manifest: []byte("{}")}
		b.Graphs = map[string]string{"model": "onnx/model.onnx"}
		hash, err := b.Hash()
		if err != nil || !strings.HasPrefix(hash, "sha256:") || len(hash) != 71 {
			t.Fatalf("%q, %v", hash, err)
		}
		return hash
	}
	was := hashOf(func(fstest.MapFS) {})
	put := func(name string, data []byte) func(fstest.MapFS) {
		return func(all fstest.MapFS) { all[name] = &fstest.MapFile{Data: data} }
	}
	for what, same := range map[string]string{
		"a document":      hashOf(put("README.md", []byte("x"))),
		"a hidden file":   hashOf(put(".cache/x", []byte("x"))),
		"another variant": hashOf(put("onnx/model_fp16.onnx", []byte("x"))),
		"weights of another graph": hashOf(func(all fstest.MapFS) {
			put("onnx/model_q8.onnx", nil)(all)
			put("onnx/model_q8.onnx_data", []byte("x"))(all)
		}),
		"the same again, for later": hashOf(func(fstest.MapFS) {}),
	} {
		if same != was {
			t.Errorf("%s changes the hash", what)
		}
	}
	for what, other := range map[string]string{
		"a configuration": hashOf(put("config.json", []byte("{ }"))),
		"a graph":         hashOf(put("onnx/model.onnx", large("y"))),
		"its size":        hashOf(put("onnx/model.onnx", append(large("x"), 'x'))),
		"weights":         hashOf(put("onnx/model.onnx_data", []byte("Weights"))),
		"a missing file":  hashOf(func(all fstest.MapFS) { delete(all, "config.json") }),
	} {
		if other == was {
			t.Errorf("%s does not change the hash", what)
		}
	}
}
