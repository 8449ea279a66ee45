package api

import (
	"bytes"
	"os"
	"testing"

	"github.com/crossattn/xpipe/tensor"
)

// A graph and a bundle are described as they were printed before; only the graph's path differs.
func TestInspect(t *testing.T) {
	t.Parallel()
	const qformer = "blip2-opt/bundle/onnx/qformer.onnx"
	graph, err := InspectFile(families + qformer)
	if err != nil || graph.Graph != families+qformer {
		t.Fatal(graph.Graph, err)
	}
	graph.Graph = "testdata/families/" + qformer
	wantPrinted(t, "inspect", graph)
	b, err := OpenBundle(families + "clip/bundle")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	bundle, err := InspectBundle(b)
	if err != nil {
		t.Fatal(err)
	}
	wantPrinted(t, "inspect_bundle", bundle)

	_, err = InspectFile(images + "apple.png")
	wantError(t, err, ExitModel, images+"apple.png: ")
	_, err = InspectFile("no/such.onnx")
	wantError(t, err, ExitInput, "no/such.onnx: ")
}

// wantPrinted compares a value with the line of a file of testdata/printed.
func wantPrinted(t *testing.T, name string, v any) {
	t.Helper()
	want, err := os.ReadFile("testdata/printed/" + name + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := WriteJSON(&got, v); err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%v: %s is not\n%s", err, got.Bytes(), want)
	}
}

// A dimension is a size, a name or nothing; a graph may have no inputs.
func TestSpecInfo(t *testing.T) {
	t.Parallel()
	specs := []tensor.Spec{{
		Name: "x", DType: tensor.Int64, Shape: []int{2, -1, -1}, Dims: []string{"", "length", ""},
	}}
	var got bytes.Buffer
	WriteJSON(&got, newSpecInfos(specs, nil))
	WriteJSON(&got, newSpecInfos(nil, nil))
	specs = []tensor.Spec{{Name: "s", Shape: []int{1}, Dims: []string{""}}}
	WriteJSON(&got, newSpecInfos(specs, map[string]string{"s": "string"}))
	const want = `[{"name":"x","dtype":"int64","shape":[2,"length",null]}]` + "\n[]\n" +
		`[{"name":"s","dtype":"string","shape":[1]}]` + "\n"
	if got.String() != want {
		t.Errorf("%s, want %s", &got, want)
	}
}
