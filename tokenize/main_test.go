package tokenize

import (
	"os"
	"runtime/debug"
	"testing"
)

// The tests read references of 20,500 texts for each tokenizer; a seventh of their time went into
// collecting what that leaves.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}
