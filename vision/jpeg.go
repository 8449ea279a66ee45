package vision

import (
	"bytes"
	"errors"

	"github.com/crossattn/xpipe/vision/internal/jpeg"
)

func isJPEG(data []byte) bool { return bytes.HasPrefix(data, []byte("\xff\xd8\xff")) }

func sizeJPEG(data []byte) (w, h int, err error) {
	head, err := jpeg.ReadHeader(data)
	return head.Width, head.Height, jpegError(err)
}

func decodeJPEG(data []byte, _ *options) (*RGB, int, error) {
	p, err := jpeg.Decode(data)
	if err != nil {
		return nil, 0, jpegError(err)
	}
	m := &RGB{Pix: p.Pix, Stride: 4 * p.Width, Width: p.Width, Height: p.Height}
	return m, metadata{exif: p.Exif, xmp: [2][]byte{p.XMP}}.orientation(), nil
}

func jpegError(err error) error {
	if errors.Is(err, jpeg.ErrTruncated) {
		return errTruncated
	}
	return err
}
