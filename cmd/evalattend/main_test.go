package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/models/mini"
)

// tinySets writes a folder as evaluate.py --sets does: n drawings of one thing, and n scenes with
// one.
func tinySets(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, data []byte) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	encode := func(img image.Image) []byte {
		var b bytes.Buffer
		if err := png.Encode(&b, img); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	things := []string{"apple", "dog", "cat", "car", "tree"}
	names := map[string]string{}
	var sprites [][2]string
	var boxes bytes.Buffer
	r := rand.New(rand.NewPCG(1, 1))
	for i := range n {
		file, code, thing := fmt.Sprintf("%d.png", i), fmt.Sprint(i), things[i%len(things)]
		sprite := image.NewNRGBA(image.Rect(0, 0, 40, 40))
		for k := range 20 * 30 {
			sprite.SetNRGBA(10+k%20, 5+k/20, color.NRGBA{200, uint8(40 * i), 30, 255})
		}
		write("train/sprites/"+file, encode(sprite))
		names[code], sprites = thing, append(sprites, [2]string{file, code})
		s := newScene(r)
		write("eval/scenes/"+file, encode(s.img))
		fmt.Fprintf(&boxes, `{"image":%q,"things":[{"concept":%q,"box":[%d,%d,%d,%d]}]}`+"\n",
			file, thing, s.box.Min.X, s.box.Min.Y, s.box.Max.X, s.box.Max.Y)
	}
	index, err := json.Marshal(map[string]any{
		"names": names, "styles": map[string]any{"twitter": sprites},
	})
	if err != nil {
		t.Fatal(err)
	}
	write("train/sprites/index.json", index)
	write("eval/scenes/boxes.jsonl", boxes.Bytes())
	return dir
}

// evalattend runs one command line.
func evalattend(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = execute(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// A model is measured into a file, and the same seed gives the same figures.
func TestEvaluate(t *testing.T) {
	t.Parallel()
	dir, file := tinySets(t, 6), filepath.Join(t.TempDir(), "figures.txt")
	args := []string{"--model", mini.LXMERT, "--scenes", "2", "--curves", "1", "--drawn", dir}
	code, said, stderr := evalattend(t, append(args, "--out", file)...)
	if code != api.ExitOK || stderr != "" || !strings.Contains(said, mini.LXMERT+" (") {
		t.Fatalf("exit %d: %s%s", code, said, stderr)
	}
	if written, err := os.ReadFile(file); err != nil || string(written) != said {
		t.Errorf("%v: the file holds %q", err, written)
	}
	if _, again, _ := evalattend(t, append(args, "--floors")...); again != said {
		t.Errorf("%q, and again %q", said, again)
	}
}

func TestFloors(t *testing.T) {
	t.Parallel()
	var e evaluation
	e.floor("good", pointingFloor, -0.1)
	if e.below != nil {
		t.Errorf("%q", e.below)
	}
	e.floor("bad", pointingFloor-0.1, 0)
	if len(e.below) != 2 {
		t.Errorf("%q", e.below)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	empty, damaged := t.TempDir(), tinySets(t, 1)
	os.WriteFile(filepath.Join(damaged, "train/sprites/index.json"), []byte("["), 0o666)
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"blip2-mini", api.ExitUsage, "flags alone"},
		{"--colour", api.ExitUsage, "--colour"},
		{"--scenes 0", api.ExitUsage, "--scenes"},
		{"--model gpt-7", api.ExitModel, "gpt-7"},
		{"--model clip-mini --drawn " + empty, api.ExitInput, "evaluate.py --sets"},
		{"--model lxmert-mini --drawn " + empty, api.ExitInput, "evaluate.py --sets"},
		{"--model clip-mini --drawn " + damaged, api.ExitInput, "index.json"},
		{"--model lxmert-mini --drawn " + damaged, api.ExitOther, "1 scenes"},
	} {
		code, _, stderr := evalattend(t, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(stderr, c.says) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit %d, want %d with %q: %s", c.args, code, c.code, c.says, stderr)
		}
	}
	if code, said, _ := evalattend(t, "-h"); code != api.ExitOK || !strings.Contains(said, "--curves") {
		t.Errorf("exit %d: %s", code, said)
	}
}

// A scene's object is where its box is, and nowhere else.
func TestScene(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 3))
	for range 5 {
		s := newScene(r)
		if !slices.Contains(captions(), s.caption) || !s.box.In(s.img.Rect) {
			t.Errorf("%q at %v", s.caption, s.box)
		}
		for y := range side {
			for x := range side {
				if !(image.Point{x, y}.In(s.box)) && s.img.RGBAAt(x, y) != s.ground {
					t.Fatalf("%q at %v: %v at %d, %d", s.caption, s.box, s.img.RGBAAt(x, y), x, y)
				}
			}
		}
	}
}

func TestStatistics(t *testing.T) {
	t.Parallel()
	v := []float32{1, 3, 2, 3}
	if got := descending(v); !slices.Equal(got, []int{1, 3, 2, 0}) || best(v) != 1 {
		t.Errorf("%v, %d", got, best(v))
	}
	// 50 of 100, as tables have it.
	if low, high := wilson(0.5, 100); fmt.Sprintf("%.3f %.3f", low, high) != "0.404 0.596" {
		t.Errorf("%v to %v", low, high)
	}
	same := []float64{2, 2, 2}
	if low, high := bootstrap(rand.New(rand.NewPCG(1, 1)), same); low != high || mean(same) != low {
		t.Errorf("%v to %v around %v", low, high, mean(same))
	}
}
