package api

import (
	"strings"
	"testing"

	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/pipeline"
)

const (
	images   = "../testdata/images/"
	families = "../testdata/families/"
)

// goEngine opens each graph once for all tests that ask for it.
var goEngine = enginetest.Share(fallback.New())

// open opens a model on the Go engine.
func open(t *testing.T, name string) *pipeline.Pipeline {
	t.Helper()
	p, err := Open(t.Context(), name, pipeline.WithEngine(goEngine))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// view is attention of a model that is made to write text about a picture, or, where text is "",
// writes its own.
func view(
	t *testing.T, model, text string, request pipeline.Request, picks ...pipeline.Pick,
) *AttentionView {
	t.Helper()
	p := open(t, model)
	var a *pipeline.Attention
	var err error
	if text != "" {
		a, err = p.AttendText(t.Context(), request, text)
	} else {
		a, err = p.Attend(t.Context(), request)
	}
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewAttentionView(a, "picture.png", request.Question, picks...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// picture is a request about a picture of testdata/images.
func picture(t *testing.T, name string) pipeline.Request {
	t.Helper()
	img, err := Sources{}.LoadPicture(images + name)
	if err != nil {
		t.Fatal(err)
	}
	return pipeline.Request{Image: img}
}

// wantError checks an error's kind and a part of its message.
func wantError(t *testing.T, err error, exit int, says string) {
	t.Helper()
	if err == nil || KindOf(err).Exit != exit || !strings.Contains(err.Error(), says) {
		t.Errorf("%v: exit %d, want %d with %q", err, KindOf(err).Exit, exit, says)
	}
}
