package onnx

import (
	"errors"
	"strings"
	"testing"
)

// A file that a clone without Git LFS leaves in a model's place is told from a damaged one.
func TestLoadOfPointer(t *testing.T) {
	t.Parallel()
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
	if _, err := Load(MemorySource([]byte(pointer))); !errors.Is(err, ErrGraph) ||
		!strings.Contains(err.Error(), "git lfs pull") {
		t.Error(err)
	}
}
