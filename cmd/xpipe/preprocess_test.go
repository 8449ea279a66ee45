package main

import (
	"encoding/json"
	"errors"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
)

const (
	visionData = "../../testdata/vision/"
	blipConfig = visionData + "preprocessor_config.json"
)

// TestPreprocess checks the files that the verb writes against the package.
func TestPreprocess(t *testing.T) {
	t.Parallel()
	picture := visionData + "images/420.jpg"
	img, err := vision.DecodeFile(picture)
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(blipConfig)
	if err != nil {
		t.Fatal(err)
	}
	p, err := vision.ParseConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	input, err := p.Preprocess(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	small, err := vision.Resize(img, 224, 224, vision.Bicubic)
	if err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	npy, pngFile := filepath.Join(dir, "x.npy"), filepath.Join(dir, "x.png")
	check := func() {
		t.Helper()
		got, err := tensor.LoadNpy(npy)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Shape(), []int{1, 3, 224, 224}) || !slices.Equal(tensor.Data[float32](got), tensor.Data[float32](input)) {
			t.Errorf("%s holds %v and not the model's input", npy, got)
		}
		f, err := os.Open(pngFile)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		m, err := png.Decode(f)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(vision.FromImage(m).Pix, small.Pix) {
			t.Errorf("%s is not the resized picture", pngFile)
		}
		os.Remove(npy)
		os.Remove(pngFile)
	}
	if got := want(t, "preprocess", picture, "--config", blipConfig, "--out", npy, "--png", pngFile); !strings.HasPrefix(got, "float32[1,3,224,224]") {
		t.Errorf("printed %q", got)
	}
	check()

	data, err := os.ReadFile(picture)
	if err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := xpipe(t, string(data), "preprocess", "-", "--config", blipConfig, "--out", npy, "--png", pngFile, "--json")
	var line api.Preprocessed
	if err := json.Unmarshal([]byte(stdout), &line); code != 0 || err != nil || string(line.Out) != npy || !slices.Equal(line.PNG, []api.Name{api.Name(pngFile)}) {
		t.Errorf("from stdin: exit %d, %q, %q, %v", code, stdout, stderr, err)
	}
	check()

	want(t, "preprocess", picture, visionData+"images/rgb.png", "--out", npy, "-o", pngFile)
	if batch, err := tensor.LoadNpy(npy); err != nil || batch.Dim(0) != 2 {
		t.Errorf("two pictures: %v, %v", batch, err)
	}
	for _, name := range []string{"x-1.png", "x-2.png"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// --background lays transparent pictures on a colour; the default shows what they hide.
func TestBackgroundFlag(t *testing.T) {
	t.Parallel()
	clear := filepath.Join(t.TempDir(), "clear.png")
	f, err := os.Create(clear)
	if err != nil {
		t.Fatal(err)
	}
	err = png.Encode(f, image.NewNRGBA(image.Rect(0, 0, 8, 8)))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	means := map[string]float64{}
	for _, color := range []string{"black", "white", "#FFFFFF", ""} {
		args := []string{"preprocess", "--json", clear}
		if color != "" {
			args = append(args, "--background", color)
		}
		means[color] = lines(t, want(t, args...))[0]["mean"].(float64)
	}
	if means[""] != means["black"] || means["white"] <= means["black"] || means["white"] != means["#FFFFFF"] {
		t.Errorf("%v", means)
	}
	for _, color := range []string{"whit", "#12345", "ffffff"} {
		code, _, stderr := xpipe(t, "", "caption", apple, "--background", color)
		if code != api.ExitUsage || !strings.Contains(stderr, "no colour such as") {
			t.Errorf("%s: exit %d, %s", color, code, stderr)
		}
	}
}

func TestPreprocessRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bad := filepath.Join(dir, "preprocessor_config.json")
	if err := os.WriteFile(bad, []byte(`{"image_processor_type":"BlipImageProcessor","do_sharpen":true}`), 0o666); err != nil {
		t.Fatal(err)
	}
	picture := visionData + "images/420.jpg"
	for _, c := range []struct {
		code int
		say  string
		args []string
	}{
		{api.ExitUsage, "needs IMAGE", nil},
		{api.ExitUsage, "give one", []string{picture, "--config", blipConfig, "--model", dir}},
		{api.ExitUsage, "twice", []string{"-", "-"}},
		{api.ExitUsage, "no flag --sharp", []string{picture, "--sharp"}},
		{api.ExitInput, "no such file", []string{picture + "x", "--config", blipConfig}},
		{api.ExitInput, "is a directory", []string{dir, "--config", blipConfig}},
		{api.ExitInput, "not an image", []string{bad, "--config", blipConfig}},
		{api.ExitInput, "is empty", []string{"-", "--config", blipConfig}},
		{api.ExitInput, "no such file", []string{picture, "--config", bad + "x"}},
		{api.ExitInput, "do_sharpen", []string{picture, "--config", bad}},
		{api.ExitModel, "do_sharpen", []string{picture, "--model", dir}},
		{api.ExitModel, "no such file", []string{picture, "--model", t.TempDir()}},
		{api.ExitUsage, ".npy or .png", []string{picture, "-o", "x.tiff"}},
		{api.ExitUsage, "is such a file already", []string{picture, "-o", "x.npy", "-o", "y.npy"}},
		{api.ExitModel, "no embedded model", []string{picture, "--model", "nobody"}},
	} {
		code, stdout, stderr := xpipe(t, "", append([]string{"preprocess"}, c.args...)...)
		if code != c.code || stdout != "" || !strings.Contains(stderr, c.say) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit %d, %q, %q; want %d with %q", c.args, code, stdout, stderr, c.code, c.say)
		}
	}
}
