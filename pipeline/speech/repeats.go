package speech

import (
	"compress/zlib"
	"io"
)

// repeats returns how many times smaller a text becomes by zlib: what openai-whisper knows loops by
// (compression_ratio of utils.py). Go's compressor differs from C's by some bytes.
func repeats(text string) float64 {
	var size counter
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
