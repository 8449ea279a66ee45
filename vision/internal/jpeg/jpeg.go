// Package jpeg decodes JPEG files to the very samples that libjpeg-turbo gives with its default
// settings, which are those that Pillow uses: the accurate integer inverse DCT ("islow"),
// triangle-filter upsampling of chroma, and the fixed-point colour conversion of jdcolor.c.
//
// Baseline, extended sequential and progressive files of 8-bit samples are read, with 1, 3 or 4
// components and any whole sampling ratios. Arithmetic coding, 12-bit samples and lossless files
// are refused.
//
// The format is that of ITU-T T.81; the arithmetic that T.81 leaves open was taken from the
// documentation and behaviour of libjpeg-turbo 3 (jidctint.c, jdsample.c, jdcolor.c, jdapimin.c)
// and written anew.
package jpeg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

// ErrTruncated is wrapped by errors about files that end too early.
var ErrTruncated = errors.New("the file ends too early")

// Header holds the fields of a file before its pixels.
type Header struct {
	Width, Height int
	Components    int
	Progressive   bool
	// Exif is the joined data of the APP1 Exif segments, starting with "Exif\0\0"; XMP is the
	// packet of the last XMP segment. Both may be nil.
	Exif, XMP []byte
}

// Picture is a decoded picture: four bytes a pixel, R G B 255.
type Picture struct {
	Header
	Pix []uint8
}

// ReadHeader reads the markers up to the first scan.
func ReadHeader(data []byte) (Header, error) {
	d := decoder{data: data}
	err := d.readHeader()
	return d.Header, err
}

// Decode decodes a whole file. What its components mean is guessed from its markers, as libjpeg
// does.
func Decode(data []byte) (*Picture, error) { return DecodeAs(data, false) }

// DecodeAs is Decode where it may be known that three components are R, G, B.
func DecodeAs(data []byte, knownRGB bool) (*Picture, error) {
	d := decoder{data: data, knownRGB: knownRGB}
	defer d.free()
	if err := d.readHeader(); err != nil {
		return nil, err
	}
	if err := d.readScans(); err != nil {
		return nil, err
	}
	return d.render()
}

// The markers of T.81 that matter here.
const (
	markerSOF0  = 0xc0
	markerSOF1  = 0xc1
	markerSOF2  = 0xc2
	markerDHT   = 0xc4
	markerJPG   = 0xc8
	markerDAC   = 0xcc
	markerSOF15 = 0xcf
	markerRST0  = 0xd0
	markerRST7  = 0xd7
	markerSOI   = 0xd8
	markerEOI   = 0xd9
	markerSOS   = 0xda
	markerDQT   = 0xdb
	markerDNL   = 0xdc
	markerDRI   = 0xdd
	markerAPP0  = 0xe0
	markerAPP1  = 0xe1
	markerAPP14 = 0xee
	markerTEM   = 0x01
)

// quantTable holds divisors in natural (row-major) order.
type quantTable [64]int16

// component is one colour plane of the file.
type component struct {
	id         uint8
	h, v       int // sampling factors
	quantIndex uint8
	quant      *quantTable // as it was when the component's first scan began

	// Samples that matter, and blocks of 8x8 they are made of; the last two include those that only
	// fill up the last MCUs.
	width, height          int
	blocksWide, blocksHigh int
	paddedWide, paddedHigh int
	plane                  []uint8 // paddedWide*8 samples a row
	coef                   []block // progressive only: paddedWide blocks a row
	seen                   bool    // a scan has had data of it
	dcTable, acTable       uint8   // of the current scan
	dcPredictor            int32
	successiveLow          [64]int8 // progressive: bits still missing; -1: none read
}

func (c *component) stride() int { return c.paddedWide * 8 }

type decoder struct {
	Header
	data []byte
	pos  int // of the next marker

	quant   [4]*quantTable
	dc, ac  [4]*huffman
	comps   []component
	maxH    int
	maxV    int
	mcusX   int
	mcusY   int
	restart int // MCUs between restart markers; 0: none

	knownRGB  bool
	jfif      bool
	adobe     bool
	transform uint8 // of the Adobe segment

	bits   bitReader
	scan   scanHeader
	memory []*[]uint8 // of the planes, to be given back
	eob    int        // progressive: blocks left in a run without coefficients
}

// planes is memory for planes that is used again. It is not cleared: every sample that is read has
// been decoded before.
var planes = sync.Pool{New: func() any { return new([]uint8) }}

func (d *decoder) samples(n int) []uint8 {
	mem := planes.Get().(*[]uint8)
	if cap(*mem) < n {
		*mem = make([]uint8, n)
	}
	d.memory = append(d.memory, mem)
	return (*mem)[:n]
}

func (d *decoder) free() {
	for _, mem := range d.memory {
		planes.Put(mem)
	}
}

// nextMarker returns the next marker and the content of its segment. Bytes that belong to no marker
// are skipped, as libjpeg does.
func (d *decoder) nextMarker() (marker uint8, segment []byte, err error) {
	for {
		for d.pos < len(d.data) && d.data[d.pos] != 0xff {
			d.pos++
		}
		for d.pos < len(d.data) && d.data[d.pos] == 0xff {
			d.pos++
		}
		if d.pos >= len(d.data) {
			return 0, nil, ErrTruncated
		}
		marker = d.data[d.pos]
		d.pos++
		if marker != 0 {
			break
		}
	}
	if marker >= markerRST0 && marker <= markerEOI || marker == markerTEM {
		return marker, nil, nil
	}
	if len(d.data)-d.pos < 2 {
		return 0, nil, ErrTruncated
	}
	n := int(binary.BigEndian.Uint16(d.data[d.pos:]))
	if n < 2 {
		return 0, nil, fmt.Errorf("segment %#02x has length %d", marker, n)
	}
	if len(d.data)-d.pos < n {
		return 0, nil, ErrTruncated
	}
	segment = d.data[d.pos+2 : d.pos+n]
	d.pos += n
	return marker, segment, nil
}

// readHeader reads all segments before the first scan, and its header.
func (d *decoder) readHeader() error {
	if len(d.data) < 2 || d.data[0] != 0xff || d.data[1] != markerSOI {
		return errors.New("does not start with the SOI marker")
	}
	d.pos = 2
	for {
		marker, segment, err := d.nextMarker()
		if err != nil {
			return err
		}
		switch marker {
		case markerEOI:
			return errors.New("has no pixels before its end")
		case markerSOS:
			if len(d.comps) == 0 {
				return errors.New("has pixels before their frame header")
			}
			return d.readScanHeader(segment)
		}
		if err := d.readTables(marker, segment); err != nil {
			return err
		}
	}
}

// readTables handles every segment but SOS.
func (d *decoder) readTables(marker uint8, segment []byte) error {
	switch {
	case marker == markerDQT:
		return d.readQuant(segment)
	case marker == markerDHT:
		return d.readHuffman(segment)
	case marker == markerDRI:
		if len(segment) != 2 {
			return fmt.Errorf("restart interval of %d bytes", len(segment))
		}
		d.restart = int(binary.BigEndian.Uint16(segment))
	case marker == markerDAC:
		return errors.New("arithmetic coding is not supported")
	case marker >= markerSOF0 && marker <= markerSOF15 && marker != markerJPG:
		return d.readFrame(marker, segment)
	case marker == markerDNL:
		return errors.New("a height given after the pixels (DNL) is not supported")
	case marker == markerAPP0:
		d.jfif = d.jfif || len(segment) >= 12 && string(segment[:5]) == "JFIF\x00"
	case marker == markerAPP1:
		d.readApp1(segment)
	case marker == markerAPP14:
		if len(segment) >= 12 && string(segment[:5]) == "Adobe" {
			d.adobe, d.transform = true, segment[11]
		}
	}
	return nil
}

func (d *decoder) readApp1(segment []byte) {
	const exif, xmp = "Exif\x00\x00", "http://ns.adobe.com/xap/1.0/\x00"
	switch {
	case len(segment) >= len(exif) && string(segment[:len(exif)]) == exif:
		if d.Exif != nil {
			segment = segment[len(exif):]
		}
		d.Exif = append(d.Exif, segment...)
	case len(segment) >= len(xmp) && string(segment[:len(xmp)]) == xmp:
		d.XMP = segment[len(xmp):]
	}
}

func (d *decoder) readQuant(s []byte) error {
	for len(s) > 0 {
		id, wide := s[0]&15, s[0]>>4
		s = s[1:]
		if id > 3 || wide > 1 {
			return fmt.Errorf("quantization table %d of precision %d", id, wide)
		}
		size := 64 * int(1+wide)
		if len(s) < size {
			return errors.New("quantization table is cut off")
		}
		t := new(quantTable)
		for i := range 64 {
			v := uint16(s[i])
			if wide == 1 {
				v = binary.BigEndian.Uint16(s[2*i:])
			}
			t[natural[i]] = int16(v)
		}
		d.quant[id] = t
		s = s[size:]
	}
	return nil
}

func (d *decoder) readFrame(marker uint8, s []byte) error {
	switch {
	case marker > markerSOF2:
		return fmt.Errorf(
			"coding process SOF%d (lossless, hierarchical or arithmetic) is not supported",
			marker-markerSOF0)
	case len(d.comps) > 0:
		return errors.New("has more than one frame header")
	case len(s) < 6:
		return errors.New("frame header is cut off")
	case s[0] != 8:
		return fmt.Errorf("samples of %d bits are not supported", s[0])
	}
	d.Progressive = marker == markerSOF2
	d.Height, d.Width = int(binary.BigEndian.Uint16(s[1:])), int(binary.BigEndian.Uint16(s[3:]))
	n := int(s[5])
	if d.Width == 0 || d.Height == 0 {
		return fmt.Errorf("the picture is %dx%d pixels", d.Width, d.Height)
	}
	if n != 1 && n != 3 && n != 4 {
		return fmt.Errorf("%d components are not supported", n)
	}
	if len(s) != 6+3*n {
		return errors.New("frame header has a wrong length")
	}
	d.Components = n
	d.comps = make([]component, n)
	for i := range d.comps {
		c := &d.comps[i]
		c.id, c.h, c.v, c.quantIndex = s[6+3*i], int(s[7+3*i]>>4), int(s[7+3*i]&15), s[8+3*i]
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 {
			return fmt.Errorf("component %d has sampling factors %dx%d", i, c.h, c.v)
		}
		if c.quantIndex > 3 {
			return fmt.Errorf("component %d uses quantization table %d", i, c.quantIndex)
		}
		for j := range i {
			if d.comps[j].id == c.id {
				return fmt.Errorf("two components have number %d", c.id)
			}
		}
		d.maxH, d.maxV = max(d.maxH, c.h), max(d.maxV, c.v)
	}
	d.mcusX, d.mcusY = ceilDiv(d.Width, 8*d.maxH), ceilDiv(d.Height, 8*d.maxV)
	for i := range d.comps {
		c := &d.comps[i]
		if d.maxH%c.h != 0 || d.maxV%c.v != 0 {
			return fmt.Errorf(
				"component %d has sampling factors %dx%d of %dx%d: fractions are not supported", i,
				c.h, c.v, d.maxH, d.maxV)
		}
		c.width, c.height = ceilDiv(d.Width*c.h, d.maxH), ceilDiv(d.Height*c.v, d.maxV)
		c.blocksWide, c.blocksHigh = ceilDiv(c.width, 8), ceilDiv(c.height, 8)
		c.paddedWide, c.paddedHigh = d.mcusX*c.h, d.mcusY*c.v
	}
	return nil
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// natural maps the zigzag order of the file to row-major order. Damaged files can count past the
// end, so it goes on with the last coefficient.
var natural = [64 + 16]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
	63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63,
}
