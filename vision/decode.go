package vision

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// format is one kind of image file.
type format struct {
	name string
	// is reports whether data starts like this format.
	is func(data []byte) bool
	// size reads the header only, so that limits hold before anything is allocated. It returns the
	// size before any turn.
	size func(data []byte) (w, h int, err error)
	// decode returns the pixels of the first frame and the Exif orientation, 1 to 8, that is still
	// to be applied.
	decode func(data []byte, o *options) (m *RGB, orientation int, err error)
}

// formats are those that Decode reads. A function, since some decoders sniff in their turn.
func formats() []format {
	return slices.Concat([]format{
		{"JPEG", isJPEG, sizeJPEG, decodeJPEG},
		{"PNG", isPNG, sizePNG, decodePNG},
		{"GIF", isGIF, sizeGIF, decodeGIF},
		{"WebP", isWebP, sizeWebP, decodeWebP},
		{"TIFF", isTIFF, sizeTIFF, decodeTIFF},
		{"BMP", isBMP, sizeBMP, decodeBMP},
		{"Netpbm", isPNM, sizePNM, decodePNM},
		{"QOI", isQOI, sizeQOI, decodeQOI},
		{"ICO", isICO, sizeICO, decodeICO},
		{"BMP", isDIB, sizeDIB, decodeDIB},
	}, registeredFormats(), []format{
		{"TGA", isTGA, sizeTGA, decodeTGA}, // it has no signature
	})
}

func sniff(data []byte) *format {
	for _, f := range formats() {
		if f.is(data) {
			return &f
		}
	}
	return nil
}

// Decode reads one picture: JPEG, PNG, GIF, WebP, BMP, TIFF, Netpbm (PBM, PGM, PPM, PFM), QOI, ICO or
// TGA, and what RegisterFormat added (see packages vision/avif and vision/heic); of an animation the
// first frame. The pixels are those of Pillow 13.0.0's
//
//	ImageOps.exif_transpose(Image.open(f)).convert("RGB")
//
// so colour profiles are ignored and alpha is dropped. Damaged files are errors, even some that
// Pillow shows in part. The error wraps ErrImage or, for pictures over the limits, ErrLimit; errors
// of r are wrapped, too.
func Decode(r io.Reader, opts ...Option) (*RGB, error) {
	if r == nil {
		return nil, imageErrorf("there is no reader")
	}
	o := buildOptions(opts)
	data, err := readAll(r, o.limits)
	if err != nil {
		return nil, err
	}
	return decode(data, &o)
}

// DecodeFile is Decode for a named file. Errors start with its name.
func DecodeFile(path string, opts ...Option) (*RGB, error) {
	m, err := decodeFile(path, opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func decodeFile(path string, opts []Option) (*RGB, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fileError(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fileError(err)
	}
	if info.IsDir() {
		return nil, imageErrorf("is a directory: name the picture in it")
	}
	o := buildOptions(opts)
	if info.Size() > o.limits.Bytes {
		return nil, limitErrorf("Bytes", "the file has %d bytes, the limit is %d",
			info.Size(), o.limits.Bytes)
	}
	data, err := readAll(f, o.limits)
	if err != nil {
		return nil, err
	}
	return decode(data, &o)
}

// fileError makes an error of package os an ErrImage, without the path that the caller puts in
// front.
func fileError(err error) error {
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return fmt.Errorf("%w: %w", ErrImage, err)
}

func decode(data []byte, o *options) (*RGB, error) {
	f, err := identify(data)
	if err != nil {
		return nil, err
	}
	w, h, err := f.size(data)
	if err == nil {
		err = o.limits.checkSize(w, h)
	}
	if err != nil {
		return nil, within(f, err)
	}
	m, orientation, err := f.decode(data, o)
	if err != nil {
		return nil, within(f, err)
	}
	if o.background != nil {
		m = m.On(*o.background)
	}
	return orient(m, orientation), nil
}

// within names the format in an error and makes sure that it wraps a sentinel.
func within(f *format, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errTruncated
	}
	if errors.Is(err, ErrImage) || errors.Is(err, ErrLimit) {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	return imageErrorf("damaged or unsupported %s: %w", f.name, err)
}

var errTruncated = fmt.Errorf("%w: the file ends too early", ErrImage)

// identify returns the format of data, or an error that names the format it resembles.
func identify(data []byte) (*format, error) {
	if f := sniff(data); f != nil {
		return f, nil
	}
	if len(data) == 0 {
		return nil, imageErrorf("the file is empty")
	}
	if name := otherFormat(data); name != "" {
		return nil, imageErrorf("%s is not supported%s: convert it to PNG or JPEG",
			name, readerOf(name))
	}
	return nil, imageErrorf("not an image of a known format (it starts with %q); supported are %s",
		data[:min(len(data), 8)], formatNames())
}

// readAll reads r up to the limit of bytes, or an error after its first bytes if no picture starts
// with them.
func readAll(r io.Reader, l Limits) ([]byte, error) {
	head := make([]byte, 64)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fileError(err)
	}
	head = head[:n]
	if _, err := identify(head); err != nil || n < cap(head) {
		return head, err
	}
	buf := bytes.NewBuffer(head)
	if s, ok := r.(interface{ Stat() (os.FileInfo, error) }); ok {
		if info, err := s.Stat(); err == nil && info.Size() <= l.Bytes {
			buf.Grow(int(max(info.Size(), 0)) + bytes.MinRead)
		}
	}
	if _, err := buf.ReadFrom(io.LimitReader(r, l.Bytes-int64(n)+1)); err != nil {
		return nil, fileError(err)
	}
	if int64(buf.Len()) > l.Bytes {
		return nil, limitErrorf("Bytes", "the file has more than %d bytes", l.Bytes)
	}
	return buf.Bytes(), nil
}
