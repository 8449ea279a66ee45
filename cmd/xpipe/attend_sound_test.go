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
	// A sound that no page holds is refused before it is heard, which would take as long as it lasts.
	long := filepath.Join(t.TempDir(), "long.wav")
	head := []byte("RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00" +
		"\x40\x1f\x00\x00\x40\x1f\x00\x00\x01\x00\x08\x00data\xff\xff\xff\xff")
	if err := os.WriteFile(long, append(head, make([]byte, 8000*(api.HearingPageSeconds+1))...), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := xpipe(t, "", "attend", long, "--model", model, "-o", out); code == api.ExitOK ||
		!strings.Contains(errs, "a page holds 15 minutes") {
		t.Errorf("a long sound: %d, %s", code, errs)
	}
	if code, _, errs := xpipe(t, "", "attend", sound, "--model", "blip2-mini", "-o", out); code == api.ExitOK ||
		!strings.Contains(errs, "does not hear") {
		t.Errorf("a model of pictures: %d, %s", code, errs)
	}
}
