package vision

import (
	"encoding/binary"
	"slices"
	"strings"
)

func isTIFF(data []byte) bool { return hasTIFFPrefix(data) }

// The tags, compressions and photometric interpretations of TIFF 6.0 that are read here.
const (
	tagSubfile      = 254
	tagWidth        = 256
	tagHeight       = 257
	tagBits         = 258
	tagCompression  = 259
	tagPhotometric  = 262
	tagFillOrder    = 266
	tagMake         = 271
	tagStripOffsets = 273
	tagOrientation  = 274
	tagSamples      = 277
	tagRowsPerStrip = 278
	tagStripCounts  = 279
	tagPlanar       = 284
	tagT4Options    = 292
	tagPredictor    = 317
	tagColorMap     = 320
	tagTileWidth    = 322
	tagTileHeight   = 323
	tagTileOffsets  = 324
	tagTileCounts   = 325
	tagSubIFDs      = 330
	tagExtraSamples = 338
	tagSampleFormat = 339
	tagJPEGTables   = 347
	tagXMP          = 700
	tagCFAPattern   = 33422
	tagDNGVersion   = 50706

	tiffRaw        = 1
	tiffGroup3     = 3
	tiffGroup4     = 4
	tiffLZW        = 5
	tiffJPEG       = 7
	tiffDeflate    = 8
	tiffDeflateOld = 32946
	tiffPackBits   = 32773

	tiffWhiteIsZero = 0
	tiffBlackIsZero = 1
	tiffRGB         = 2
	tiffPalette     = 3
	tiffCMYK        = 5
	tiffYCbCr       = 6
)

// tiffTags are the tags that are read.
var tiffTags = []int{
	tagWidth, tagHeight, tagBits, tagCompression, tagPhotometric, tagFillOrder, tagStripOffsets,
	tagSamples, tagRowsPerStrip, tagStripCounts, tagPlanar, tagT4Options,
	tagPredictor, tagColorMap, tagTileWidth, tagTileHeight, tagTileOffsets, tagTileCounts,
	tagExtraSamples, tagSampleFormat, tagJPEGTables,
}

// tiffFile is the first directory of a TIFF file, checked.
type tiffFile struct {
	data  []byte
	order binary.ByteOrder
	tags  map[int][]uint32
	raw   map[int][]byte // of tags of bytes

	w, h        int
	bits        int // a sample
	samples     int // a pixel
	extra       int // meaning of the first sample too many; -1: there is none
	photometric int
	compression int
	planar      bool
	lsbFirst    bool // FillOrder 2
}

func sizeTIFF(data []byte) (w, h int, err error) {
	f, err := newTIFF(data)
	if err != nil {
		return 0, 0, err
	}
	return f.w, f.h, nil
}

func newTIFF(data []byte) (*tiffFile, error) {
	f := &tiffFile{data: data, order: binary.LittleEndian, tags: map[int][]uint32{},
		raw: map[int][]byte{}}
	if data[0] == 'M' {
		f.order = binary.BigEndian
	}
	if name := f.cameraRaw(); name != "" {
		return nil, imageErrorf("%s is not supported: convert it to PNG or JPEG", name)
	}
	if err := f.readDirectory(); err != nil {
		return nil, err
	}
	f.w, f.h = f.value(tagWidth, 0), f.value(tagHeight, 0)
	f.compression = f.value(tagCompression, tiffRaw)
	f.photometric = f.value(tagPhotometric, 0)
	f.planar = f.value(tagPlanar, 1) == 2
	f.lsbFirst = f.value(tagFillOrder, 1) == 2
	f.samples = f.value(tagSamples, 1)
	f.bits = f.value(tagBits, 1)
	for _, b := range f.tags[tagBits] {
		if int(b) != f.bits {
			return nil, imageErrorf("samples of different sizes, %v bits", f.tags[tagBits])
		}
	}
	for _, s := range f.tags[tagSampleFormat] {
		if s != 1 && !(s == 2 && f.bits == 8) {
			return nil, imageErrorf("sample format %d (signed or floating point) is not supported",
				s)
		}
	}
	return f, f.check()
}

// cameraRaw names the camera's own format that a TIFF file is, if any: its first picture is a small
// preview, and what the sensor saw stands in a directory below.
func (f *tiffFile) cameraRaw() string {
	if len(f.data) < 10 {
		return ""
	}
	at := int64(f.order.Uint32(f.data[4:]))
	tag := func(n uint16) []byte {
		b, _ := findTag(f.data, f.order, at, n)
		return b
	}
	number := func(n uint16) int {
		if b, kind := findTag(f.data, f.order, at, n); b != nil {
			return firstNumber(b, kind, f.order)
		}
		return 0
	}
	if string(f.data[8:10]) == "CR" {
		return "Canon raw (CR2)"
	}
	if tag(tagDNGVersion) != nil {
		return "camera raw (DNG)"
	}
	preview := number(tagSubfile)&1 != 0 && tag(tagSubIFDs) != nil
	if !preview && tag(tagCFAPattern) == nil {
		return ""
	}
	brand := strings.ToUpper(string(tag(tagMake)))
	for prefix, name := range map[string]string{
		"NIKON": "Nikon raw (NEF)", "SONY": "Sony raw (ARW)", "PENTAX": "Pentax raw (PEF)",
		"SAMSUNG": "Samsung raw (SRW)", "HASSELBLAD": "Hasselblad raw (3FR)",
	} {
		if strings.HasPrefix(brand, prefix) {
			return name
		}
	}
	return "camera raw"
}

// readDirectory reads the first directory, numbers only.
func (f *tiffFile) readDirectory() error {
	if len(f.data) < 8 {
		return errTruncated
	}
	at := int64(f.order.Uint32(f.data[4:]))
	if at+2 > int64(len(f.data)) {
		return errTruncated
	}
	n := int64(f.order.Uint16(f.data[at:]))
	if at+2+12*n > int64(len(f.data)) {
		return errTruncated
	}
	for i := range n {
		e := f.data[at+2+12*i:][:12]
		tag, kind := int(f.order.Uint16(e)), f.order.Uint16(e[2:])
		count := int64(f.order.Uint32(e[4:]))
		size := int64(map[uint16]int{1: 1, 3: 2, 4: 4, 7: 1}[kind])
		if size == 0 || f.tags[tag] != nil || f.raw[tag] != nil || !slices.Contains(tiffTags, tag) {
			continue
		}
		b := e[8:]
		if count*size > 4 {
			off := int64(f.order.Uint32(e[8:]))
			if off+count*size > int64(len(f.data)) {
				return errTruncated
			}
			b = f.data[off:]
		}
		if kind == 7 {
			f.raw[tag] = b[:count]
			continue
		}
		values := make([]uint32, count)
		for j := range values {
			switch size {
			case 1:
				values[j] = uint32(b[j])
			case 2:
				values[j] = uint32(f.order.Uint16(b[2*j:]))
			default:
				values[j] = f.order.Uint32(b[4*j:])
			}
		}
		f.tags[tag] = values
	}
	return nil
}

// value is the first number of a tag, or what counts where it is missing.
func (f *tiffFile) value(tag, missing int) int {
	if v := f.tags[tag]; len(v) > 0 {
		return int(v[0])
	}
	return missing
}

// check refuses unsupported files and determines the extra samples.
func (f *tiffFile) check() error {
	unsupported := func() error {
		return imageErrorf(
			"%d samples of %d bits, photometric %d, compression %d are not supported", f.samples,
			f.bits, f.photometric, f.compression)
	}
	if f.w <= 0 || f.h <= 0 {
		return imageErrorf("the header gives %dx%d pixels", f.w, f.h)
	}
	colors := 1
	var depths []int
	switch f.photometric {
	case tiffWhiteIsZero:
		depths = []int{1, 2, 4, 8}
		if f.order == binary.LittleEndian { // Pillow takes these as they are
			depths = append(depths, 16)
		}
	case tiffBlackIsZero:
		depths = []int{1, 2, 4, 8, 16}
	case tiffPalette:
		depths = []int{1, 2, 4, 8}
	case tiffRGB:
		colors, depths = 3, []int{8, 16}
	case tiffCMYK:
		colors, depths = 4, []int{8, 16}
	case tiffYCbCr:
		colors, depths = 3, []int{8}
		if f.compression != tiffJPEG {
			return imageErrorf("YCbCr that is not JPEG-compressed is not supported")
		}
	default:
		return unsupported()
	}
	if !slices.Contains(depths, f.bits) || f.samples < colors || f.samples > 6 ||
		f.samples > colors && f.bits < 8 {
		return unsupported()
	}
	f.extra = -1
	if f.samples > colors {
		f.extra = f.value(tagExtraSamples, 2)
	}
	switch f.compression {
	case tiffRaw, tiffLZW, tiffDeflate, tiffDeflateOld, tiffPackBits, tiffJPEG:
	case tiffGroup3, tiffGroup4:
		if f.bits != 1 || f.samples != 1 ||
			f.compression == tiffGroup3 && f.value(tagT4Options, 0)&1 != 0 {
			return unsupported()
		}
	default:
		return unsupported()
	}
	if p := f.value(tagPredictor, 1); p != 1 && (p != 2 || f.bits < 8) {
		return imageErrorf("predictor %d is not supported", p)
	}
	if f.photometric == tiffPalette && len(f.tags[tagColorMap]) < 3<<f.bits {
		return imageErrorf("has no palette for %d bits", f.bits)
	}
	return nil
}

func decodeTIFF(data []byte, o *options) (*RGB, int, error) {
	f, err := newTIFF(data)
	if err != nil {
		return nil, 0, err
	}
	m, err := f.decode(o)
	if err != nil {
		return nil, 0, err
	}
	at := int64(f.order.Uint32(data[4:]))
	orientation, ok := directoryOrientation(data, f.order, at)
	if !ok {
		packet, _ := findTag(data, f.order, at, tagXMP)
		orientation = metadata{xmp: [2][]byte{packet}}.xmpOrientation()
	}
	return m.splitAlpha(), orientation, nil
}

// decode reads strips or tiles, of which planar files have a set per sample.
func (f *tiffFile) decode(o *options) (*RGB, error) {
	w, h := f.w, min(f.value(tagRowsPerStrip, f.h), f.h)
	offsets, counts := f.tags[tagStripOffsets], f.tags[tagStripCounts]
	if len(f.tags[tagTileOffsets]) > 0 {
		w, h = f.value(tagTileWidth, 0), f.value(tagTileHeight, 0)
		offsets, counts = f.tags[tagTileOffsets], f.tags[tagTileCounts]
		if err := o.limits.checkSize(w, h); err != nil {
			return nil, err
		}
	}
	if h <= 0 {
		return nil, imageErrorf("strips of %d rows", h)
	}
	across, down := (f.w+w-1)/w, (f.h+h-1)/h
	planes, samples := 1, f.samples
	if f.planar {
		planes, samples = f.samples, 1
	}
	if len(offsets) < across*down*planes {
		return nil, imageErrorf("has %d strips or tiles where %d are needed",
			len(offsets), across*down*planes)
	}
	m := newRGB(f.w, f.h)
	// Of planar files whole rows of tiles come together before their pixels can be made.
	parts := make([][]byte, planes)
	for i := range across * down {
		x, y := i%across*w, i/across*h
		rows := h
		if len(f.tags[tagTileOffsets]) == 0 {
			rows = min(h, f.h-y)
		}
		for p := range parts {
			n := p*across*down + i
			start := int64(offsets[n])
			if start > int64(len(f.data)) {
				return nil, errTruncated
			}
			part := f.data[start:]
			if n < len(counts) {
				part = part[:min(int64(counts[n]), int64(len(part)))]
			}
			if f.compression == tiffJPEG {
				if err := f.jpegPart(m, part, x, y); err != nil {
					return nil, err
				}
				continue
			}
			var err error
			if parts[p], err = f.unpack(part, w, rows, samples); err != nil {
				return nil, err
			}
		}
		if f.compression != tiffJPEG {
			f.pixels(m, parts, x, y, w, rows)
		}
	}
	return m, nil
}
