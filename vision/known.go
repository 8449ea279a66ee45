package vision

import (
	"bytes"
	"slices"
	"strings"
	"sync"
)

// A Format is a kind of picture file that RegisterFormat adds to those that this package reads.
type Format struct {
	// Name is what errors call it, such as "AVIF".
	Name string
	// Suffixes are those of its files, in lower case with the dot.
	Suffixes []string
	// Is reports whether a file that starts with head, 64 bytes or all there are, is one.
	Is func(head []byte) bool
	// Size returns the width and height before any turn, from the header alone.
	Size func(data []byte) (w, h int, err error)
	// Decode returns the pixels of the first frame and the Exif orientation, 1 to 8, that is still
	// to be applied.
	Decode func(data []byte) (m *RGB, orientation int, err error)
}

var registry struct {
	sync.RWMutex
	list []Format
}

// RegisterFormat has Decode, DecodeFile and Frames read a further format, as a package's init does
// that a program imports for it. The first that is registered for a file reads it. Errors of the
// format's functions need not wrap ErrImage.
func RegisterFormat(f Format) {
	registry.Lock()
	defer registry.Unlock()
	registry.list = append(registry.list, f)
}

func registeredFormats() []format {
	registry.RLock()
	defer registry.RUnlock()
	var list []format
	for _, f := range registry.list {
		decode := func(data []byte, _ *options) (*RGB, int, error) { return f.Decode(data) }
		list = append(list, format{f.Name, f.Is, f.Size, decode})
	}
	return list
}

// Suffixes returns the suffixes, in lower case with the dot, of the files that Decode reads, those
// of registered formats included.
func Suffixes() []string {
	list := []string{
		".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".webp", ".bmp", ".dib",
		".tif", ".tiff", ".pbm", ".pgm", ".ppm", ".pnm", ".pfm", ".qoi", ".ico", ".tga",
	}
	registry.RLock()
	defer registry.RUnlock()
	for _, f := range registry.list {
		for _, suffix := range f.Suffixes {
			if !slices.Contains(list, suffix) {
				list = append(list, suffix)
			}
		}
	}
	return list
}

// formatNames lists the formats that are read, for errors.
func formatNames() string {
	var names []string
	for _, f := range formats() {
		if !slices.Contains(names, f.name) {
			names = append(names, f.name)
		}
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// readers are the packages that read a format where a program imports them.
var readers = map[string]string{"AVIF": "vision/avif", "HEIC": "vision/heic"}

func readerOf(name string) string {
	if pkg := readers[name]; pkg != "" {
		return " by this program (it reads it if it imports " + pkg + ")"
	}
	return ""
}

// others are signatures of picture files that are not read, so that an error can name them.
var others = []struct {
	at        int
	signature string
	name      string
}{
	{0, "\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"},
	{0, "\xff\x4f\xff\x51", "JPEG 2000"},
	{0, "\xff\x0a", "JPEG XL"},
	{0, "\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"},
	{0, "II\xbc\x01", "JPEG XR"},
	{0, "II+\x00", "BigTIFF"},
	{0, "MM\x00+", "BigTIFF"},
	{0, "IIRO", "Olympus raw (ORF)"},
	{0, "IIRS", "Olympus raw (ORF)"},
	{0, "MMOR", "Olympus raw (ORF)"},
	{0, "IIU\x00", "Panasonic raw (RW2)"},
	{0, "II\x1a\x00\x00\x00HEAPCCDR", "Canon raw (CRW)"},
	{0, "FUJIFILMCCD-RAW", "Fujifilm raw (RAF)"},
	{0, "FOVb", "Sigma raw (X3F)"},
	{0, "\x00MRM", "Minolta raw (MRW)"},
	{0, "8BPS", "Photoshop (PSD)"},
	{0, "%PDF-", "PDF"},
	{0, "%!PS", "PostScript"},
	{0, "<svg", "SVG"},
	{0, "gimp xcf", "GIMP (XCF)"},
	{0, "DDS ", "DDS"},
	{0, "v/1\x01", "OpenEXR"},
	{0, "#?RADIANCE", "Radiance HDR"},
	{0, "icns", "ICNS"},
	{0, "\x00\x00\x02\x00", "a Windows cursor (CUR)"},
}

// otherFormat names the picture format of a file that is not read; "" where it is not known.
func otherFormat(head []byte) string {
	for _, o := range others {
		if len(head) >= o.at && bytes.HasPrefix(head[o.at:], []byte(o.signature)) {
			return o.name
		}
	}
	return isoFormat(head)
}

// isoFormat names the picture format of an ISO media file by its brands; "" for films.
func isoFormat(head []byte) string {
	if len(head) < 12 || string(head[4:8]) != "ftyp" {
		return ""
	}
	end := len(head)
	if n := int(head[2])<<8 | int(head[3]); head[0] == 0 && head[1] == 0 && n >= 16 {
		end = min(end, n)
	}
	brands := []string{string(head[8:12])}
	for at := 16; at+4 <= end; at += 4 {
		brands = append(brands, string(head[at:at+4]))
	}
	switch brands[0] {
	case "avif", "avis":
		return "AVIF"
	case "heic", "heix", "hevc", "hevx", "heim", "heis", "hevm", "hevs":
		return "HEIC"
	case "crx ":
		return "Canon raw (CR3)"
	case "jpx ", "jp2 ", "jpm ":
		return "JPEG 2000"
	case "mif1", "msf1", "mif2", "miaf":
		if slices.Contains(brands, "avif") || slices.Contains(brands, "avis") {
			return "AVIF"
		}
		return "HEIC"
	}
	return ""
}
