package jpeg

// space is how the components of a file make a colour.
type space int

const (
	grey space = iota
	rgb        // as it is
	ycc        // YCbCr
	cmyk       // inverted, as Adobe writes it
	ycck       // CMYK whose first three are coded as YCbCr
)

// colorSpace guesses as libjpeg does (default_decompress_parms).
func (d *decoder) colorSpace() space {
	switch len(d.comps) {
	case 1:
		return grey
	case 3:
		switch {
		case d.knownRGB:
			return rgb
		case d.jfif:
			return ycc
		case d.adobe:
			if d.transform == 0 {
				return rgb
			}
			return ycc
		case d.comps[0].id == 'R' && d.comps[1].id == 'G' && d.comps[2].id == 'B':
			return rgb
		}
		return ycc
	}
	if d.adobe && d.transform != 0 {
		return ycck
	}
	return cmyk
}

// render turns the planes into pixels.
func (d *decoder) render() (*Picture, error) {
	p := &Picture{Header: d.Header, Pix: make([]uint8, d.Width*d.Height*4)}
	up := make([]upsampler, len(d.comps))
	for i := range up {
		up[i] = newUpsampler(d, &d.comps[i])
	}
	kind := d.colorSpace()
	for y := range d.Height {
		dst := p.Pix[y*d.Width*4:][:d.Width*4]
		switch kind {
		case grey:
			greyRow(dst, up[0].row(y))
		case rgb:
			rgbRow(dst, up[0].row(y), up[1].row(y), up[2].row(y))
		case ycc:
			yccRow(dst, up[0].row(y), up[1].row(y), up[2].row(y))
		case cmyk, ycck:
			a, b, c := up[0].row(y), up[1].row(y), up[2].row(y)
			if kind == ycck {
				yccRow(dst, a, b, c)
				cmykRow(dst, up[3].row(y))
				break
			}
			rgbRow(dst, a, b, c)
			for i := range dst { // the plane holds 255 - ink already
				dst[i] = ^dst[i]
			}
			cmykRow(dst, up[3].row(y))
		}
	}
	return p, nil
}

func greyRow(dst, y []uint8) {
	for i := range len(dst) / 4 {
		v := y[i]
		p := dst[4*i : 4*i+4]
		p[0], p[1], p[2], p[3] = v, v, v, 255
	}
}

func rgbRow(dst, r, g, b []uint8) {
	for i := range len(dst) / 4 {
		p := dst[4*i : 4*i+4]
		p[0], p[1], p[2], p[3] = r[i], g[i], b[i], 255
	}
}

// cmykRow applies black ink to a row that holds 255 less the ink as the file has it, as Pillow
// does: it takes the file's inks for inverted, whatever the file says, and then converts (cmyk2rgb
// of Convert.c).
func cmykRow(dst, black []uint8) {
	for i := range len(dst) / 4 {
		k := int32(black[i]) // 255 - ink, inverted
		p := dst[4*i : 4*i+4]
		for j := range 3 {
			p[j] = clamp(k - mulDiv255(int32(p[j]), k))
		}
		p[3] = 255
	}
}

func mulDiv255(a, b int32) int32 {
	t := a*b + 128
	return (t>>8 + t) >> 8
}

// upsampler gives rows of one component at the size of the picture.
type upsampler struct {
	c      *component
	scaleX int
	scaleY int
	fancy  bool     // triangle filter, else repetition
	out    []uint8  // the last row made
	sum    []uint16 // with one sample more at each end
	width  int      // of the picture
}

// newUpsampler chooses as jinit_upsampler of jdsample.c does.
func newUpsampler(d *decoder, c *component) upsampler {
	u := upsampler{c: c, scaleX: d.maxH / c.h, scaleY: d.maxV / c.v, width: d.Width}
	switch {
	case u.scaleX == 2 && u.scaleY <= 2:
		u.fancy = c.width > 2
	case u.scaleX == 1 && u.scaleY == 2:
		u.fancy = true
	}
	if u.scaleX > 1 || u.fancy {
		u.out = make([]uint8, c.stride()*u.scaleX)
	}
	if u.fancy {
		u.sum = make([]uint16, c.width+2)
	}
	return u
}

func (u *upsampler) line(y int) []uint8 {
	y = min(max(y, 0), u.c.height-1)
	return u.c.plane[y*u.c.stride():][:u.c.stride()]
}

// row returns row y of the picture.
func (u *upsampler) row(y int) []uint8 {
	near := u.line(y / u.scaleY)
	if u.scaleX == 1 && u.scaleY == 1 {
		return near
	}
	if !u.fancy {
		if u.scaleX == 1 {
			return near
		}
		for x := range u.out {
			u.out[x] = near[x/u.scaleX]
		}
		return u.out
	}
	// The other row that counts lies above for the first of a pair.
	far, lower := u.line(y/u.scaleY-1), y&1 != 0
	if lower {
		far = u.line(y/u.scaleY + 1)
	}
	n := u.c.width
	sum := u.sum[1 : n+1]
	switch {
	case u.scaleX == 1: // rows only
		bias := uint16(1)
		if lower {
			bias = 2
		}
		mix(sum, near, far)
		for x, v := range sum {
			u.out[x] = uint8((v + bias) >> 2)
		}
		return u.out
	case u.scaleY == 1: // columns only
		for x, v := range near[:n] {
			sum[x] = uint16(v)
		}
		u.sum[0], u.sum[n+1] = sum[0], sum[n-1]
		spread(u.out[:2*n], u.sum, 1, 2, 2)
	default:
		mix(sum, near, far)
		u.sum[0], u.sum[n+1] = sum[0], sum[n-1]
		spread(u.out[:2*n], u.sum, 8, 7, 4)
	}
	return u.out
}
