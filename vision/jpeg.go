package vision

import (
	"bytes"
	"image/jpeg"
)

func isJPEG(data []byte) bool { return bytes.HasPrefix(data, []byte("\xff\xd8\xff")) }

func sizeJPEG(data []byte) (w, h int, err error) {
	c, err := jpeg.DecodeConfig(bytes.NewReader(data))
	return c.Width, c.Height, err
}

func decodeJPEG(data []byte, _ *options) (*RGB, int, error) {
	img, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, 0, err
	}
	return FromImage(img), 1, nil
}
