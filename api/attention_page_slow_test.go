//go:build slow

package api

import (
	"bytes"
	"encoding/json"
	"html"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// probe drives the page as a reader with a keyboard would, and notes what it says.
const probe = `<script>
window.addEventListener("load", () => setTimeout(() => {
  const words = document.getElementById("words"), says = document.getElementById("says"), notes = {};
  const focused = () => [...words.children].indexOf(document.activeElement);
  const key = k => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: k, bubbles: true, cancelable: true }));
  notes.tabStops = [...words.children].filter(b => b.tabIndex === 0).length;
  words.children[0].focus();
  key("ArrowRight"); notes.right = focused(); notes.says = says.textContent;
  key("ArrowLeft"); key("ArrowLeft"); notes.around = focused();
  key("Home"); notes.home = focused();
  key("End"); notes.end = focused();
  notes.current = [...words.children].map(b => b.getAttribute("aria-current"));
  notes.maps = maps.map(m => m.cells);
  const before = JSON.stringify(maps), head = document.querySelectorAll("select")[3];
  head.value = "2"; head.dispatchEvent(new Event("change"));
  notes.headChanges = JSON.stringify(maps) !== before;
  notes.back = getComputedStyle(document.body).backgroundColor;
  const pixels = document.getElementById("view").getContext("2d").getImageData(0, 0, 640, 640).data;
  notes.drawn = pixels.some((v, i) => i % 4 < 3 && v > 60);
  const out = document.createElement("pre");
  out.id = "notes"; out.textContent = JSON.stringify(notes);
  document.body.append(out);
}, 300));
</script>`

// The page works in a browser: maps as Go computes them, keys, layers and heads, light and dark.
func TestPageInBrowser(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("XPIPE_REQUIRE_REFS") == "1" {
			t.Fatal(err)
		}
		t.Skip("no chromium (Debian: apt-get install chromium):", err)
	}
	v := view(t, "blip2-mini", "a red", picture(t, "red-circle.png"))
	words := v.Words()
	var page bytes.Buffer
	if err := v.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "page.html")
	if err := os.WriteFile(path, append(page.Bytes(), probe...), 0o666); err != nil {
		t.Fatal(err)
	}
	backs := map[string]bool{}
	for scheme, flag := range map[string]string{"dark": "0", "light": "1"} {
		cmd := exec.CommandContext(t.Context(), chromium, "--headless", "--no-sandbox",
			"--disable-gpu", "--no-first-run", "--disable-background-networking",
			"--disable-component-update", "--disable-sync",
			"--user-data-dir="+filepath.Join(dir, scheme),
			"--blink-settings=preferredColorScheme="+flag,
			"--virtual-time-budget=5000", "--dump-dom", "file://"+path)
		dom, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`(?s)<pre id="notes">(.*?)</pre>`).FindSubmatch(dom)
		if found == nil {
			t.Fatalf("%s: the page's script failed", scheme)
		}
		var notes struct {
			TabStops, Right, Around, Home, End int
			Says, Back                         string
			Current                            []string
			Maps                               [][]float64
			HeadChanges, Drawn                 bool
		}
		if err := json.Unmarshal([]byte(html.UnescapeString(string(found[1]))), &notes); err != nil {
			t.Fatal(err)
		}
		last := len(words) - 1
		if notes.TabStops != 1 || notes.Right != 1 || notes.Around != last || notes.Home != 0 || notes.End != last || notes.Current[last] != "true" {
			t.Errorf("%s: keys lead to %+v", scheme, notes)
		}
		if !strings.Contains(notes.Says, words[1].Text) || !notes.HeadChanges || !notes.Drawn {
			t.Errorf("%s: says %q, a head changes maps: %v, drawn: %v", scheme, notes.Says, notes.HeadChanges, notes.Drawn)
		}
		for i, w := range words {
			m, err := v.WordMap(w)
			if err != nil {
				t.Fatal(err)
			}
			for c, x := range m.Weights {
				if math.Abs(notes.Maps[i][c]-float64(x)) > 1e-5 {
					t.Fatalf("%s: word %d: the page has %v, Go %v", scheme, i, notes.Maps[i], m.Weights)
				}
			}
		}
		backs[notes.Back] = true
	}
	if len(backs) != 2 {
		t.Errorf("light and dark look the same: %v", backs)
	}
}
