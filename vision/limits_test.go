package vision

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

func readImage(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(testdata + "/images/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// oneLine checks that an error wraps a sentinel and reads as one clear line.
func oneLine(t *testing.T, what string, err error, sentinel error, say string) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("%s: no error", what)
	case !errors.Is(err, sentinel):
		t.Errorf("%s: %v does not wrap %q", what, err, sentinel)
	case !strings.Contains(err.Error(), say) || strings.Contains(err.Error(), "\n"):
		t.Errorf("%s: %q, want one line with %q", what, err, say)
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		data []byte
		say  string
	}{
		"nothing":             {nil, "empty"},
		"text":                {[]byte("this is a text file\n"), "not an image"},
		"cut JPEG":            {readImage(t, "420.jpg")[:700], "ends too early"},
		"cut JPEG header":     {readImage(t, "420.jpg")[:100], "ends too early"},
		"cut progressive":     {readImage(t, "progressive.jpg")[:900], "ends too early"},
		"cut PNG":             {readImage(t, "rgb.png")[:1000], "ends too early"},
		"cut PNG header":      {readImage(t, "rgb.png")[:20], "ends too early"},
		"cut GIF":             {readImage(t, "palette.gif")[:500], "ends too early"},
		"cut WebP":            {readImage(t, "lossy.webp")[:300], "ends too early"},
		"cut lossless WebP":   {readImage(t, "lossless.webp")[:300], "ends too early"},
		"cut BMP":             {readImage(t, "rgb.bmp")[:500], "ends too early"},
		"cut TIFF":            {readImage(t, "rgb.tif")[:500], "ends too early"},
		"signature alone":     {[]byte("\xff\xd8\xff"), "ends too early"},
		"PNG signature alone": {[]byte(pngSignature), "ends too early"},
		"AVIF":                {[]byte("\x00\x00\x00\x20ftypavif\x00\x00\x00\x00avifmif1"), "AVIF is not supported"},
		"HEIC":                {[]byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"), "HEIC is not supported"},
		"arithmetic JPEG":     {bytes.Replace(readImage(t, "420.jpg"), []byte("\xff\xc0\x00\x11"), []byte("\xff\xc9\x00\x11"), 1), "not supported"},
		"12-bit JPEG":         {bytes.Replace(readImage(t, "420.jpg"), []byte("\xff\xc0\x00\x11\x08"), []byte("\xff\xc0\x00\x11\x0c"), 1), "12 bits"},
	} {
		_, err := Decode(bytes.NewReader(c.data))
		oneLine(t, what, err, ErrImage, c.say)
	}

	_, err := DecodeFile(t.TempDir())
	oneLine(t, "a directory", err, ErrImage, "is a directory")
	_, err = DecodeFile(filepath.Join(t.TempDir(), "none.png"))
	oneLine(t, "no file", err, ErrImage, "no such file")
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v does not wrap os.ErrNotExist", err)
	}
	broken := errors.New("the wire is cut")
	_, err = Decode(iotest.ErrReader(broken))
	oneLine(t, "a broken reader", err, ErrImage, "the wire is cut")
	if !errors.Is(err, broken) {
		t.Errorf("the reader's error is lost: %v", err)
	}
}

// bombs are small files whose headers promise very large pictures.
func bombs() map[string][]byte {
	be, le := binary.BigEndian, binary.LittleEndian
	ihdr := []byte("IHDR\x00\x00\x00\x00\x00\x00\x00\x00\x08\x02\x00\x00\x00")
	be.PutUint32(ihdr[4:], 60000)
	be.PutUint32(ihdr[8:], 60000)
	png := []byte(pngSignature + "\x00\x00\x00\x0d" + string(ihdr))
	png = be.AppendUint32(png, crc32.ChecksumIEEE(ihdr))
	png = append(png, "\x00\x00\x00\x00IEND\xae\x42\x60\x82"...)

	jpeg := []byte("\xff\xd8\xff\xc0\x00\x11\x08\xff\xdc\xff\xdc\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00\xff\xd9")

	gif := []byte("GIF89a\xff\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02\x02\x4c\x01\x00;")

	webp := []byte("RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x10\x00\x00\x00\x5f\xea\x00\x5f\xea\x00VP8L\x06\x00\x00\x00\x2f\xff\xff\xff\x0f\x00")
	le.PutUint32(webp[4:], uint32(len(webp)-8))

	bmp := make([]byte, 60)
	copy(bmp, "BM")
	le.PutUint32(bmp[10:], 54)
	le.PutUint32(bmp[14:], 40)
	le.PutUint32(bmp[18:], 100000)
	le.PutUint32(bmp[22:], 100000)
	le.PutUint16(bmp[28:], 24)

	tiff := []byte("II*\x00\x08\x00\x00\x00\x02\x00" +
		"\x00\x01\x04\x00\x01\x00\x00\x00\xff\xff\x00\x00" + "\x01\x01\x04\x00\x01\x00\x00\x00\xff\xff\x00\x00" + "\x00\x00\x00\x00")
	tiff[8] = 3
	tiff = append(tiff[:34], "\x06\x01\x03\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00"...)
	return map[string][]byte{"PNG": png, "JPEG": jpeg, "GIF": gif, "WebP": webp, "BMP": bmp, "TIFF": tiff}
}

// TestBombs has every format refuse a huge picture by its header.
func TestBombs(t *testing.T) {
	for format, data := range bombs() {
		before := allocated()
		_, err := Decode(bytes.NewReader(data))
		oneLine(t, format, err, ErrLimit, "the limit is 178956970 in all")
		_, err = Frames(context.Background(), write(t, data), 2)
		oneLine(t, format+" frames", err, ErrLimit, "the limit is")
		if n := allocated() - before; n > 8<<20 {
			t.Errorf("%s: took %d bytes to refuse", format, n)
		}
	}
}

// TestHollow has pictures within the limits, but far too large for the data that follows, refused
// without taking their memory.
func TestHollow(t *testing.T) {
	png := bytes.Clone(bombs()["PNG"])
	binary.BigEndian.PutUint32(png[16:], 13000)
	binary.BigEndian.PutUint32(png[20:], 13000)
	binary.BigEndian.PutUint32(png[29:], crc32.ChecksumIEEE(png[12:29]))
	jpeg := bytes.Replace(bombs()["JPEG"], []byte("\xff\xdc\xff\xdc"), []byte("\x30\x00\x30\x00"), 1)
	gif := bytes.ReplaceAll(bombs()["GIF"], []byte("\xff\xff"), []byte("\x00\x30"))
	bmp := bytes.Clone(bombs()["BMP"])
	binary.LittleEndian.PutUint32(bmp[18:], 12000)
	binary.LittleEndian.PutUint32(bmp[22:], 12000)
	tga := []byte("\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\xe0\x2e\xe0\x2e\x18\x20" + strings.Repeat("\x00", 60))
	runs := append([]byte{0, 0, 10}, tga[3:]...)
	qoi := []byte("qoif\x00\x00\x2e\xe0\x00\x00\x2e\xe0\x03\x00" + strings.Repeat("\xfd", 60))
	icon := []byte("\x00\x00\x01\x00\x01\x00\x00\x00\x00\x00\x01\x00\x18\x00\x28\x00\x00\x00\x16\x00\x00\x00")
	icon = append(icon, bmp[14:54]...)
	hollow := map[string][]byte{
		"PNG": png, "JPEG": jpeg, "GIF": gif, "BMP": bmp, "TGA": tga, "TGA in runs": runs, "QOI": qoi,
		"ICO": icon, "DIB": append(bmp[14:54:54], make([]byte, 30)...),
	}
	for i := range 6 {
		hollow[fmt.Sprintf("P%d", i+1)] = fmt.Appendf(nil, "P%d 12000 12000 255\n%60s", i+1, "1")
	}
	hollow["Pf"] = fmt.Appendf(nil, "Pf 12000 12000 -1\n%60s", "1")
	for format, data := range hollow {
		before := allocated()
		_, err := Decode(bytes.NewReader(data))
		oneLine(t, format, err, ErrImage, "")
		if n := allocated() - before; n > 8<<20 {
			t.Errorf("%s: took %d bytes to refuse (%v)", format, n, err)
		}
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func write(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "picture")
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLimits(t *testing.T) {
	t.Parallel()
	data := readImage(t, "rgb.png") // 45x31
	for _, c := range []struct {
		limits Limits
		say    string
	}{
		{Limits{Pixels: 45*31 - 1}, "1394 in all"},
		{Limits{Side: 44}, "44 a side"},
		{Limits{Bytes: int64(len(data)) - 1}, "bytes"},
	} {
		_, err := Decode(bytes.NewReader(data), WithLimits(c.limits))
		oneLine(t, fmt.Sprint(c.limits), err, ErrLimit, c.say)
		_, err = DecodeFile(testdata+"/images/rgb.png", WithLimits(c.limits))
		oneLine(t, fmt.Sprint(c.limits), err, ErrLimit, c.say)
	}
	if _, err := Decode(bytes.NewReader(data), WithLimits(Limits{Pixels: 45 * 31, Side: 45, Bytes: int64(len(data))})); err != nil {
		t.Errorf("just within the limits: %v", err)
	}
	_, err := Frames(context.Background(), testdata+"/images/animated.gif", 0, WithLimits(Limits{Frames: 7}))
	oneLine(t, "8 frames of 7", err, ErrLimit, "more than 7")
	_, err = Frames(context.Background(), testdata+"/images/animated.gif", 0, WithLimits(Limits{Pixels: 45 * 31 * 7}))
	oneLine(t, "pixels of all frames", err, ErrLimit, "ask for fewer")
	_, err = Resize(NewRGB(2, 2), 1<<20, 1<<20, Bicubic)
	oneLine(t, "a huge result", err, ErrLimit, "in all")
	_, err = Resize(NewRGB(2, 2), 0, 3, Bicubic)
	oneLine(t, "an empty result", err, ErrImage, "0x3")
	_, err = Resize(NewRGB(2, 2), 3, 3, 17)
	oneLine(t, "an unknown filter", err, ErrImage, "filter 17")
}

// TestLimitsOfMade bounds what is made: a negative limit lifts the bound, zero is the default.
func TestLimitsOfMade(t *testing.T) {
	t.Parallel()
	lifted := WithLimits(Limits{Pixels: -1, Bytes: -1, Side: -1, Frames: -1})
	if _, err := Decode(bytes.NewReader(readImage(t, "rgb.png")), lifted); err != nil {
		t.Errorf("decoding without limits: %v", err)
	}
	const wide = defaultMaxSide + 1
	for name, make := range map[string]func(opts ...Option) (image.Image, error){
		"Resize":    func(opts ...Option) (image.Image, error) { return Resize(NewRGB(2, 1), wide, 1, Nearest, opts...) },
		"Thumbnail": func(opts ...Option) (image.Image, error) { return Thumbnail(NewRGB(2, 1), wide, 1, opts...) },
		"Fit":       func(opts ...Option) (image.Image, error) { return Fit(NewRGB(2, 1), wide, 1, opts...) },
	} {
		_, err := make()
		oneLine(t, name, err, ErrLimit, "1048576 a side")
		if _, err := make(lifted); err != nil {
			t.Errorf("%s without limits: %v", name, err)
		}
	}
	_, err := Resize(NewRGB(2, 1), math.MaxInt, math.MaxInt, Nearest, lifted)
	oneLine(t, "more than memory", err, ErrLimit, "in all")

	preprocess := func(config string, pictures []image.Image, opts ...Option) error {
		p, err := ParseConfig([]byte(config), opts...)
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Preprocess(context.Background(), pictures...)
		return err
	}
	const edge = `{"image_processor_type":"CLIPImageProcessor","do_center_crop":false,"size":{"shortest_edge":2}}`
	for _, opts := range [][]Option{nil, {lifted}} {
		p, err := ParseConfig([]byte(edge), opts...)
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Picture(NewRGB(1, wide/2+1))
		if opts == nil {
			oneLine(t, "a long picture", err, ErrLimit, "1048576 a side")
		} else if err != nil {
			t.Errorf("a long picture without limits: %v", err)
		}
	}
	const small = `{"image_processor_type":"BlipImageProcessor","size":20}`
	three := []image.Image{NewRGB(9, 9), NewRGB(8, 8), NewRGB(7, 7)}
	oneLine(t, "a batch", preprocess(small, three, WithLimits(Limits{Pixels: 1000})), ErrLimit, "batch of 3")
	oneLine(t, "a picture", preprocess(small, three, WithLimits(Limits{Pixels: 399})), ErrLimit, "399 in all")
	for _, opts := range [][]Option{nil, {lifted}, {WithLimits(Limits{Pixels: 1200})}} {
		if err := preprocess(small, three, opts...); err != nil {
			t.Errorf("a batch within its limits: %v", err)
		}
	}
	const padded = `{"image_processor_type":"SamImageProcessor","size":{"longest_edge":4},"pad_size":{"height":1048576,"width":1048576}}`
	oneLine(t, "a padded picture", preprocess(padded, three[:1]), ErrLimit, "in all")
}

// TestLongDonut refuses what Donut's resize, before its thumbnail, would make of a long thin picture
// without taking memory for it. It runs alone: other tests' memory would count.
func TestLongDonut(t *testing.T) {
	const donut = `{"image_processor_type":"DonutImageProcessor","size":{"height":1280,"width":960}}`
	for _, c := range []struct {
		w, h   int
		limits Limits
		say    string
	}{
		{1, 100000, Limits{}, "would be resized to 0x1280"},
		{100000, 1, Limits{}, "would be resized to 960x0"},
		{1, 300, Limits{}, "resizing to 960x288000"},
		{300, 1, Limits{}, "resizing to 288000x960"},
		{10, 100, Limits{Pixels: 960*9600 - 1}, "resizing to 960x9600"},
	} {
		p, err := ParseConfig([]byte(donut), WithLimits(c.limits))
		if err != nil {
			t.Fatal(err)
		}
		m := NewRGB(c.w, c.h)
		before := allocated()
		_, err = p.Preprocess(context.Background(), m)
		oneLine(t, fmt.Sprintf("%dx%d", c.w, c.h), err, ErrLimit, c.say)
		if n := allocated() - before; n > 8<<20 {
			t.Errorf("%dx%d: took %d bytes to refuse", c.w, c.h, n)
		}
	}
}

// tryAll decodes data in every way there is; only panics and errors without a sentinel count as
// failures.
func tryAll(t *testing.T, data []byte, p *Preprocessor) {
	t.Helper()
	opts := options{limits: Limits{Pixels: 1 << 18, Side: 1 << 12, Frames: 50}.withDefaults()}
	known := func(err error) {
		t.Helper()
		if err != nil && !errors.Is(err, ErrImage) && !errors.Is(err, ErrLimit) {
			t.Errorf("%v wraps no sentinel", err)
		}
	}
	m, err := decode(data, &opts)
	known(err)
	if err == nil {
		if len(m.Pix) != 4*m.Width*m.Height || m.Alpha != nil && len(m.Alpha) != m.Width*m.Height {
			t.Errorf("%dx%d pixels in %d bytes", m.Width, m.Height, len(m.Pix))
		}
		_, err = p.Preprocess(context.Background(), m)
		known(err)
	}
	if f := sniff(data); f != nil {
		_, err = animationFrames(context.Background(), data, f, 5, &opts)
		known(err)
	}
}

// TestDamaged cuts every file short and flips bits in it.
func TestDamaged(t *testing.T) {
	t.Parallel()
	p, err := ParseConfig([]byte(`{"image_processor_type":"IdeficsImageProcessor","image_size":16}`))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(9, 9))
	for name := range golden(t) {
		data := readImage(t, name)
		for range 12 {
			tryAll(t, data[:rng.IntN(len(data))], p)
			bad := bytes.Clone(data)
			for range 1 + rng.IntN(4) {
				at := rng.IntN(len(bad))
				if rng.IntN(2) == 0 {
					at = rng.IntN(min(len(bad), 64)) // headers break most
				}
				bad[at] ^= 1 << rng.IntN(8)
			}
			tryAll(t, bad, p)
		}
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

// FuzzDecode is TestDamaged with the fuzzer's inputs: all formats, still and moving, and
// preprocessing of what decodes.
func FuzzDecode(f *testing.F) {
	p, err := ParseConfig([]byte(`{"image_processor_type":"IdeficsImageProcessor","image_size":16}`))
	if err != nil {
		f.Fatal(err)
	}
	for name := range golden(f) {
		f.Add(readImage(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) { tryAll(t, data, p) })
}

// FuzzPPM reads what a damaged or hostile ffmpeg might write.
func FuzzPPM(f *testing.F) {
	f.Add([]byte("P6\n4 2\n255\n123456789012345678901234"))
	f.Add([]byte("P6 99999 99999 255\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		v := video{limits: Limits{Pixels: 1 << 16}.withDefaults()}
		r := bufio.NewReader(bytes.NewReader(data))
		for {
			m, err := v.readPPM(r, 3)
			if err != nil {
				return
			}
			if len(m.Pix) != 4*m.Width*m.Height {
				t.Fatalf("%dx%d pixels in %d bytes", m.Width, m.Height, len(m.Pix))
			}
		}
	})
}

// FuzzPreprocess takes any configuration and picture size.
func FuzzPreprocess(f *testing.F) {
	f.Add([]byte(blipConfig), uint16(30), uint16(20))
	f.Add([]byte(`{"image_processor_type":"CLIPImageProcessor","size":5,"crop_size":7}`), uint16(3), uint16(900))
	f.Add([]byte(`{"image_processor_type":"DetrImageProcessor","size":{"shortest_edge":8,"longest_edge":13}}`), uint16(3), uint16(90))
	f.Add([]byte(`{"image_processor_type":"SamImageProcessor","size":{"longest_edge":13},"pad_size":{"height":20,"width":15}}`), uint16(3), uint16(90))
	f.Add([]byte(`{"image_processor_type":"ConvNextFeatureExtractor","crop_pct":0.5,"size":30}`), uint16(3), uint16(90))
	f.Add([]byte(`{"image_processor_type":"DonutFeatureExtractor","do_align_long_axis":true,"size":[30,40]}`), uint16(90), uint16(8))
	f.Fuzz(func(t *testing.T, config []byte, w, h uint16) {
		p, err := ParseConfig(config)
		if err != nil {
			if !errors.Is(err, ErrImage) && !errors.Is(err, ErrLimit) {
				t.Errorf("%v wraps no sentinel", err)
			}
			return
		}
		m := NewRGB(int(w%1000), int(h%1000))
		if m.Width > 0 && m.Height > 0 {
			if l := p.layout(m.Width, m.Height); max(l.out.X, l.out.Y, l.whole.X, l.whole.Y) > 1<<11 {
				return // right, but slow
			}
		}
		out, err := p.Preprocess(context.Background(), m)
		if err != nil {
			if !errors.Is(err, ErrImage) && !errors.Is(err, ErrLimit) {
				t.Errorf("%v wraps no sentinel", err)
			}
			return
		}
		if s := out.Shape(); len(s) != 4 || s[0] != 1 || s[1] != 3 {
			t.Errorf("shape %v", s)
		}
	})
}

// TestEndless gives up on a stream that is no picture, and on one that never ends, at once or at
// the limit.
func TestEndless(t *testing.T) {
	t.Parallel()
	_, err := Decode(zeros{})
	oneLine(t, "zeros", err, ErrImage, "not an image")
	_, err = Decode(io.MultiReader(bytes.NewReader(readImage(t, "rgb.png")[:100]), zeros{}), WithLimits(Limits{Bytes: 1 << 16}))
	oneLine(t, "endless PNG", err, ErrLimit, "more than 65536 bytes")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestPNGWithoutEnd reads a picture whose pixels are all there, as Pillow does.
func TestPNGWithoutEnd(t *testing.T) {
	t.Parallel()
	data := readImage(t, "rgb.png")
	for _, cut := range []int{12, 5} {
		m, err := Decode(bytes.NewReader(data[:len(data)-cut]))
		if err != nil || hash(packed(m)) != golden(t)["rgb.png"].RGB {
			t.Errorf("without the last %d bytes: %v", cut, err)
		}
	}
}

// TestReaderKinds reads from readers that give little at a time, or lie about their size.
func TestReaderKinds(t *testing.T) {
	t.Parallel()
	want := golden(t)["rgb.png"].RGB
	data := readImage(t, "rgb.png")
	for _, r := range []io.Reader{iotest.OneByteReader(bytes.NewReader(data)), iotest.DataErrReader(bytes.NewReader(data)), bytes.NewBuffer(data)} {
		m, err := Decode(r)
		if err != nil || hash(packed(m)) != want {
			t.Errorf("%T: %v", r, err)
		}
	}
	var _ image.Image = (*RGB)(nil)
}
