package ortfile

import (
	"bytes"
	"debug/elf"
	"testing"

	"github.com/crossattn/xpipe/internal/fakelib"
)

// Whatever a file holds, looking at it neither panics nor takes memory by what it declares.
func FuzzInspect(f *testing.F) {
	f.Add(fakelib.Library(), uint8(0))
	f.Add(fakelib.ELF(elf.EM_AARCH64, "other"), uint8(0))
	f.Add([]byte("MZ"), uint8(1))
	f.Add([]byte("\xcf\xfa\xed\xfe\x07\x00\x00\x01"), uint8(2))
	f.Add([]byte("\xca\xfe\xba\xbe\x00\x00\x00\x01"), uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, system uint8) {
		goos := []string{"linux", "windows", "darwin"}[system%3]
		for _, arch := range []string{"amd64", "arm64"} {
			inspectReader(bytes.NewReader(data), int64(len(data)), goos, arch)
		}
	})
}
