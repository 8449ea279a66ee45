package fallback

import (
	"os"
	"runtime/debug"
	"testing"
)

// The tests open many small graphs: a fifth of their time went into collecting them.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}
