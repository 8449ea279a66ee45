package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestResults(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "out.jsonl")
	write := func(resume bool, line any) *Results {
		t.Helper()
		r, err := OpenResults(path, resume)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(r.Add(line), r.Close()); err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := write(false, Failure{"a.png", "<&>"}); r.Done("a.png") {
		t.Error("a new file has a line")
	}
	if _, err := OpenResults(path, false); !errors.Is(err, ErrHasResults) {
		t.Error(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(whole, `{"image":"b.png","er`...), 0o666); err != nil {
		t.Fatal(err)
	}
	if r := write(true, Failure{"c.png", "x"}); !r.Done("a.png") || r.Done("b.png") || r.Done("c.png") {
		t.Errorf("%+v", r)
	}
	data, err := os.ReadFile(path)
	if want := `{"image":"a.png","error":"<&>"}` + "\n" + `{"image":"c.png","error":"x"}` + "\n"; string(data) != want {
		t.Errorf("%q, %v, want %q", data, err, want)
	}
	if _, err := OpenResults(os.DevNull, true); !errors.Is(err, ErrNotRegular) {
		t.Error(err)
	}
	if r, err := OpenResults(os.DevNull, false); err != nil || r.Close() != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("my notes\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = OpenResults(path, true)
	wantError(t, err, ExitInput, "line 1 is no result")
}

func FuzzResults(f *testing.F) {
	f.Add([]byte(`{"image":"a.png","caption":"a"}` + "\n" + `{"image":"b.png"`))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "out.jsonl")
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		r, err := OpenResults(path, true)
		if err != nil { // then the file is as it was
			if left, _ := os.ReadFile(path); !bytes.Equal(left, data) {
				t.Errorf("refused, and changed %q to %q", data, left)
			}
			return
		}
		if err := r.Add(Failure{"new", "x"}); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		left, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range bytes.Split(bytes.TrimSuffix(left, []byte("\n")), []byte("\n")) {
			if !json.Valid(line) {
				t.Errorf("a line is no JSON: %q", line)
			}
		}
	})
}
