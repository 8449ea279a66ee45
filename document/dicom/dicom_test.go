package dicom

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/document"
)

const golden = "../../testdata/document/"

// Stored values are pydicom's, and pictures within a level of what its functions make of them; colours
// in JPEG, whose stored values pydicom has before the conversion to R G B, within 2.
func TestEqualsPydicom(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(golden + "dicom.json")
	if err != nil {
		t.Fatal(err)
	}
	var truth struct {
		Files map[string][]struct {
			Stored  string
			Picture []int
		}
	}
	if err := json.Unmarshal(data, &truth); err != nil {
		t.Fatal(err)
	}
	if len(truth.Files) < 15 {
		t.Fatalf("%d files", len(truth.Files))
	}
	for name, frames := range truth.Files {
		f, err := Open(golden + "dicom/" + name + ".dcm")
		if err != nil {
			t.Error(err)
			continue
		}
		if f.Pages() != len(frames) {
			t.Errorf("%s: %d frames, want %d", name, f.Pages(), len(frames))
			continue
		}
		for n, want := range frames {
			stored, err := f.Stored(n + 1)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			var b []byte
			for _, v := range stored {
				b = binary.LittleEndian.AppendUint32(b, uint32(v))
			}
			if sum := sha256.Sum256(b); name != "jpegrgb" && hex.EncodeToString(sum[:]) != want.Stored {
				t.Errorf("%s, frame %d: other stored values", name, n+1)
			}
			m, err := f.Render(context.Background(), n+1, 0)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			samples := len(want.Picture) / (m.Rect.Dx() * m.Rect.Dy())
			other, most := 0, 0.0
			for i, v := range want.Picture {
				off := math.Abs(float64(m.Pix[i/samples*4+i%samples]) - float64(v))
				if off > 0 {
					other++
				}
				most = max(most, off)
			}
			if other > 0 {
				t.Logf("%s, frame %d: %d of %d samples differ, by %g at most", name, n+1, other, len(want.Picture), most)
			}
			if most > 2 || most > 1 && name != "jpegrgb" {
				t.Errorf("%s, frame %d: off by %g", name, n+1, most)
			}
		}
	}
}

func TestRecord(t *testing.T) {
	t.Parallel()
	f, err := Open(golden + "dicom/signed.dcm")
	if err != nil {
		t.Fatal(err)
	}
	other := f.Info().Other
	if other["PatientName"] != "Löwe^Ada" || other["WindowCenter"] != `40\300` || other["Rows"] != "20" {
		t.Errorf("%v", other)
	}
	values, err := f.Values(1)
	if err != nil || values[0] != -1024*1.5-100 {
		t.Errorf("%v %v", values[:1], err)
	}
	f, err = Open(golden + "dicom/voilut.dcm")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range f.Record() {
		if e.Keyword == "VOILUTSequence" && len(e.Items) == 1 {
			return
		}
	}
	t.Error("the record lacks a sequence")
}

// What is not read says so.
func TestRefused(t *testing.T) {
	t.Parallel()
	f, err := Open(golden + "dicom/jpeg2000.dcm")
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Render(context.Background(), 1, 0)
	if !errors.Is(err, document.ErrDocument) || !strings.Contains(err.Error(), "JPEG 2000 Lossless") {
		t.Error(err)
	}
	if _, err := f.Render(context.Background(), 2, 0); !errors.Is(err, document.ErrDocument) {
		t.Error(err)
	}
	if _, err := New([]byte("hello")); !errors.Is(err, document.ErrDocument) {
		t.Error(err)
	}
}

// An element that claims more than the file has is refused before room is made for it.
func TestClaims(t *testing.T) {
	for _, name := range []string{"signed", "negative", "plain"} { // explicit, implicit, big endian
		data, err := os.ReadFile(golden + "dicom/" + name + ".dcm")
		if err != nil {
			t.Fatal(err)
		}
		tag, length := "\xe0\x7f\x10\x00", 8
		switch name {
		case "negative":
			length = 4
		case "plain":
			tag = "\x7f\xe0\x00\x10"
		}
		at := strings.LastIndex(string(data), tag) + length
		copy(data[at:], "\x00\x10\x10\x00") // 1 MiB in both orders of bytes
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = New(data)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, document.ErrDocument) || !strings.Contains(err.Error(), "ends within element 7fe0,0010") {
			t.Errorf("%s: %v", name, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: %d kB", name, n>>10)
		}
	}
}

// Files that are cut or changed anywhere give errors or pictures, never a panic, and no more memory than
// they are worth.
func FuzzDICOM(f *testing.F) {
	for _, name := range []string{"signed", "rle16", "voilut", "jpeg", "frames", "planes"} {
		data, err := os.ReadFile(golden + "dicom/" + name + ".dcm")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := New(data)
		if err != nil {
			if !errors.Is(err, document.ErrDocument) && !errors.Is(err, document.ErrLimit) {
				t.Errorf("%v", err)
			}
			return
		}
		file.Info()
		if file.rows*file.columns > 1<<20 {
			return
		}
		for n := range min(file.Pages(), 3) {
			if _, err := file.Render(context.Background(), n+1, 0); err != nil && !errors.Is(err, document.ErrDocument) {
				t.Errorf("%v", err)
			}
		}
	})
}
