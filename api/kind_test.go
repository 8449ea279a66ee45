package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/tensor"
)

func TestKindOf(t *testing.T) {
	t.Parallel()
	_, missing := Find("nobody")
	for _, c := range []struct {
		err          error
		name         string
		exit, status int
	}{
		{nil, "ok", 0, 200},
		{errors.New("a bug"), "other", 1, 500},
		{context.Canceled, "interrupted", 130, 499},
		{pipeline.ErrOption, "option", 2, 400},
		{missing, "no_model", 4, 404},
		{pipeline.ErrBundle, "bundle", 4, 500},
		{pipeline.ErrTokenizer, "tokenizer", 4, 500},
		{pipeline.ErrUnsupported, "unsupported", 4, 400},
		{engine.ErrGraph, "graph", 4, 500},
		{engine.ErrEngine, "engine", 5, 500},
		{engine.ErrInput, "graph_input", 3, 400},
		{pipeline.ErrImage, "image", 3, 400},
		{pipeline.ErrSound, "sound", 3, 400},
		{pipeline.ErrLimit, "limit", 3, 413},
		{pipeline.ErrPrompt, "prompt", 3, 400},
		{pipeline.ErrRegions, "regions", 3, 400},
		{tensor.ErrTensor, "tensor", 3, 400},
		{fs.ErrNotExist, "not_found", 3, 404},
		{fs.ErrPermission, "permission", 3, 403},
		{pipeline.ErrClosed, "closed", 1, 503},
		{context.DeadlineExceeded, "timeout", 1, 504},
		{Usagef("--batch %d", 0), "usage", 2, 400},
		{Inputf("%w", errors.New("odd")), "input", 3, 400},
		{WithKind(errors.New("they differ"), KindBreach), "breach", 6, 500},

		// The first row that fits counts, and a kind of its own before all rows.
		{errors.Join(pipeline.ErrBundle, fs.ErrNotExist), "bundle", 4, 500},
		{errors.Join(tensor.ErrTensor, pipeline.ErrBundle), "bundle", 4, 500},
		{errors.Join(engine.ErrEngine, context.Canceled), "interrupted", 130, 499},
		{errors.Join(pipeline.ErrLimit, context.DeadlineExceeded), "timeout", 3, 504},
		{errors.Join(engine.ErrEngine, context.DeadlineExceeded), "engine", 5, 500},
		{Inputf("%w", pipeline.ErrBundle), "input", 3, 400},
		{Usagef("%w", fs.ErrNotExist), "usage", 2, 400},
	} {
		for _, err := range []error{c.err, fmt.Errorf("somewhere: %w", c.err)} {
			if c.err == nil {
				err = nil
			}
			if got := KindOf(err); got != (Kind{c.name, c.exit, c.status}) {
				t.Errorf("%v: %+v, want %s, %d, %d", err, got, c.name, c.exit, c.status)
			}
		}
	}
	if err := WithKind(nil, KindInput); err != nil {
		t.Errorf("no error became %v", err)
	}
	err := Inputf("a: %w", fs.ErrNotExist)
	if !errors.Is(err, fs.ErrNotExist) || err.Error() != "a: file does not exist" {
		t.Errorf("%v hides what it wraps", err)
	}
}

// Names are what programs tell kinds apart by.
func TestKindNames(t *testing.T) {
	t.Parallel()
	known := map[string]Kind{}
	all := []Kind{KindUsage, KindInput, KindBreach, other}
	for _, row := range kinds {
		all = append(all, row.kind)
	}
	for _, k := range all {
		if before, ok := known[k.Name]; ok && k.Name != "timeout" {
			t.Errorf("%+v and %+v have one name", before, k)
		}
		if known[k.Name] = k; k.Status < 400 || k.Exit == ExitOK {
			t.Errorf("%+v is no failure", k)
		}
	}
}
