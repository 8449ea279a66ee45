package vision

import (
	"bytes"
	"compress/zlib"
	"io"
	"math/bits"
	"slices"

	"golang.org/x/image/ccitt"
	"golang.org/x/image/tiff/lzw"

	"github.com/crossattn/xpipe/vision/internal/jpeg"
)

// This file turns the strips and tiles of TIFF files into pixels; tiff.go reads what surrounds
// them.

// jpegPart decodes a strip or tile that is a JPEG file without its tables.
func (f *tiffFile) jpegPart(m *RGB, part []byte, x, y int) error {
	if f.planar || f.photometric != tiffYCbCr && f.photometric != tiffRGB && f.samples != 1 {
		return imageErrorf("this kind of JPEG compression is not supported")
	}
	if tables := f.raw[tagJPEGTables]; len(tables) > 4 && len(part) > 2 {
		part = append(append([]byte{}, tables[:len(tables)-2]...), part[2:]...)
	}
	head, err := jpeg.ReadHeader(part)
	if err != nil {
		return jpegError(err)
	}
	if head.Width > f.w+1<<16 || head.Height > f.h+1<<16 {
		return imageErrorf("a strip of %dx%d pixels", head.Width, head.Height)
	}
	p, err := jpeg.DecodeAs(part, f.photometric == tiffRGB)
	if err != nil {
		return jpegError(err)
	}
	for i := range min(p.Height, m.Height-y) {
		copy(m.row(y + i)[4*x:], p.Pix[4*i*p.Width:4*(i+1)*p.Width])
	}
	return nil
}

// unpack returns rows*rowBytes bytes of samples, byte order and all as stored.
func (f *tiffFile) unpack(part []byte, w, rows, samples int) ([]byte, error) {
	rowBytes := (w*samples*f.bits + 7) / 8
	size := rowBytes * rows
	if f.lsbFirst && f.compression != tiffGroup3 && f.compression != tiffGroup4 {
		part = bytes.Clone(part)
		for i, v := range part {
			part[i] = bits.Reverse8(v)
		}
	}
	var r io.Reader
	switch f.compression {
	case tiffRaw:
		if len(part) < size {
			return nil, errTruncated
		}
		return part[:size], nil
	case tiffPackBits:
		return unpackBits(part, size)
	case tiffLZW:
		z := lzw.NewReader(bytes.NewReader(part), lzw.MSB, 8)
		defer z.Close()
		r = z
	case tiffDeflate, tiffDeflateOld:
		z, err := zlib.NewReader(bytes.NewReader(part))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		r = z
	default:
		order, group := ccitt.MSB, ccitt.Group3
		if f.lsbFirst {
			order = ccitt.LSB
		}
		if f.compression == tiffGroup4 {
			group = ccitt.Group4
		}
		r = ccitt.NewReader(bytes.NewReader(part), order, group, w, rows,
			&ccitt.Options{Invert: true})
	}
	out := make([]byte, size)
	if _, err := io.ReadFull(r, out); err != nil {
		return nil, err
	}
	if f.value(tagPredictor, 1) == 2 {
		f.integrate(out, rowBytes, samples)
	}
	return out, nil
}

// integrate undoes the horizontal differences of predictor 2.
func (f *tiffFile) integrate(out []byte, rowBytes, samples int) {
	for row := range slices.Chunk(out, rowBytes) {
		if f.bits == 8 {
			for i := samples; i < len(row); i++ {
				row[i] += row[i-samples]
			}
			continue
		}
		for i := 2 * samples; i+1 < len(row); i += 2 {
			f.order.PutUint16(row[i:], f.order.Uint16(row[i:])+f.order.Uint16(row[i-2*samples:]))
		}
	}
}

// unpackBits undoes Apple's run-length coding.
func unpackBits(src []byte, size int) ([]byte, error) {
	out := make([]byte, 0, size)
	for len(out) < size {
		if len(src) < 2 {
			return nil, errTruncated
		}
		n := int(int8(src[0]))
		switch {
		case n >= 0:
			n = min(n+1, size-len(out))
			if len(src) < 1+n {
				return nil, errTruncated
			}
			out, src = append(out, src[1:1+n]...), src[1+n:]
		case n == -128:
			src = src[1:]
		default:
			for range min(1-n, size-len(out)) {
				out = append(out, src[1])
			}
			src = src[2:]
		}
	}
	return out, nil
}

// pixels puts a strip or tile at (x, y). parts holds its samples, of all channels or one of each.
func (f *tiffFile) pixels(m *RGB, parts [][]byte, x, y, w, rows int) {
	step := f.samples
	if f.planar {
		step = 1
	}
	rowBytes := (w*step*f.bits + 7) / 8
	var colors *palette
	if f.photometric == tiffPalette {
		colors = f.colorMap()
	}
	for i := range min(rows, f.h-y) {
		dst := m.row(y + i)[4*x:]
		// sample returns channel c of pixel j with its low byte, if it has one.
		sample := func(j, c int) (v, low uint8) {
			part := parts[0]
			if f.planar {
				part, c = parts[c], 0
			}
			return f.sample(part[i*rowBytes:][:rowBytes], j*step+c)
		}
		for j := range min(w, f.w-x) {
			f.pixel(dst[4*j:4*j+4], func(c int) (uint8, uint8) { return sample(j, c) }, colors)
		}
	}
}

// sample reads sample n of a row: unchanged up to 8 bits, else high and low byte.
func (f *tiffFile) sample(row []byte, n int) (v, low uint8) {
	switch f.bits {
	case 8:
		return row[n], 0
	case 16:
		u := f.order.Uint16(row[2*n:])
		return uint8(u >> 8), uint8(u)
	}
	at := n * f.bits
	return row[at/8] >> (8 - f.bits - at%8) & (1<<f.bits - 1), 0
}

// pixel makes one pixel of its samples.
func (f *tiffFile) pixel(dst []uint8, sample func(c int) (v, low uint8), colors *palette) {
	v, low := sample(0)
	alpha := uint8(255)
	switch f.photometric {
	case tiffPalette:
		copy(dst, colors[v][:])
		if f.extra == 2 {
			dst[3], _ = sample(1)
		}
		return
	case tiffWhiteIsZero, tiffBlackIsZero:
		switch {
		case f.bits == 16:
			v = clip16(v, low)
		case f.bits < 8:
			v *= 255 / (1<<f.bits - 1)
			fallthrough
		default:
			if f.photometric == tiffWhiteIsZero {
				v = ^v
			}
		}
		if f.extra > 0 {
			alpha, _ = sample(1)
			if f.extra == 1 {
				v = unpremultiply(v, alpha)
			}
		}
		put(dst, v, v, v, alpha)
		return
	}
	g, _ := sample(1)
	b, _ := sample(2)
	if f.photometric == tiffCMYK {
		k, _ := sample(3)
		put(dst, lessInk(v, k), lessInk(g, k), lessInk(b, k), 255)
		return
	}
	if f.extra > 0 {
		alpha, _ = sample(3)
		if f.extra == 1 {
			v, g, b = unpremultiply(v, alpha), unpremultiply(g, alpha), unpremultiply(b, alpha)
		}
	}
	put(dst, v, g, b, alpha)
}

// lessInk is cmyk2rgb of Pillow's Convert.c for one ink and black.
func lessInk(ink, black uint8) uint8 {
	white := 255 - int(black)
	t := int(ink)*white + 128
	return uint8(max(white-(t>>8+t)>>8, 0))
}

func (f *tiffFile) colorMap() *palette {
	p, n := new(palette), 1<<f.bits
	for i := range n {
		v := f.tags[tagColorMap]
		put(p[i][:], uint8(v[i]>>8), uint8(v[n+i]>>8), uint8(v[2*n+i]>>8), 255)
	}
	return p
}
