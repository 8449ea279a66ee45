package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
)

func TestAttendSound(t *testing.T) {
	t.Parallel()
	const sound, model = "../../testdata/audio/16.wav", "../../testdata/layouts/whisper-transformersjs"
	out := filepath.Join(t.TempDir(), "heard.html")
	code, _, errs := xpipe(t, "", "attend", sound, "--model", model, "-o", out)
	if code != api.ExitOK || !strings.Contains(errs, "wrote "+out) {
		t.Fatal(code, errs)
	}
	page, err := os.ReadFile(out)
	if err != nil || !strings.Contains(string(page), "data:audio/wav;base64,") {
		t.Errorf("the page has no sound: %v", err)
	}
	for _, args := range [][]string{
		{"-o", "heard.png"}, {}, {"what is said?", "-o", out}, {"--rollout", "-o", out}, {"--text", "x", "-o", out},
	} {
		args = append([]string{"attend", sound, "--model", model}, args...)
		if code, _, errs := xpipe(t, "", args...); code != api.ExitUsage {
			t.Errorf("%v: %d, %s", args, code, errs)
		}
	}
	if code, _, errs := xpipe(t, "", "attend", sound, "--model", "blip2-mini", "-o", out); code == api.ExitOK ||
		!strings.Contains(errs, "does not hear") {
		t.Errorf("a model of pictures: %d, %s", code, errs)
	}
}
