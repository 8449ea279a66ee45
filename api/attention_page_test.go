package api

import (
	"bytes"
	"encoding/json"
	"image"
	"maps"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/vision"
)

// nodeOf finds the program that runs the page's arithmetic.
func nodeOf(t *testing.T) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("XPIPE_REQUIRE_REFS") == "1" {
			t.Fatal("node is not there (Debian: apt-get install nodejs):", err)
		}
		t.Skip("NOT TESTED: node is not there (Debian: apt-get install nodejs):", err)
	}
	return node
}

// between is the text that stands between two marks.
func between(t *testing.T, text, from, to string) string {
	t.Helper()
	_, text, found := strings.Cut(text, from)
	text, _, ended := strings.Cut(text, to)
	if !found || !ended {
		t.Fatalf("the page has nothing between %s and %s", from, to)
	}
	return text
}

// pageMap is a word's map as the page computes it.
type pageMap struct {
	Cells []float64
	Share float64
}

// pageMaps is what the first script of a page computes from the page's data.
type pageMaps struct {
	Maps     []pageMap
	Greatest float64
	Colors   [][3]float64 // of 0, 1/128, ... 1
	Large    []float64    // the first map, three times as large and more
	Shades   [][4]float64 // of 0, 1/128, ... 1 at a strength of 0.65
}

// runPages has node run the first script of the views' pages for the picks that each page opens
// with. One process does all, as starting one takes longer than its share of the work.
func runPages(t *testing.T, node string, views []*AttentionView) (maps []pageMaps) {
	t.Helper()
	var data []string
	for _, v := range views {
		var page bytes.Buffer
		if err := v.WriteHTML(&page); err != nil {
			t.Fatal(err)
		}
		if between(t, page.String(), "<script>\n", "</script>") != attentionScript {
			t.Fatal("the page has another script than the file")
		}
		data = append(data, between(t, page.String(), `id="data">`, "</script>"))
	}
	cmd := exec.CommandContext(t.Context(), node, "-e", attentionScript+`
const all = JSON.parse(require("fs").readFileSync(0, "utf8")).map((page) => {
  const data = decode(page), maps = wordMaps(data, data.picks), { rows, cols } = data;
  return {
    maps, greatest: greatest(maps),
    colors: Array.from({ length: 129 }, (_, i) => color(data, i / 128)),
    large: Array.from(enlarge(data, maps[0].cells, 3 * cols + 1, 3 * rows)),
    shades: Array.from({ length: 129 }, (_, i) => shade(data, i / 128, .65)),
  };
});
process.stdout.write(JSON.stringify(all));`)
	cmd.Stdin = strings.NewReader("[" + strings.Join(data, ",") + "]")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	if err := json.Unmarshal(out, &maps); err != nil {
		t.Fatal(err)
	}
	return maps
}

// The page computes the maps that Go computes, for every form of them: stages in a row, patches
// without a place, grids of several sizes, regions; means, layers, heads, rollouts.
func TestPageArithmetic(t *testing.T) {
	t.Parallel()
	node := nodeOf(t)
	regions, err := LoadRegions(families + "lxmert-vqa/regions.npz")
	if err != nil {
		t.Fatal(err)
	}
	seen, err := regions.Of("figure0")
	if err != nil {
		t.Fatal(err)
	}
	asked := picture(t, "red-circle.png")
	asked.Question = "what color is the shape?"
	question := pipeline.Request{Question: "what is the color of it?", Regions: seen}
	named := picture(t, "red-circle.png")
	named.Question = "a red circle"
	shown := picture(t, "apple.png")
	type picks = []pipeline.Pick
	var mean pipeline.Pick
	layer, head, rollout := mean, mean, mean
	layer.Layer, head.Head, rollout.Rollout = 1, 2, true
	cases := map[string]struct {
		model, text string
		request     pipeline.Request
		picks       picks
	}{
		"means":           {"blip2-mini", "a red circle", asked, nil},
		"layer":           {"blip2-mini", "a red circle", asked, picks{layer, {Layer: 2, Head: 1}}},
		"head":            {"blip2-mini", "a red circle", asked, picks{head, mean}},
		"rollouts":        {"blip2-mini", "a red circle", asked, picks{rollout, rollout, rollout}},
		"class tokens":    {families + "blip-caption/bundle", "a cat", shown, picks{head}},
		"queries":         {families + "blip2-opt/bundle", "a cat", shown, picks{layer, head}},
		"an encoder":      {families + "blip2-t5/bundle", "a cat", shown, nil},
		"latents":         {families + "openflamingo-opt/bundle", "a cat", shown, nil},
		"convolutions":    {"clip-mini", "", named, nil},
		"regions":         {families + "lxmert-vqa/bundle", "", question, nil},
		"head on regions": {families + "lxmert-vqa/bundle", "", question, picks{{Layer: 1, Head: 1}}},
	}
	names := slices.Sorted(maps.Keys(cases))
	var views []*AttentionView
	for _, name := range names {
		c := cases[name]
		views = append(views, view(t, c.model, c.text, c.request, c.picks...))
	}
	all := runPages(t, node, views)
	if len(all) != len(views) {
		t.Fatalf("%d results for %d pages", len(all), len(views))
	}
	for i, name := range names {
		t.Run(name, func(t *testing.T) {
			v, got := views[i], all[i]
			words := v.Words()
			if len(got.Maps) != len(words) || len(words) == 0 {
				t.Fatalf("%d maps for %d words", len(got.Maps), len(words))
			}
			for i, word := range words {
				want, err := v.WordMap(word, v.Picks...)
				if err != nil {
					t.Fatal(err)
				}
				checkMap(t, word.Text, got.Maps[i], want)
			}
			if math.Abs(got.Greatest-v.Most) > 1e-6 {
				t.Errorf("the scale ends at %v, Go's at %v", got.Greatest, v.Most)
			}
			checkLarge(t, v, got)
			for i, got := range got.Colors {
				want := vision.HeatColor(float64(i) / 128)
				for k, x := range [3]uint8{want.R, want.G, want.B} {
					// The page knows 33 colours, whose numbers are rounded.
					if limit := colorLimit(i); math.Abs(got[k]-float64(x)) > limit {
						t.Errorf("the colour of %d/128 is %v, Go's %v", i, got, want)
					}
				}
			}
		})
	}
}

// checkLarge compares how the page enlarges a map and lays it over a picture with how Go does.
func checkLarge(t *testing.T, v *AttentionView, got pageMaps) {
	t.Helper()
	m, err := v.WordMap(v.Words()[0], v.Picks...)
	if err != nil {
		t.Fatal(err)
	}
	want, err := vision.EnlargeMap(m.Weights, m.Rows, m.Cols, 3*m.Cols+1, 3*m.Rows)
	if err != nil || len(got.Large) != len(want) {
		t.Fatalf("%d values, want %d: %v", len(got.Large), len(want), err)
	}
	for i, x := range want {
		if math.Abs(got.Large[i]-float64(x)) > 1e-6 {
			t.Fatalf("value %d of the large map is %v, Go has %v", i, got.Large[i], x)
		}
	}
	white := image.NewGray(image.Rect(0, 0, 1, 1))
	white.Pix[0] = 255
	for i, s := range got.Shades {
		heat, err := vision.Overlay(white, []float32{float32(i)}, 1, 1, 128, 0.65)
		if err != nil {
			t.Fatal(err)
		}
		for k, x := range heat.Pix[:3] {
			if page := 255*(1-s[3]) + s[k]*s[3]; math.Abs(page-float64(x)) > 2 {
				t.Errorf("%d/128 on white is %v, Go has %v", i, page, heat.Pix[:3])
			}
		}
	}
}

func checkMap(t *testing.T, word string, got pageMap, want pipeline.Map) {
	t.Helper()
	if len(got.Cells) != len(want.Weights) || math.Abs(got.Share-want.Share) > 1e-6 {
		t.Fatalf("%q: share %v of %d cells, Go has %v of %d",
			word, got.Share, len(got.Cells), want.Share, len(want.Weights))
	}
	for i, x := range want.Weights {
		if math.Abs(got.Cells[i]-float64(x)) > 1e-6 {
			t.Fatalf("%q: cell %d is %v, Go has %v", word, i, got.Cells[i], x)
		}
	}
}

// colorLimit is how far a colour of the page may be from Go's: nothing where the page has it.
func colorLimit(i int) float64 {
	if i%4 == 0 {
		return 0
	}
	return 2
}
