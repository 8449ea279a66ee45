package api

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// wide is a text in UTF-16 as PowerShell writes it, with its mark.
func wide(text string) string {
	b := []byte{0xFF, 0xFE}
	for _, unit := range utf16.Encode([]rune(text)) {
		b = append(b, byte(unit), byte(unit>>8))
	}
	return string(b)
}

// TestByteOrderMark reads each kind of text with a byte order mark in front, and in UTF-16.
func TestByteOrderMark(t *testing.T) {
	t.Parallel()
	var got []Question
	take := func(q Question) error {
		got = append(got, q)
		return nil
	}
	const question = `{"image":"a.png","question":"b"}` + "\r\n"
	err := EachLine(strings.NewReader("\ufeff"+question+question), "list", take)
	if err != nil || len(got) != 2 || got[0] != (Question{"a.png", "b"}) {
		t.Errorf("%v, %v", got, err)
	}
	err = EachLine(strings.NewReader(wide(question)), "list", take)
	if err != nil || len(got) != 3 || got[2] != got[0] {
		t.Errorf("in UTF-16: %v, %v", got, err)
	}

	dir := folder(t, "a.png", "b.png")
	list := filepath.Join(dir, "a.png") + "\r\n" + filepath.Join(dir, "b.png")
	for _, text := range []string{"\ufeff" + list, wide(list)} {
		paths, _ := names(t, Sources{Stdin: strings.NewReader(text)}, "-")
		if want := strings.Split(list, "\r\n"); !slices.Equal(paths, want) {
			t.Errorf("%q, want %q", paths, want)
		}
	}

	path := filepath.Join(t.TempDir(), "out.jsonl")
	const line = `{"image":"a.png","caption":"x"}` + "\n"
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("\ufeff" + line + `{"image":"b.png","er`)
	r, err := OpenResults(path, ResultsOptions{Resume: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Add("c.png", Failure{Image: "c.png", Error: "y"}), r.Close()); err != nil || !r.Done("a.png") {
		t.Errorf("%v, %v", r.done, err)
	}
	data, err := os.ReadFile(path)
	if want := "\ufeff" + line + `{"image":"c.png","error":"y"}` + "\n"; string(data) != want {
		t.Errorf("%q, %v, want %q", data, err, want)
	}
	write(wide(line))
	_, err = OpenResults(path, ResultsOptions{Resume: true})
	wantError(t, err, ExitInput, "UTF-8")
}
