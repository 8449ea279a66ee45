package models

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/crossattn/xpipe/tensor"
	"github.com/nlpodyssey/safetensors"
)

// bundleFiles is a small valid bundle; edit changes it before it is opened.
func bundleFiles(t *testing.T, edit func(files map[string]string)) fstest.MapFS {
	t.Helper()
	view, err := safetensors.NewTensorView(safetensors.F16, []uint64{2, 1}, []byte{0x00, 0x3c, 0x00, 0xc0})
	if err != nil {
		t.Fatal(err)
	}
	var weights bytes.Buffer
	if err := safetensors.SerializeToWriter(map[string]safetensors.TensorView{"p.weight": view}, nil, &weights); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"onnx/a.onnx":            "graph",
		"projection.safetensors": weights.String(),
	}
	hash := func(name string) string {
		sum := sha256.Sum256([]byte(files[name]))
		return hex.EncodeToString(sum[:])
	}
	files[ManifestName] = fmt.Sprintf(`{"format":1,"name":"tiny","family":"clip","graphs":{"a":"onnx/a.onnx"},
		"projection":"projection.safetensors","sha256":{"onnx/a.onnx":%q,"projection.safetensors":%q}}`,
		hash("onnx/a.onnx"), hash("projection.safetensors"))
	if edit != nil {
		edit(files)
	}
	fsys := fstest.MapFS{}
	for name, content := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return fsys
}

func TestOpenFS(t *testing.T) {
	t.Parallel()
	b, err := OpenFS(bundleFiles(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	w, err := b.Weights()
	if err != nil {
		t.Fatal(err)
	}
	p, err := w.Need("p.weight", -1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got := tensor.Data[float32](p); got[0] != 1 || got[1] != -2 {
		t.Errorf("p.weight = %v, want 1, -2", got)
	}
	if _, err := w.Need("p.weight", 3, 1); !errors.Is(err, ErrBundle) {
		t.Errorf("wrong shape: %v", err)
	}
	if _, err := b.Graph("b"); !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), `"b"`) {
		t.Errorf("missing role: %v", err)
	}
}

// counting counts how often files are opened.
type counting struct {
	fs.FS
	opened map[string]int
}

func (c counting) Open(name string) (fs.File, error) {
	c.opened[name]++
	return c.FS.Open(name)
}

// Several parts of a model read the same configuration; it is read from the disk once.
func TestFileIsReadOnce(t *testing.T) {
	t.Parallel()
	c := counting{bundleFiles(t, func(f map[string]string) { f["config.json"] = `{"a":1}` }), map[string]int{}}
	b, err := OpenFS(c, VerifyLater())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		data, err := b.File("config.json")
		if err != nil || string(data) != `{"a":1}` {
			t.Errorf("%q, %v", data, err)
		}
		data[0] = 'x' // the caller's own
	}
	if n := c.opened["config.json"]; n != 1 {
		t.Errorf("opened %d times", n)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	manifest := func(old, new string) func(map[string]string) {
		return func(f map[string]string) { f[ManifestName] = strings.Replace(f[ManifestName], old, new, 1) }
	}
	for name, c := range map[string]struct {
		edit func(map[string]string)
		want string
	}{
		"no manifest":          {func(f map[string]string) { delete(f, ManifestName) }, "no usable xpipe.json"},
		"manifest no JSON":     {func(f map[string]string) { f[ManifestName] = "{" }, "xpipe.json"},
		"newer format":         {manifest(`"format":1`, `"format":2`), "format 2 is unknown"},
		"unknown family":       {manifest(`"clip"`, `"resnet"`), `family "resnet" is unknown`},
		"no graphs":            {manifest(`{"a":"onnx/a.onnx"}`, `{}`), "names no graphs"},
		"graph outside":        {manifest(`"a":"onnx/a.onnx"`, `"a":"../a.onnx"`), "not a path inside"},
		"graph absolute":       {manifest(`"a":"onnx/a.onnx"`, `"a":"/etc/passwd"`), "not a path inside"},
		"graph with backslash": {manifest(`"a":"onnx/a.onnx"`, `"a":"..\\a.onnx"`), "not a path inside"},
		"projection outside":   {manifest(`"projection":"projection`, `"projection":"../projection`), "not a path inside"},
		"hash outside":         {manifest(`"sha256":{"onnx`, `"sha256":{"../onnx`), "not a path inside"},
		"changed file":         {func(f map[string]string) { f["onnx/a.onnx"] = "other" }, "onnx/a.onnx is damaged"},
		"missing file":         {func(f map[string]string) { delete(f, "onnx/a.onnx") }, "onnx/a.onnx"},
		"graph without hash":   {manifest(`"a":"onnx/a.onnx"`, `"a":"onnx/a.onnx","c":"onnx/c.onnx"`), "no sha256 for onnx/c.onnx"},
	} {
		_, err := OpenFS(bundleFiles(t, c.edit), WithKnown(Known{Families: []Family{"clip"}}))
		if !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want ErrBundle with %q", name, err, c.want)
		}
	}
}

func TestNoVerify(t *testing.T) {
	t.Parallel()
	fsys := bundleFiles(t, func(f map[string]string) { f["onnx/a.onnx"] = "other" })
	if _, err := OpenFS(fsys, WithoutVerification()); err != nil {
		t.Error(err)
	}
}

func TestOpenDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, bundleFiles(t, nil)); err != nil {
		t.Fatal(err)
	}
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	source, err := b.Graph("a")
	if err != nil {
		t.Fatal(err)
	}
	if path, ok := source.Path(); !ok || path != filepath.Join(dir, "onnx", "a.onnx") {
		t.Errorf("Path() = %q, %v", path, ok)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{filepath.Join(dir, "missing"), filepath.Join(dir, ManifestName)} {
		if _, err := Open(bad); !errors.Is(err, ErrBundle) {
			t.Errorf("Open(%s): %v", bad, err)
		}
	}

	// A link that leads out of the bundle is not followed.
	outside := filepath.Join(t.TempDir(), "a.onnx")
	os.WriteFile(outside, []byte("graph"), 0o666)
	os.Remove(filepath.Join(dir, "onnx", "a.onnx"))
	if err := os.Symlink(outside, filepath.Join(dir, "onnx", "a.onnx")); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	if _, err := Open(dir); !errors.Is(err, ErrBundle) {
		t.Errorf("link out of the bundle: %v", err)
	}
}

func TestDamagedWeights(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"empty":       "",
		"short":       "\x01",
		"huge header": "\xff\xff\xff\xff\xff\xff\xff\x7f{}",
		"text":        "hello world, no tensors in here",
	} {
		fsys := bundleFiles(t, func(f map[string]string) { f["projection.safetensors"] = data })
		b, err := OpenFS(fsys, WithoutVerification())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Weights(); !errors.Is(err, ErrBundle) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A bundle of xpipe's own may have variants, too; their hashes count.
func TestVariantOfBundle(t *testing.T) {
	t.Parallel()
	with := func(f map[string]string) { f["onnx/a_fp16.onnx"] = "half" }
	hashed := func(f map[string]string) {
		with(f)
		f[ManifestName] = strings.Replace(f[ManifestName], `"sha256":{`,
			`"sha256":{"onnx/a_fp16.onnx":"f3bcfcf5c1b8f1f80a8b20ea6a3a7a3c0c1a24b3d0a2b0ad8b2b0a9b5d4b6d31",`, 1)
	}
	b, err := OpenFS(bundleFiles(t, with), WithVariant("fp16"), WithoutVerification())
	if err != nil {
		t.Fatal(err)
	}
	if b.Graphs["a"] != "onnx/a_fp16.onnx" || b.DType != "float16" {
		t.Errorf("graphs %v, dtype %s", b.Graphs, b.DType)
	}
	if b, err = OpenFS(bundleFiles(t, with), WithVariant("fp32")); err != nil || b.Graphs["a"] != "onnx/a.onnx" {
		t.Errorf("fp32: %v, %v", b, err)
	}
	for want, open := range map[string]func() error{
		"no sha256 for onnx/a_fp16.onnx":                               func() error { _, err := OpenFS(bundleFiles(t, with), WithVariant("fp16")); return err },
		"onnx/a_fp16.onnx is damaged":                                  func() error { _, err := OpenFS(bundleFiles(t, hashed), WithVariant("fp16")); return err },
		"no onnx/a_q4.onnx; there are onnx/a.onnx, onnx/a_fp16.onnx":   func() error { _, err := OpenFS(bundleFiles(t, with), WithVariant("q4")); return err },
		`there is no variant "half"; it is one of bnb4, fp16, fp32, i`: func() error { _, err := OpenFS(bundleFiles(t, with), WithVariant("half")); return err },
	} {
		if err := open(); !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want ErrBundle with %q", err, want)
		}
	}
}
