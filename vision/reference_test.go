package vision

import (
	"testing"

	"github.com/crossattn/xpipe/internal/references"
)

// testdata is the folder of test pictures, goldens and reference scripts.
const testdata = "../testdata/vision"

// hasPillow is Python that fails without the Pillow that this package equals.
const hasPillow = "import PIL, numpy; assert PIL.__version__ == '13.0.0'"

// pillow is a script of testdata.
func pillow(name string, stdin []byte, args ...string) references.Script {
	return references.Script{Path: testdata + "/" + name, Args: args, Stdin: stdin, Check: hasPillow}
}

// python returns an interpreter with Pillow 13.0.0.
func python(t testing.TB) string {
	t.Helper()
	return references.Python(t, hasPillow)
}
