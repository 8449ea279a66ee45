package vision

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"
	"strings"
)

// isPNM tells the formats of Netpbm that Pillow reads: bitmaps, greys and colours, in digits (P1 to
// P3) or bytes (P4 to P6), and grey floats (Pf).
func isPNM(data []byte) bool {
	return len(data) >= 3 && data[0] == 'P' && strings.IndexByte("123456f", data[1]) >= 0 &&
		isPNMSpace(data[2])
}

func isPNMSpace(b byte) bool { return strings.IndexByte(" \t\n\v\f\r", b) >= 0 }

// pnmHeader is what stands before the pixels.
type pnmHeader struct {
	kind   byte // '1' to '6' or 'f'
	w, h   int
	most   int     // the value of white; 0 where there is none
	scale  float64 // of floats: negative if the low byte comes first
	pixels []byte
}

// samples a pixel.
func (p *pnmHeader) samples() int {
	if p.kind == '3' || p.kind == '6' {
		return 3
	}
	return 1
}

// pnmToken splits the next word off data, going over spaces and comments, one byte of space behind
// it included. A comment within a word does not end it, as in Pillow's PpmImagePlugin.
func pnmToken(data []byte) (token string, rest []byte, err error) {
	for len(token) <= 10 {
		if len(data) == 0 {
			break
		}
		c := data[0]
		data = data[1:]
		if isPNMSpace(c) {
			if token == "" {
				continue
			}
			break
		}
		if c == '#' {
			if i := bytes.IndexAny(data, "\r\n"); i >= 0 {
				data = data[i+1:]
			} else {
				data = nil
			}
			continue
		}
		token += string(rune(c))
	}
	switch {
	case token == "":
		return "", nil, errTruncated
	case len(token) > 10:
		return "", nil, imageErrorf("%.10q... is too long for a number of the header", token)
	}
	return token, data, nil
}

// pnmNumber reads a number as Python's int does: signs and single underscores between digits are
// allowed.
func pnmNumber(token string) (int, error) {
	digits := strings.TrimLeft(token, "+-")
	plain := strings.ReplaceAll(digits, "_", "")
	n, err := strconv.ParseInt(plain, 10, 64)
	if err != nil || len(token)-len(digits) > 1 || strings.Contains(digits, "__") ||
		strings.HasPrefix(digits, "_") || strings.HasSuffix(digits, "_") ||
		strings.ContainsAny(plain, "+-") {
		return 0, imageErrorf("%.20q is no number", token)
	}
	if token[0] == '-' {
		n = -n
	}
	return int(min(max(n, math.MinInt32), math.MaxInt32)), nil
}

func readPNMHeader(data []byte) (p pnmHeader, err error) {
	p.kind = data[1]
	rest := data[3:]
	next := func() (token string) {
		if err == nil {
			token, rest, err = pnmToken(rest)
		}
		return token
	}
	number := func() (n int) {
		if token := next(); err == nil {
			n, err = pnmNumber(token)
		}
		return n
	}
	p.w, p.h = number(), number()
	switch p.kind {
	case '1', '4':
	case 'f':
		token := next()
		if err != nil {
			break
		}
		p.scale, err = strconv.ParseFloat(token, 64)
		if err != nil || p.scale == 0 || math.IsInf(p.scale, 0) || math.IsNaN(p.scale) {
			return p, imageErrorf("scale %q is not a number other than 0", token)
		}
	default:
		p.most = number()
		if err == nil && (p.most <= 0 || p.most >= 65536) {
			err = imageErrorf("white is %d, not 1 to 65535", p.most)
		}
	}
	if err == nil && (p.w <= 0 || p.h <= 0) {
		err = imageErrorf("the header gives %dx%d pixels", p.w, p.h)
	}
	p.pixels = rest
	return p, err
}

func sizePNM(data []byte) (w, h int, err error) {
	p, err := readPNMHeader(data)
	return p.w, p.h, err
}

func decodePNM(data []byte, _ *options) (*RGB, int, error) {
	p, err := readPNMHeader(data)
	if err != nil {
		return nil, 0, err
	}
	var m *RGB
	switch p.kind {
	case '1':
		m, err = p.digits()
	case '2', '3':
		m, err = p.numbers()
	case '4':
		m, err = p.bits()
	case 'f':
		m, err = p.floats()
	default:
		m, err = p.bytes()
	}
	return m, 1, err
}

// set writes sample i of the picture.
func (p *pnmHeader) set(m *RGB, i int, v uint8) {
	if p.samples() == 1 {
		put(m.Pix[4*i:], v, v, v, 255)
		return
	}
	m.Pix[i/3*4+i%3], m.Pix[i/3*4+3] = v, 255
}

// level brings a value to the range of Pillow's pixels, rounded to even. Greys of more than 8 bits
// become integers there, of which convert("RGB") clips what is over 255.
func (p *pnmHeader) level(v int) uint8 {
	most := 255.0
	if p.most > 255 && p.samples() == 1 {
		most = 65535
	}
	return uint8(min(math.RoundToEven(float64(v)/float64(p.most)*most), 255))
}

// bytes reads P5 and P6, of one byte a sample, or of two with the high one first.
func (p *pnmHeader) bytes() (*RGB, error) {
	wide := 1
	if p.most > 255 {
		wide = 2
	}
	n := p.w * p.h * p.samples()
	if len(p.pixels)/wide < n {
		return nil, errTruncated
	}
	m := newRGB(p.w, p.h)
	for i := range n {
		v := int(p.pixels[i*wide])
		if wide == 2 {
			v = v<<8 | int(p.pixels[2*i+1])
		}
		p.set(m, i, p.level(v))
	}
	return m, nil
}

// bits reads P4: a bit a pixel, rows of whole bytes, 1 for black.
func (p *pnmHeader) bits() (*RGB, error) {
	stride := (p.w + 7) / 8
	if len(p.pixels)/p.h < stride {
		return nil, errTruncated
	}
	m := newRGB(p.w, p.h)
	for i := range p.w * p.h {
		x, y := i%p.w, i/p.w
		p.set(m, i, p.pixels[y*stride+x/8]>>(7-x%8)&1-1)
	}
	return m, nil
}

// floats reads Pf: rows from the bottom up, values of 0 to 255, whatever the scale.
func (p *pnmHeader) floats() (*RGB, error) {
	n := p.w * p.h
	if len(p.pixels)/4 < n {
		return nil, errTruncated
	}
	var order binary.ByteOrder = binary.BigEndian
	if p.scale < 0 {
		order = binary.LittleEndian
	}
	m := newRGB(p.w, p.h)
	for i := range n {
		v := math.Float32frombits(order.Uint32(p.pixels[4*i:]))
		level := uint8(0)
		if v > 0 { // not NaN
			level = uint8(min(v, 255))
		}
		p.set(m, (p.h-1-i/p.w)*p.w+i%p.w, level)
	}
	return m, nil
}

// withoutComments cuts out what stands between # and the end of its line, both included.
func (p *pnmHeader) withoutComments() []byte {
	if bytes.IndexByte(p.pixels, '#') < 0 {
		return p.pixels
	}
	var out []byte
	rest := p.pixels
	for {
		text, comment, found := bytes.Cut(rest, []byte{'#'})
		out = append(out, text...)
		end := bytes.IndexAny(comment, "\r\n")
		if !found || end < 0 {
			return out
		}
		rest = comment[end+1:]
	}
}

// digits reads P1: 0 and 1, spaces between them or not, 1 for black.
func (p *pnmHeader) digits() (*RGB, error) {
	n := p.w * p.h
	if len(p.pixels) < n {
		return nil, errTruncated
	}
	m, i := newRGB(p.w, p.h), 0
	for _, c := range p.withoutComments() {
		switch {
		case isPNMSpace(c):
			continue
		case c != '0' && c != '1':
			return nil, imageErrorf("%q where 0 or 1 should be", c)
		}
		if i < n {
			p.set(m, i, c-'1')
		}
		i++
	}
	if i < n {
		return nil, errTruncated
	}
	return m, nil
}

// numbers reads P2 and P3: a word a sample. What follows them does not count.
func (p *pnmHeader) numbers() (*RGB, error) {
	n := p.w * p.h * p.samples()
	if len(p.pixels)/2+1 < n {
		return nil, errTruncated
	}
	m := newRGB(p.w, p.h)
	text := p.withoutComments()
	for i := range n {
		text = bytes.TrimLeft(text, " \t\n\v\f\r")
		end := bytes.IndexAny(text, " \t\n\v\f\r")
		if end < 0 {
			end = len(text)
		}
		if end == 0 {
			return nil, errTruncated
		}
		if end > 10 {
			return nil, imageErrorf("%.10q... is too long for a sample", text)
		}
		v, err := pnmNumber(string(text[:end]))
		if err != nil {
			return nil, err
		}
		if v < 0 || v > p.most {
			return nil, imageErrorf("a sample is %d, not 0 to %d", v, p.most)
		}
		p.set(m, i, p.level(v))
		text = text[end:]
	}
	return m, nil
}
