package vision

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// testdata is the folder of test pictures, goldens and reference scripts.
const testdata = "../testdata/vision"

// python returns an interpreter with Pillow 13.0.0: XPIPE_PYTHON, or the test environment that make
// test builds. Without one the test is skipped, or fails where XPIPE_REQUIRE_REFS is 1.
func python(t testing.TB) string {
	t.Helper()
	path := os.Getenv("XPIPE_PYTHON")
	if path == "" {
		path, _ = filepath.Abs("../build/venv/bin/python3")
	}
	if err := exec.Command(path, "-c", "import PIL, numpy; assert PIL.__version__ == '13.0.0'").Run(); err != nil {
		const reason = "no Python with Pillow 13.0.0 and numpy: run make test, or set XPIPE_PYTHON"
		if os.Getenv("XPIPE_REQUIRE_REFS") == "1" {
			t.Fatalf("%s (%s: %v)", reason, path, err)
		}
		t.Skip(reason)
	}
	return path
}
