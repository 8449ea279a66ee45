package models

import (
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"
)

// Whatever a manifest and a projection file hold, what is wrong is an ErrBundle.
func FuzzManifestAndWeights(f *testing.F) {
	good := []byte(`{"format":1,"family":"clip","graphs":{"a":"a.onnx"},"projection":"p"}`)
	f.Add(good, []byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"))
	f.Add(good, []byte("\x3a\x00\x00\x00\x00\x00\x00\x00"+`{"w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}  `+"\x00\x00\x80\x3f\x00\x00\x00\x40"))
	f.Add(good, []byte("\x38\x00\x00\x00\x00\x00\x00\x00"+`{"w":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}  `+"12345678"))
	f.Add([]byte(`{"format":1,"family":"clip","graphs":{"a":"../a.onnx"},"sha256":{"a.onnx":"00"}}`), []byte{})
	f.Add([]byte(`{"format":2,"limits":{"max_positions":-1}}`), []byte{})
	f.Fuzz(func(t *testing.T, manifest, weights []byte) {
		m, err := parseManifest(manifest, nil)
		if err != nil && !errors.Is(err, ErrBundle) {
			t.Errorf("the manifest: %v is no ErrBundle", err)
		}
		if err == nil {
			for _, name := range m.Graphs {
				if !fs.ValidPath(name) {
					t.Errorf("accepted %q", name)
				}
			}
		}
		fsys := fstest.MapFS{
			ManifestName: {Data: good},
			"a.onnx":     {},
			"p":          {Data: weights},
		}
		b, err := OpenFS(fsys)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		w, err := b.Weights()
		if err != nil && !errors.Is(err, ErrBundle) {
			t.Errorf("the weights: %v is no ErrBundle", err)
		}
		for name := range w {
			if _, err := w.Need(name, 1, 2); err != nil && !errors.Is(err, ErrBundle) {
				t.Errorf("%q: %v is no ErrBundle", name, err)
			}
		}
	})
}
