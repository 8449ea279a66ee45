// Package heic has package vision read HEIC pictures, in programs that import it:
//
//	import _ "github.com/crossattn/xpipe/vision/heic"
//
// The decoder is libheif with libde265, compiled to WebAssembly by github.com/gen2brain/heic and run
// by wazero, without cgo and whatever libraries the system has. It turns the picture as the file
// says.
//
// Pillow 13.0.0 does not read HEIC, so there is no reference for the pixels: colours are taken for
// BT.601 of full range, as JPEG's are, and the nearest sample of chroma counts. With chroma of full
// size that is within 2 levels of what libheif 1.23 makes of the same file; with thinned-out chroma,
// which libheif interpolates, edges between colours were off by up to 80 in random pictures.
// Transparency is dropped, and samples of more than 8 bits are cut to 8.
//
// libheif and libde265 are under the LGPL, version 3: see the licences beside this file.
package heic

import (
	_ "embed"
	"errors"
	"image"
	"slices"

	"github.com/crossattn/xpipe/vision"
	"github.com/crossattn/xpipe/vision/internal/isobmff"
	"github.com/crossattn/xpipe/vision/internal/wasm"
)

//go:embed heif.wasm.gz
var packed []byte

var decoder = wasm.New(packed)

func init() {
	vision.RegisterFormat(vision.Format{
		Name: "HEIC", Suffixes: []string{".heic", ".heif", ".hif"}, Is: isHEIC, Size: size,
		Decode: decode,
	})
}

func isHEIC(head []byte) bool {
	brands := isobmff.Brands(head)
	if len(brands) == 0 {
		return false
	}
	switch brands[0] {
	case "heic", "heix", "heim", "heis", "hevc", "hevx":
		return true
	case "mif1", "msf1":
		return !slices.Contains(brands, "avif") && !slices.Contains(brands, "avis")
	}
	return false
}

var errDamaged = errors.New("damaged, or of a kind that libheif does not read")

// The colour spaces and the ways to thin out chroma that libheif numbers.
const (
	spaceYCbCr = 0
	spaceRGB   = 1
	spaceGrey  = 2

	chroma420 = 1
	chroma422 = 2
	chroma444 = 3
)

// picture is a file in the decoder's memory.
type picture struct {
	*wasm.File
	w, h          int
	space, chroma uint64
}

func open(data []byte) (d *picture, err error) {
	file, err := decoder.OpenFile(data, 5)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	d = &picture{File: file}
	if err := d.run(1, 0); err != nil {
		return nil, err
	}
	n, err := d.Numbers(d.Results, 4)
	if err != nil {
		return nil, err
	}
	d.w, d.h, d.space, d.chroma = int(n[0]), int(n[1]), n[2], n[3]
	return d, nil
}

// run calls the decoder, for the header alone or for the pixels.
func (d *picture) run(headerOnly, out uint64) error {
	r := d.Results
	ok, err := d.Call("decode", d.Data, d.Length, headerOnly, r, r+4, r+8, r+12, r+16, out)
	if err == nil && ok == 0 {
		err = errDamaged
	}
	return err
}

func size(data []byte) (w, h int, err error) {
	d, err := open(data)
	if err != nil {
		return 0, 0, err
	}
	defer d.Close()
	return d.w, d.h, nil
}

// rowBytes is how long libheif makes the rows of a plane of n samples: 64 samples or more, an even
// number, and a multiple of 16 bytes.
func rowBytes(n, sample int) int { return (max((n+1)&^1, 64)*sample + 15) &^ 15 }

func decode(data []byte) (*vision.RGB, int, error) {
	d, err := open(data)
	if err != nil {
		return nil, 0, err
	}
	defer d.Close()
	rect := image.Rect(0, 0, d.w, d.h)
	stride, cw, ch := rowBytes(d.w, 1), 0, 0
	ratio := image.YCbCrSubsampleRatio444
	switch {
	case d.space == spaceRGB:
		stride = rowBytes(d.w, 4)
	case d.space == spaceGrey:
	case d.space == spaceYCbCr && d.chroma == chroma420:
		ratio, cw, ch = image.YCbCrSubsampleRatio420, rowBytes((d.w+1)/2, 1), (d.h+1)/2
	case d.space == spaceYCbCr && d.chroma == chroma422:
		ratio, cw, ch = image.YCbCrSubsampleRatio422, rowBytes((d.w+1)/2, 1), d.h
	case d.space == spaceYCbCr && d.chroma == chroma444:
		cw, ch = stride, d.h
	default:
		return nil, 0, errDamaged
	}
	luma, chroma := stride*d.h, cw*ch
	n := uint64(luma + 2*chroma)
	out, err := d.Alloc(n)
	if err != nil {
		return nil, 0, err
	}
	if err := d.run(0, out); err != nil {
		return nil, 0, err
	}
	px, err := d.Read(out, n)
	if err != nil {
		return nil, 0, err
	}
	var img image.Image
	switch d.space {
	case spaceRGB:
		img = &image.NRGBA{Pix: px, Stride: stride, Rect: rect}
	case spaceGrey:
		img = &image.Gray{Pix: px, Stride: stride, Rect: rect}
	default:
		img = &image.YCbCr{
			Y: px[:luma], Cb: px[luma : luma+chroma], Cr: px[luma+chroma:],
			YStride: stride, CStride: cw, SubsampleRatio: ratio, Rect: rect,
		}
	}
	return vision.FromImage(img), 1, nil // a copy; px is lost with the decoder
}
