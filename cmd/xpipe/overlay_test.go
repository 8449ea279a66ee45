package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
)

// Places that an answer names are in its line, and --overlay draws them.
func TestOverlay(t *testing.T) {
	t.Parallel()
	const florence, figure = "../../testdata/layouts/florence2-transformersjs", "../../testdata/families/images/figure0.png"
	dir := t.TempDir()
	for _, verb := range [][]string{{"ask", figure, "<REGION_PROPOSAL>"}, {"caption", figure, "--raw-prompt", "<REGION_PROPOSAL>"}} {
		out := filepath.Join(dir, verb[0]+".png")
		args := append(verb, "-m", florence, "--engine", "go", "--overlay", out)
		code, stdout, stderr := xpipe(t, "", args...)
		if code != 0 || !strings.Contains(stdout, "<loc_") || !strings.Contains(stderr, "wrote "+out) {
			t.Errorf("%v: exit %d, %q, %s", verb, code, stdout, stderr)
		}
		drawn, err := api.Sources{}.LoadPicture(out)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := api.Sources{}.LoadPicture(figure)
		if err != nil || drawn.Bounds().Size() != plain.Bounds().Size() {
			t.Errorf("%v: %v, %v, %v", verb, drawn.Bounds(), plain.Bounds(), err)
		}
		code, stdout, stderr = xpipe(t, "", append(args, "--json")...)
		line := lines(t, stdout)[0]
		places, _ := line["places"].([]any)
		if code != 0 || stderr != "" || len(places) == 0 || len(places[0].(map[string]any)["box"].([]any)) != 4 {
			t.Errorf("%v: exit %d, %v, %s", verb, code, line, stderr)
		}
	}
	out := filepath.Join(dir, "none.png")
	code, _, stderr := xpipe(t, "", "caption", figure, "-m", florence, "--engine", "go", "--overlay", out)
	if _, err := os.Stat(out); code != 0 || err != nil || !strings.Contains(stderr, "names no places") {
		t.Errorf("without places: exit %d, %s, %v", code, stderr, err)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"ask", figure, "<OD>", "-m", florence, "--overlay", "x.jpg"}, api.ExitUsage, "ends in .png"},
		{[]string{"ask", figure, "<OD>?", "<OCR>?", "-m", florence, "--overlay", "x.png"}, api.ExitUsage, "one question"},
		{[]string{"caption", figure, figure, "-m", florence, "--overlay", "x.png"}, api.ExitUsage, "one picture"},
		{[]string{"caption", figure, "--overlay", "x.png"}, api.ExitModel, "names no places to draw"},
	} {
		code, _, stderr := xpipe(t, "", append(c.args, "--engine", "go")...)
		if code != c.code || !strings.Contains(stderr, c.says) {
			t.Errorf("%v: exit %d, %s", c.args, code, stderr)
		}
	}
}
