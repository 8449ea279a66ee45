package dicom

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"math"
	"strings"

	lib "github.com/suyashkumar/dicom"
	"github.com/suyashkumar/dicom/pkg/tag"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/vision"
)

// Stored returns the stored values of frame n, from 1: Rows*Columns*SamplesPerPixel, row by row, the
// samples of a pixel side by side. Signed values are signed. Colours are as they are stored, but for
// JPEG, which comes as R G B.
func (f *File) Stored(n int) ([]int32, error) {
	if err := f.frame(n); err != nil {
		return nil, err
	}
	values, err := f.values(n - 1)
	if err != nil {
		return nil, fmt.Errorf("frame %d: %w", n, err)
	}
	return values, nil
}

func (f *File) values(n int) ([]int32, error) {
	count := f.rows * f.columns * f.samples
	width := f.allocated / 8
	switch f.syntax {
	case implicitLittle, explicitLittle, deflated, explicitBig:
		data := f.pixels.UnprocessedValueData
		if f.pixels.IsEncapsulated || len(data) < (n+1)*count*width {
			return nil, fmt.Errorf("%w: %w: %d bytes, and %d frames of %d", document.ErrDocument, errShort, len(data), f.frames, count*width)
		}
		order := binary.ByteOrder(binary.LittleEndian)
		if f.syntax == explicitBig {
			order = binary.BigEndian
		}
		return f.pixelwise(f.unpack(data[n*count*width:][:count*width], order), f.planar == 1), nil
	case rleLossless:
		data, err := f.fragment(n)
		if err != nil {
			return nil, err
		}
		planes, err := unRLE(data, f.rows*f.columns, f.samples*width)
		if err != nil {
			return nil, fmt.Errorf("%w: RLE: %w", document.ErrDocument, err)
		}
		// A plane for each byte of each sample, the high byte first.
		little := make([]byte, count*width)
		for s := range f.samples {
			for b := range width {
				for i, v := range planes[s*width+b] {
					little[(i*f.samples+s)*width+width-1-b] = v
				}
			}
		}
		return f.unpack(little, binary.LittleEndian), nil
	case jpegBaseline:
		data, err := f.fragment(n)
		if err != nil {
			return nil, err
		}
		return f.jpeg(data)
	}
	return nil, f.errNamed()
}

// fragment returns the bytes of a compressed frame.
func (f *File) fragment(n int) ([]byte, error) {
	frames := f.pixels.Frames
	switch {
	case len(frames) == f.frames:
		return frames[n].EncapsulatedData.Data, nil
	case f.frames == 1 && len(frames) > 1:
		var all []byte
		for _, part := range frames {
			all = append(all, part.EncapsulatedData.Data...)
		}
		return all, nil
	}
	return nil, fmt.Errorf("%w: %d fragments for %d frames: which belong together is not said", document.ErrDocument, len(frames), f.frames)
}

// unpack makes numbers of bytes: BitsStored bits below and with HighBit, sign-extended.
func (f *File) unpack(data []byte, order binary.ByteOrder) []int32 {
	width := f.allocated / 8
	values := make([]int32, len(data)/width)
	shift := f.high - f.stored + 1
	mask := uint32(1)<<f.stored - 1
	if f.stored == 32 {
		mask = math.MaxUint32
	}
	for i := range values {
		var v uint32
		switch width {
		case 1:
			v = uint32(data[i])
		case 2:
			v = uint32(order.Uint16(data[2*i:]))
		default:
			v = order.Uint32(data[4*i:])
		}
		v = v >> shift & mask
		if f.signed && f.stored < 32 && v>>(f.stored-1) == 1 {
			v |= ^mask
		}
		values[i] = int32(v)
	}
	return values
}

// pixelwise puts the samples of a pixel side by side where they are stored plane by plane.
func (f *File) pixelwise(values []int32, planes bool) []int32 {
	if !planes || f.samples == 1 {
		return values
	}
	n := f.rows * f.columns
	out := make([]int32, len(values))
	for s := range f.samples {
		for i := range n {
			out[i*f.samples+s] = values[s*n+i]
		}
	}
	return out
}

// unRLE unpacks segments of PackBits (PS3.5, annex G): n bytes each.
func unRLE(data []byte, n, planes int) ([][]byte, error) {
	if len(data) < 64 {
		return nil, errShort
	}
	segments := int(binary.LittleEndian.Uint32(data))
	if segments != planes {
		return nil, fmt.Errorf("%d segments, not %d", segments, planes)
	}
	if planes > 15 {
		return nil, fmt.Errorf("%d segments, of 15 at most", planes)
	}
	out := make([][]byte, planes)
	for k := range planes {
		from := int(binary.LittleEndian.Uint32(data[4+4*k:]))
		to := len(data)
		if k+1 < planes {
			to = int(binary.LittleEndian.Uint32(data[8+4*k:]))
		}
		if from < 64 || from > to || to > len(data) {
			return nil, fmt.Errorf("segment %d is at %d to %d of %d bytes", k+1, from, to, len(data))
		}
		plane := make([]byte, 0, n)
		for in := data[from:to]; len(plane) < n; {
			if len(in) < 2 {
				return nil, errShort
			}
			c := int(int8(in[0]))
			switch {
			case c >= 0:
				c = min(c+1, n-len(plane))
				if len(in) < 1+c {
					return nil, errShort
				}
				plane = append(plane, in[1:1+c]...)
				in = in[1+c:]
			case c == -128:
				in = in[1:]
			default:
				for range min(1-c, n-len(plane)) {
					plane = append(plane, in[1])
				}
				in = in[2:]
			}
		}
		out[k] = plane
	}
	return out, nil
}

// jpeg decodes a frame as Pillow does.
func (f *File) jpeg(data []byte) ([]int32, error) {
	if f.allocated != 8 {
		return nil, fmt.Errorf("%w: JPEG baseline of %d bits a sample", document.ErrDocument, f.allocated)
	}
	m, err := vision.Decode(bytes.NewReader(bytes.TrimRight(data, "\x00")))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", document.ErrDocument, err)
	}
	if m.Width != f.columns || m.Height != f.rows {
		return nil, fmt.Errorf("%w: the JPEG is %d by %d, the record says %d by %d", document.ErrDocument, m.Width, m.Height, f.columns, f.rows)
	}
	values := make([]int32, 0, f.rows*f.columns*f.samples)
	for y := range m.Height {
		row := m.Pix[y*m.Stride:]
		for x := range m.Width {
			for s := range f.samples {
				values = append(values, int32(row[4*x+s]))
			}
		}
	}
	return values, nil
}

// show makes a picture of stored values.
func (f *File) show(stored []int32) (*image.RGBA, error) {
	out := image.NewRGBA(image.Rect(0, 0, f.columns, f.rows))
	if f.samples == 3 {
		return out, f.showColour(stored, out)
	}
	if f.photometric != "MONOCHROME1" && f.photometric != "MONOCHROME2" {
		return nil, fmt.Errorf("%w: PhotometricInterpretation %q: MONOCHROME1, MONOCHROME2, RGB and YBR_FULL are read",
			document.ErrDocument, f.photometric)
	}
	values, err := f.modality(stored)
	if err != nil {
		return nil, err
	}
	if values, err = f.voi(values); err != nil {
		return nil, err
	}
	for i, v := range values {
		g := uint8(math.Floor(min(max(v, 0), 255) + 0.5))
		if f.photometric == "MONOCHROME1" {
			g = 255 - g
		}
		out.Pix[4*i], out.Pix[4*i+1], out.Pix[4*i+2], out.Pix[4*i+3] = g, g, g, 255
	}
	return out, nil
}

func (f *File) showColour(stored []int32, out *image.RGBA) error {
	ybr := strings.HasPrefix(f.photometric, "YBR_FULL")
	switch {
	case f.photometric != "RGB" && !ybr:
		return fmt.Errorf("%w: PhotometricInterpretation %q: RGB and YBR_FULL are read", document.ErrDocument, f.photometric)
	case ybr && f.photometric != "YBR_FULL" && f.syntax != jpegBaseline:
		return fmt.Errorf("%w: PhotometricInterpretation %q without compression is not read", document.ErrDocument, f.photometric)
	case f.stored != 8:
		return fmt.Errorf("%w: colours of %d bits: 8 are read", document.ErrDocument, f.stored)
	}
	convert := ybr && f.syntax != jpegBaseline
	clip := func(x float64) uint8 { return uint8(min(max(math.Floor(x+0.5), 0), 255)) }
	for i := range f.rows * f.columns {
		a, b, c := stored[3*i], stored[3*i+1], stored[3*i+2]
		px := out.Pix[4*i:][:4]
		px[0], px[1], px[2], px[3] = uint8(a), uint8(b), uint8(c), 255
		if convert { // PS3.3, C.7.6.3.1.2, turned round
			y, cb, cr := float64(a), float64(b)-128, float64(c)-128
			px[0], px[1], px[2] = clip(y+1.402*cr), clip(y-0.344136286*cb-0.714136286*cr), clip(y+1.772*cb)
		}
	}
	return nil
}

// Values returns what the stored values of frame n, from 1, stand for, such as Hounsfield units: after
// the Modality LUT or RescaleSlope and RescaleIntercept.
func (f *File) Values(n int) ([]float64, error) {
	stored, err := f.Stored(n)
	if err != nil {
		return nil, err
	}
	return f.modality(stored)
}

func (f *File) modality(stored []int32) ([]float64, error) {
	values := make([]float64, len(stored))
	if table, err := f.lut(tag.ModalityLUTSequence); err != nil {
		return nil, err
	} else if table != nil {
		for i, v := range stored {
			values[i] = table.at(float64(v))
		}
		return values, nil
	}
	slope, ok := decimal(f.set, tag.RescaleSlope)
	if !ok {
		slope = 1
	}
	intercept, _ := decimal(f.set, tag.RescaleIntercept)
	for i, v := range stored {
		values[i] = float64(v)*slope + intercept
	}
	return values, nil
}

// voi maps values to 0..255: by the VOI LUT, by the first window, or from the least to the greatest.
func (f *File) voi(values []float64) ([]float64, error) {
	if table, err := f.lut(tag.VOILUTSequence); err != nil {
		return nil, err
	} else if table != nil {
		top := math.Exp2(float64(table.bits)) - 1
		for i, v := range values {
			values[i] = table.at(v) / top * 255
		}
		return values, nil
	}
	c, hasCentre := decimal(f.set, tag.WindowCenter)
	w, hasWidth := decimal(f.set, tag.WindowWidth)
	if hasCentre && hasWidth {
		return window(values, c, w, strings.TrimRight(text(f.set, tag.VOILUTFunction), " \x00"))
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		low, high = min(low, v), max(high, v)
	}
	for i, v := range values {
		if high > low {
			values[i] = (v - low) / (high - low) * 255
		} else {
			values[i] = 0
		}
	}
	return values, nil
}

// window maps values by a window (PS3.3, C.11.2.1.2, C.11.2.1.3).
func window(values []float64, c, w float64, function string) ([]float64, error) {
	switch function {
	case "", "LINEAR":
		if w < 1 {
			return nil, fmt.Errorf("%w: WindowWidth is %g: at least 1 for LINEAR", document.ErrDocument, w)
		}
		for i, v := range values {
			switch {
			case v <= c-0.5-(w-1)/2:
				values[i] = 0
			case v > c-0.5+(w-1)/2:
				values[i] = 255
			default:
				values[i] = ((v-(c-0.5))/(w-1) + 0.5) * 255
			}
		}
	case "LINEAR_EXACT":
		if w <= 0 {
			return nil, fmt.Errorf("%w: WindowWidth is %g", document.ErrDocument, w)
		}
		for i, v := range values {
			values[i] = min(max((v-c)/w+0.5, 0), 1) * 255
		}
	case "SIGMOID":
		if w <= 0 {
			return nil, fmt.Errorf("%w: WindowWidth is %g", document.ErrDocument, w)
		}
		for i, v := range values {
			values[i] = 255 / (1 + math.Exp(-4*(v-c)/w))
		}
	default:
		return nil, fmt.Errorf("%w: VOILUTFunction %q: LINEAR, LINEAR_EXACT and SIGMOID are known", document.ErrDocument, function)
	}
	return values, nil
}

// table is a look-up table of the record.
type table struct {
	first  float64
	values []int
	bits   int
}

// at returns the entry of a value; those below and above the table have its first and last.
func (t *table) at(v float64) float64 {
	i := min(max(v-t.first, 0), float64(len(t.values)-1))
	return float64(t.values[int(i)])
}

// lut returns the first table of a sequence; nil where there is none.
func (f *File) lut(sequence tag.Tag) (*table, error) {
	e, err := f.set.FindElementByTag(sequence)
	if err != nil {
		return nil, nil
	}
	items, ok := e.Value.GetValue().([]*lib.SequenceItemValue)
	if !ok || len(items) == 0 {
		return nil, nil
	}
	parts, _ := items[0].GetValue().([]*lib.Element)
	item := lib.Dataset{Elements: parts}
	described, _ := ints(item, tag.LUTDescriptor)
	if len(described) != 3 {
		return nil, fmt.Errorf("%w: a look-up table without LUTDescriptor", document.ErrDocument)
	}
	t := &table{first: float64(described[1]), bits: described[2]} // entries, first value, bits
	if f.signed {
		t.first = float64(int16(described[1]))
	}
	n := described[0]
	if n == 0 {
		n = 65536
	}
	data, err := item.FindElementByTag(tag.LUTData)
	if err != nil {
		return nil, fmt.Errorf("%w: a look-up table without LUTData", document.ErrDocument)
	}
	switch v := data.Value.GetValue().(type) {
	case []int:
		t.values = v
	case []byte:
		for i := 0; i+1 < len(v); i += 2 {
			t.values = append(t.values, int(binary.LittleEndian.Uint16(v[i:])))
		}
	}
	if n < 1 || len(t.values) < n || t.bits < 1 || t.bits > 16 {
		return nil, fmt.Errorf("%w: a look-up table of %d entries of %d bits says that it has %d", document.ErrDocument, len(t.values), t.bits, n)
	}
	t.values = t.values[:n]
	return t, nil
}
