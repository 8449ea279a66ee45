// Package avif has package vision read AVIF pictures, in programs that import it:
//
//	import _ "github.com/crossattn/xpipe/vision/avif"
//
// The decoder is libavif 1.x with libaom, compiled to WebAssembly by github.com/gen2brain/avif and
// run by wazero, without cgo and whatever libraries the system has. Of a film the first frame is
// read.
//
// The pixels are those of Pillow 13.0.0 for samples of 8 bits (TestAVIFEqualsPillow), but for two
// cases. The decoder gives RGB and repeats thinned-out chroma (4:2:0, 4:2:2), which Pillow
// interpolates; this package undoes that, exactly except next to samples that are cut off at 0 or 255:
// there 29 levels is the most that random pictures were off, and 6 a photograph, in 0.1 % of its
// samples. Colours that a file has multiplied by alpha are off by up to 2. Samples of 10 and 12 bits
// are repeated and rounded: off by up to 2 in the one file tried.
package avif

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/crossattn/xpipe/vision"
	"github.com/crossattn/xpipe/vision/internal/isobmff"
	"github.com/crossattn/xpipe/vision/internal/wasm"
)

//go:embed decode.wasm.gz
var packed []byte

var decoder = wasm.New(packed)

func init() {
	vision.RegisterFormat(vision.Format{
		Name: "AVIF", Suffixes: []string{".avif", ".avifs"}, Is: isAVIF, Size: size, Decode: decode,
	})
}

// isAVIF goes by the brands, as Pillow does; HEIC files may have those of HEIF, too.
func isAVIF(head []byte) bool {
	brands := isobmff.Brands(head)
	if len(brands) == 0 {
		return false
	}
	switch brands[0] {
	case "avif", "avis":
		return true
	case "mif1", "msf1":
		return slices.Contains(brands, "avif") || slices.Contains(brands, "avis")
	}
	return false
}

var errDamaged = errors.New("damaged, or of a kind that libavif does not read")

func size(data []byte) (w, h int, err error) {
	d, err := open(data)
	if err != nil {
		return 0, 0, err
	}
	defer d.Close()
	return d.w, d.h, nil
}

// picture is a file in the decoder's memory.
type picture struct {
	*wasm.File
	w, h int
	deep bool // more than 8 bits a sample
}

// open reads the header.
func open(data []byte) (d *picture, err error) {
	file, err := decoder.OpenFile(data, 4)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	d = &picture{File: file}
	if err := d.run(1, 0, 0); err != nil {
		return nil, err
	}
	n, err := d.Numbers(d.Results, 3)
	if err != nil {
		return nil, err
	}
	d.w, d.h, d.deep = int(n[0]), int(n[1]), n[2] > 8
	return d, nil
}

// run calls the decoder, for the header alone or for the pixels of the first frame.
func (d *picture) run(headerOnly, delay, out uint64) error {
	ok, err := d.Call("decode", d.Data, d.Length, headerOnly, 0,
		d.Results, d.Results+4, d.Results+8, d.Results+12, delay, out)
	if err == nil && ok == 0 {
		err = errDamaged
	}
	return err
}

// pixels decodes the first frame: R G B A, of 8 bits.
func pixels(data []byte) (px []byte, w, h int, err error) {
	d, err := open(data)
	if err != nil {
		return nil, 0, 0, err
	}
	defer d.Close()
	n := 4 * uint64(d.w) * uint64(d.h)
	bytesOut := n
	if d.deep {
		bytesOut = 2 * n
	}
	delay, err := d.Alloc(8)
	if err != nil {
		return nil, 0, 0, err
	}
	out, err := d.Alloc(bytesOut)
	if err != nil {
		return nil, 0, 0, err
	}
	if err := d.run(0, delay, out); err != nil {
		return nil, 0, 0, err
	}
	b, err := d.Read(out, bytesOut)
	if err != nil {
		return nil, 0, 0, err
	}
	px = make([]byte, n)
	if !d.deep {
		copy(px, b)
		return px, d.w, d.h, nil
	}
	for i := range px {
		px[i] = uint8((uint32(binary.LittleEndian.Uint16(b[2*i:]))*255 + 32767) / 65535)
	}
	return px, d.w, d.h, nil
}

// alphaURNs are the names under which a file has its alpha.
var alphaURNs = [][]byte{
	[]byte("urn:mpeg:mpegB:cicp:systems:auxiliary:alpha"),
	[]byte("urn:mpeg:hevc:2015:auxid:1"),
}

func decode(data []byte) (*vision.RGB, int, error) {
	// The decoder multiplies colours by alpha, which Pillow's convert("RGB") leaves out: they are
	// decoded from a copy in which alpha has another name, and alpha from the file itself.
	var alpha []byte
	file := data
	for _, urn := range alphaURNs {
		if !bytes.Contains(file, urn) {
			continue
		}
		if alpha == nil {
			px, _, _, err := pixels(data)
			if err != nil {
				return nil, 0, err
			}
			for i := 3; i < len(px); i += 4 {
				alpha = append(alpha, px[i])
			}
		}
		other := bytes.Clone(urn)
		other[len(other)-1] ^= 1
		file = bytes.Replace(file, urn, other, -1)
	}
	px, w, h, err := pixels(file)
	if err != nil {
		return nil, 0, err
	}
	switch s := isobmff.SamplingOf(data); {
	case s.Deep:
	case s.Grey && s.Limited && alpha == nil:
		stretchGreys(px)
	case !s.Grey && s.X == 2:
		interpolate(px, w, h, s.X, s.Y)
	}
	m := &vision.RGB{Pix: px, Stride: 4 * w, Width: w, Height: h}
	for i := 3; i < len(px); i += 4 {
		px[i] = 255
	}
	if len(alpha) == w*h && isobmff.Premultiplied(data) {
		divide(px, alpha)
	}
	if len(alpha) == w*h && slices.ContainsFunc(alpha, func(v uint8) bool { return v < 255 }) {
		m.Alpha = alpha
	}
	return m, isobmff.Orientation(data), nil
}

// divide undoes the multiplication of colours by alpha, as libavif does.
func divide(px, alpha []byte) {
	for i, a := range alpha {
		for c := range 3 {
			switch p := &px[4*i+c]; a {
			case 255:
			case 0:
				*p = 0
			default:
				*p = uint8(min((2*255*int(*p)+int(a))/(2*int(a)), 255))
			}
		}
	}
}
