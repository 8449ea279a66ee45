package vision

import (
	"fmt"
	"image"
	"strconv"

	"github.com/crossattn/xpipe/vision/internal/resample"
)

// Filter is a resampling filter. Its number is Pillow's, which is the number that
// preprocessor_config.json calls "resample".
type Filter int

// The filters, as PIL.Image.Resampling numbers them.
const (
	Nearest  Filter = Filter(resample.Nearest)
	Lanczos  Filter = Filter(resample.Lanczos)
	Bilinear Filter = Filter(resample.Bilinear)
	Bicubic  Filter = Filter(resample.Bicubic)
	Box      Filter = Filter(resample.Box)
	Hamming  Filter = Filter(resample.Hamming)
)

var filterNames = [...]string{"nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"}

// String returns the name of the filter in lower case.
func (f Filter) String() string {
	if f >= 0 && int(f) < len(filterNames) {
		return filterNames[f]
	}
	return "filter " + strconv.Itoa(int(f))
}

// Resize returns img stretched to w by h pixels, equal in every bit to Image.resize((w, h), f) of
// Pillow 13.0.0 on an RGB picture. Images other than *RGB are converted with FromImage first. The
// result never shares memory with img. The error wraps ErrImage for an empty size or unknown
// filter, ErrLimit for a result over the Limits, which are the default ones without WithLimits.
func Resize(img image.Image, w, h int, f Filter, opts ...Option) (*RGB, error) {
	src := FromImage(img)
	if err := buildOptions(opts).limits.checkSize(w, h); err != nil {
		return nil, fmt.Errorf("resizing to %dx%d: %w", w, h, err)
	}
	out := newRGB(w, h)
	if err := resizeInto(out, src, w, h, f, image.Rect(0, 0, w, h)); err != nil {
		return nil, err
	}
	return out, nil
}

// resizeInto computes the part win of src resized to w by h, into dst, which has the size of win.
func resizeInto(dst, src *RGB, w, h int, f Filter, win image.Rectangle) error {
	if f < 0 || int(f) >= len(filterNames) {
		return imageErrorf("%v is not one of Pillow's filters 0 to 5", f)
	}
	if src.Width <= 0 || src.Height <= 0 {
		return imageErrorf("the picture is %dx%d pixels: nothing to resize", src.Width, src.Height)
	}
	resample.Resize(pixels(dst), pixels(src), w, h, resample.Filter(f), win)
	return nil
}

// shrinkInto resizes src to the size of dst as transformers makes thumbnails: by bicubic, with a
// reducing_gap of 2.
func shrinkInto(dst, src *RGB) {
	resample.ResizeReduced(pixels(dst), pixels(src), resample.Bicubic, 2)
}

func pixels(m *RGB) resample.Pixels {
	return resample.Pixels{Pix: m.Pix, Stride: m.Stride, Width: m.Width, Height: m.Height}
}
