package api

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/vision"
)

func TestFind(t *testing.T) {
	t.Parallel()
	for _, name := range mini.Names() {
		m, err := Find(name)
		if err != nil || !m.Embedded || m.String() != name+" (embedded)" {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	folder := families + "clip/bundle"
	if m, err := Find(folder); err != nil || m.Embedded || m.String() != folder {
		t.Errorf("%v, %v", m, err)
	}
	_, err := Find("org/nobody")
	want := models.ErrBundle.Error() + `: there is no embedded model and no file or folder named ` +
		`"org/nobody" (embedded are blip2-mini, `
	if !errors.Is(err, ErrNoModel) || !errors.Is(err, models.ErrBundle) ||
		!strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	const hub = "nor is org/nobody in the cache of the hub, and it is not fetched"
	if !strings.Contains(err.Error(), hub) {
		t.Errorf("%v, want %s", err, hub)
	}
	if _, err := Find("nobody"); strings.Contains(err.Error(), "hub") {
		t.Error(err)
	}
}

// What other programs fetched from the hub opens by its name there.
func TestOpenCached(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("HF_HUB_CACHE", cache)
	const commit = "0123456789012345678901234567890123456789"
	repo := filepath.Join(cache, "models--org--tiny")
	err := os.CopyFS(filepath.Join(repo, "snapshots", commit), os.DirFS(families+"clip/bundle"))
	if err == nil {
		err = os.Mkdir(filepath.Join(repo, "refs"), 0o777)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(repo, "refs", "main"), []byte(commit), 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"org/tiny", "org/tiny@" + commit} {
		p, err := Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if p.Bundle().Family != "clip" {
			t.Errorf("%s is of family %s", name, p.Bundle().Family)
		}
		p.Close()
		b, err := OpenBundle(name)
		if err != nil {
			t.Fatal(err)
		}
		b.Close()
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	for name, family := range map[string]models.Family{
		"clip-mini": "clip", families + "blip-vqa/bundle": "blip",
	} {
		if p := open(t, name); p.Bundle().Family != family {
			t.Errorf("%s is of family %s", name, p.Bundle().Family)
		}
		b, err := OpenBundle(name)
		if err != nil {
			t.Fatal(err)
		}
		if b.Family != family {
			t.Errorf("%s is of family %s", name, b.Family)
		}
		b.Close()
	}
	empty := t.TempDir()
	_, err := Open(t.Context(), empty)
	if !errors.Is(err, models.ErrBundle) || errors.Is(err, ErrNoModel) {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := Open(t.Context(), "nobody"); !errors.Is(err, ErrNoModel) {
		t.Error(err)
	}
	if _, err := OpenBundle("nobody"); !errors.Is(err, ErrNoModel) {
		t.Error(err)
	}
}

func TestOpenPreprocessor(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"blip2-mini", families + "clip/bundle"} {
		if _, _, err := OpenPreprocessor(name); err != nil {
			t.Error(err)
		}
	}
	bad := t.TempDir()
	_, _, err := OpenPreprocessor(bad)
	wantError(t, err, ExitModel, bad)
	path := filepath.Join(bad, vision.ConfigFiles[0])
	config := []byte(`{"image_processor_type":"BlipImageProcessor","do_sharpen":true}`)
	if err := os.WriteFile(path, config, 0o666); err != nil {
		t.Fatal(err)
	}
	_, _, err = OpenPreprocessor(bad)
	wantError(t, err, ExitModel, path)
	_, _, err = OpenPreprocessor(path)
	wantError(t, err, ExitModel, "no folder named")
}

// An embedded model is described without being opened, as it would be if it were; flamingo-mini,
// which was made to answer and refuses to caption, not as one that captions.
func TestEmbeddedInfo(t *testing.T) {
	t.Parallel()
	for _, name := range mini.Names() {
		m, err := Find(name)
		if err != nil {
			t.Fatal(err)
		}
		got, want := m.Info(t.Context()), ModelInfo{}
		if err := m.tryOut(t.Context(), &want); err != nil {
			t.Fatal(err)
		}
		if got.Family != want.Family || !slices.Equal(got.Tasks, want.Tasks) || got.Licence == "" ||
			got.Name != name || got.Bytes == 0 || !got.Embedded {
			t.Errorf("%+v, opened it is %+v", got, want)
		}
	}
}
