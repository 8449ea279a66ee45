package speech

import (
	"compress/zlib"
	"io"

	"github.com/crossattn/xpipe/internal/zlibsize"
)

// repeats returns how many times smaller a text becomes by zlib: what openai-whisper knows loops by
// (compression_ratio of utils.py).
func repeats(text string) float64 {
	if size, ok := zlibsize.Of([]byte(text)); ok {
		return float64(len(text)) / float64(size)
	}
	var size counter // longer than the text of a window is
	w := zlib.NewWriter(&size)
	io.WriteString(w, text) // a counter takes all
	w.Close()
	return float64(len(text)) / float64(size)
}

type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
