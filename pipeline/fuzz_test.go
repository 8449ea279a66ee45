package pipeline

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/tokenize"
)

// loadRegionBytes writes data to a file and loads it.
func loadRegionBytes(t *testing.T, data []byte, suffix string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "regions"+suffix)
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	all, err := LoadRegions(path)
	if err != nil && !errors.Is(err, ErrRegions) {
		t.Errorf("%s: %v is no ErrRegions", suffix, err)
	}
	for _, r := range all {
		if r.Features.Dim(0) != r.Boxes.Dim(0) {
			t.Errorf("%v with %v", r.Features, r.Boxes)
		}
	}
}

func FuzzRegions(f *testing.F) {
	// Small seeds: a thousand changed files a second instead of a dozen.
	size := tensor.Must(tensor.New([]int{1}, []float32{10}))
	var npz bytes.Buffer
	if err := tensor.WriteNpz(&npz, map[string]*tensor.Tensor{"features": zeros(1, 2), "boxes": zeros(1, 4), "image_w": size, "image_h": size}); err != nil {
		f.Fatal(err)
	}
	f.Add(npz.Bytes())
	box := base64.StdEncoding.EncodeToString(make([]byte, 16))
	f.Add([]byte("a\t10\t10\t0\t0\t0\t0\t1\t" + box + "\t" + box + "\n"))
	f.Add([]byte(strings.Repeat("1\t", 9) + "AAAA"))
	f.Fuzz(func(t *testing.T, data []byte) {
		loadRegionBytes(t, data, ".tsv")
		loadRegionBytes(t, data, ".npz")
	})
}

// The pieces of a streamed text are the text, whatever the ids.
func FuzzTextStream(f *testing.F) {
	data, err := os.ReadFile(filepath.Join(familiesDir, "blip2-opt", "bundle", tokenizerFile))
	if err != nil {
		f.Fatal(err)
	}
	tokenizer, err := tokenize.New(data)
	if err != nil {
		f.Fatal(err)
	}
	p := &Pipeline{bundle: new(models.Bundle), texts: family.Texts{Tokenizer: tokenizer}}
	f.Add([]byte{3, 4, 200, 201, 255, 0, 2})
	f.Fuzz(func(t *testing.T, raw []byte) {
		writer := &p.newTexts(1)[0]
		var joined strings.Builder
		var ids []int64
		for i, b := range raw[:min(len(raw), 64)] {
			id := int64(b) * int64(1+i%2)
			ids = append(ids, id)
			joined.WriteString(writer.add(decode.Chosen{ID: id}).Text)
		}
		whole := tokenizer.Decode(ids, true)
		if text := joined.String(); strings.TrimRight(whole, "\uFFFD") != text {
			t.Errorf("%q in pieces, %q in one", text, whole)
		}
		done := writer.end(&decode.Sequence{})
		if done.Text != strings.TrimSpace(whole) {
			t.Errorf("%q at the end, %q in one", done.Text, whole)
		}
		joined.Reset()
		for _, token := range done.Tokens {
			joined.WriteString(token.Text)
		}
		if joined.String() != whole {
			t.Errorf("the tokens are %q, the text %q", joined.String(), whole)
		}
	})
}

// Files of regions that must fail, each with a part of its message. It runs alone, because it counts
// what the process allocates.
func TestHostileRegions(t *testing.T) {
	npz := func(arrays map[string]*tensor.Tensor) []byte {
		var b bytes.Buffer
		if err := tensor.WriteNpz(&b, arrays); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	with := func(name string, x *tensor.Tensor) []byte {
		arrays := map[string]*tensor.Tensor{"features": zeros(2, 3), "boxes": zeros(2, 4), "image_w": zeros(1), "image_h": zeros(1)}
		tensor.Data[float32](arrays["image_w"])[0], tensor.Data[float32](arrays["image_h"])[0] = 10, 10
		if arrays[name] = x; x == nil {
			delete(arrays, name)
		}
		return npz(arrays)
	}
	far := zeros(2, 4)
	tensor.Data[float32](far)[3] = 1e9
	line := func(columns ...string) []byte { return []byte(strings.Join(columns, "\t") + "\n") }
	good, err := os.ReadFile(filepath.Join(familiesDir, "lxmert-gqa", "regions.npz"))
	if err != nil {
		t.Fatal(err)
	}
	// packed is a .npz whose member features unpacks to so many zeros after its
	// header, and says that it unpacks to another number of bytes, if that is above 0.
	packed := func(zeros int, says uint64) []byte {
		var body bytes.Buffer
		w, err := flate.NewWriter(&body, flate.BestSpeed)
		if err != nil {
			t.Fatal(err)
		}
		var array bytes.Buffer
		tensor.WriteNpy(&array, tensor.Must(tensor.Zeros(tensor.Uint8, 1, 4)))
		head := bytes.Replace(array.Bytes()[:array.Len()-4], []byte("(1, 4), }          "), []byte("(1, 1099511627776)}"), 1)
		w.Write(head)
		for range zeros >> 16 {
			w.Write(make([]byte, 1<<16))
		}
		w.Close()
		if says == 0 {
			says = uint64(len(head) + zeros)
		}
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		member, err := z.CreateRaw(&zip.FileHeader{Name: "features.npy", Method: zip.Deflate, CompressedSize64: uint64(body.Len()), UncompressedSize64: says})
		if err != nil {
			t.Fatal(err)
		}
		member.Write(body.Bytes())
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for _, c := range []struct {
		name string
		data []byte
		says string
	}{
		{"5 GB declared.npz", packed(0, 5<<30), "unpacks to more than"},
		{"2^63 bytes declared.npz", packed(0, 1<<63), "unpacks to more than"},
		{"64 MB in 64 kB.npz", packed(64<<20, 0), "unpacks to more than"},
		{"64 MB that say they are 1 kB.npz", packed(64<<20, 1000), "features.npy"},
		{"empty.npz", nil, "not a .npz"},
		{"half.npz", good[:len(good)/2], "not a .npz"},
		{"text.npz", []byte("hello"), "not a .npz"},
		{"width left out.npz", with("image_w", nil), "image_w"},
		{"width two.npz", with("image_w", zeros(2)), "image_w"},
		{"width zero.npz", with("image_w", zeros(1)), "picture of 0"},
		{"features left out.npz", with("features", nil), "features"},
		{"features of one dimension.npz", with("features", zeros(6)), "[R,F]"},
		{"no features.npz", with("features", zeros(0, 3)), "[R,F]"},
		{"features more than boxes.npz", with("features", zeros(3, 3)), "[R,F]"},
		{"boxes of five.npz", with("boxes", zeros(2, 5)), "[R,4]"},
		{"boxes outside.npz", with("boxes", far), "box 0"},
		{"member above.npz", with("../features", zeros(2, 3)), ""},
		{"empty.tsv", nil, "no pictures"},
		{"columns.tsv", line("a", "b"), "2 columns"},
		{"size.tsv", line("a", "x", "2", "0", "0", "0", "0", "1", "AAAA", "AAAA"), "not a size"},
		{"negative size.tsv", line("a", "-1", "2", "0", "0", "0", "0", "1", "AAAA", "AAAA"), "not a size"},
		{"count.tsv", line("a", "1", "2", "0", "0", "0", "0", "9223372036854775807", "AAAA", "AAAA"), "boxes"},
		{"base64.tsv", line("a", "1", "2", "0", "0", "0", "0", "1", "!!!!", "AAAA"), "boxes"},
		{"short.tsv", line("a", "1", "2", "0", "0", "0", "0", "1", "AAAAAA==", "AAAAAA=="), "[R,4]"},
		{"binary.tsv", []byte{0, 1, 2, 255}, "columns"},
		{"regions.csv", []byte("a,b"), ".npz or .tsv"},
	} {
		path := filepath.Join(t.TempDir(), c.name)
		if err := os.WriteFile(path, c.data, 0o666); err != nil {
			t.Fatal(err)
		}
		before := allocatedBytes()
		_, err := Limits{RegionBytes: 1 << 20}.LoadRegions(path)
		if used := allocatedBytes() - before; used > 16<<20 {
			t.Errorf("%s: took %d MB", c.name, used>>20)
		}
		if c.says == "" { // a member's name is only a name: nothing is written
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if !errors.Is(err, ErrRegions) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want ErrRegions with %q", c.name, err, c.says)
		}
	}
	big := filepath.Join(t.TempDir(), "big.tsv")
	if err := os.WriteFile(big, make([]byte, 2<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := (Limits{RegionBytes: 1 << 20}).LoadRegions(big); !errors.Is(err, ErrLimit) || !errors.Is(err, ErrRegions) {
		t.Errorf("a .tsv beyond the limit: %v", err)
	}
}
