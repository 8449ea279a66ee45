package main

import (
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/ort/orttest"
)

func TestPrecision(t *testing.T) {
	t.Parallel()
	const bundle = "../../testdata/families/blip2-opt/bundle"
	for _, precision := range []string{"bf16", "int8"} {
		got := lines(t, want(t, "--json", "verify", bundle, "--precision", precision))
		v := got[0]
		if v["ok"] != true || v["same_ids"].(float64) < 15 || len(v["ids"].([]any)) != 20 {
			t.Errorf("%s: %v", precision, v)
		}
		_, stdout, _ := xpipe(t, "", "verify", bundle, "--precision", precision)
		if !strings.Contains(stdout, "on go-"+precision+", by itself: ") {
			t.Errorf("%s: %s", precision, stdout)
		}
	}
	code, stdout, _ := xpipe(t, "", "verify", bundle, "--precision", "bf16", "--tolerance", "1e-9")
	if code != api.ExitBreach || !strings.Contains(stdout, "DIFFERS") {
		t.Errorf("exit %d at no tolerance: %s", code, stdout)
	}
	graph := bundle + "/onnx/vision_encoder.onnx"
	for precision, is := range map[string]string{"auto": "float32", "int8": "int8"} {
		got := lines(t, want(t, "--json", "bench", graph, "--engine", "go", "--runs", "1", "--precision", precision))
		if got[0]["precision"] != is {
			t.Errorf("%s: %v", precision, got[0])
		}
	}
	code, _, stderr := xpipe(t, "", "caption", "--precision", "bf8", "-m", bundle, "x.png")
	if code != api.ExitUsage || !strings.Contains(stderr, "float32, bf16 or int8") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// ONNX Runtime has no other precision than float32; with --engine auto the Go engine is taken.
func TestPrecisionEngines(t *testing.T) {
	t.Parallel()
	library := orttest.Library(t)
	const bundle, picture = "../../testdata/families/blip2-opt/bundle", "../../testdata/images/apple.png"
	code, _, stderr := xpipe(t, "", "caption", "--precision", "bf16", "--engine", "ort", "--ort-lib", library, "-m", bundle, picture)
	if code == 0 || !strings.Contains(stderr, "only the Go engine has") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	code, _, stderr = xpipe(t, "", "-v", "caption", "--precision", "bf16", "--ort-lib", library, "-m", bundle, picture)
	if code != 0 || !strings.Contains(stderr, "precision bf16: go has") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	graph := bundle + "/onnx/vision_encoder.onnx"
	got := lines(t, want(t, "--json", "bench", graph, "--runs", "1", "--precision", "bf16", "--ort-lib", library))
	if got[0]["precision"] != "bf16" || got[0]["ort_ms"] == nil {
		t.Errorf("%v", got[0])
	}
}
