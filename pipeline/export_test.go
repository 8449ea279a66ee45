package pipeline

import (
	"context"
	"testing"

	"github.com/crossattn/xpipe/models/mini"
)

// OpenEmbedded opens an embedded model until the test ends, for the tests inside the
// package and outside it.
func OpenEmbedded(t testing.TB, name string, opts ...Option) *Pipeline {
	t.Helper()
	bundle, err := mini.FS(name)
	if err != nil {
		t.Fatal(err)
	}
	p, err := OpenFS(context.Background(), bundle, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// TestLibrary lets the tests outside the package use the library of those inside.
var TestLibrary = testLibrary
