package models

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"
)

// TestByteOrderMark opens a bundle and a folder of another tool whose JSON files an editor saved
// with a byte order mark, and such in UTF-16.
func TestByteOrderMark(t *testing.T) {
	t.Parallel()
	const label = `{"label":"é"}`
	marked := bundleFiles(t, func(files map[string]string) {
		files[ManifestName] = "\ufeff" + files[ManifestName]
		files["labels.json"] = "\ufeff" + label
		files["notes.txt"] = "\ufeffnotes"
		files["wide.json"] = "\xFF\xFE{\x00}\x00"
	})
	b, err := OpenFS(marked)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := b.File("labels.json"); string(data) != label || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	if data, err := b.File("notes.txt"); string(data) != "\ufeffnotes" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	var v struct{ Label string }
	if err := b.JSON("labels.json", &v); err != nil || v.Label != "é" {
		t.Errorf("%v, %v", v, err)
	}
	if err := b.JSON(ManifestName, &v); err != nil {
		t.Error(err)
	}
	if err := b.JSON("wide.json", &v); !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), "save it as UTF-8") {
		t.Error(err)
	}
	inUTF16 := bundleFiles(t, func(files map[string]string) {
		files[ManifestName] = "\xFF\xFE{\x00}\x00"
	})
	if _, err := OpenFS(inUTF16); !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), "save it as UTF-8") {
		t.Error(err)
	}
	for text, says := range map[string]string{
		"\ufeff" + `{"model_type":"x"}`: "x", // read, and of a type that is not known
		"\xFE\xFF\x00{\x00}":            "save it as UTF-8",
	} {
		_, err := OpenFS(fstest.MapFS{
			"config.json":     &fstest.MapFile{Data: []byte(text)},
			"onnx/model.onnx": &fstest.MapFile{},
		})
		if !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
