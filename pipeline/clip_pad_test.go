package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"reflect"
	"testing"
)

// TestCLIPWithoutPadToken opens CLIP without a pad token or the file that names it: the class's own
// takes its place, and texts of one length need none.
func TestCLIPWithoutPadToken(t *testing.T) {
	t.Parallel()
	const config = "tokenizer_config.json"
	match := func(edit func(keys map[string]any) bool, texts ...string) ([]Match, error) {
		t.Helper()
		fsys := only(t, filepath.Join(familiesDir, "clip", "bundle"))
		var keys map[string]any
		if err := json.Unmarshal(fsys[config].Data, &keys); err != nil {
			t.Fatal(err)
		}
		if edit(keys) {
			data, err := json.Marshal(keys)
			if err != nil {
				t.Fatal(err)
			}
			fsys[config].Data = data
		} else {
			delete(fsys, config)
		}
		p, err := OpenFS(context.Background(), fsys, WithEngine(goEngine), WithoutVerification())
		if err != nil {
			return nil, err
		}
		defer p.Close()
		return p.Match(context.Background(), blankImage, texts...)
	}
	texts := []string{"a cat", "a photo of a very small dog"}
	keep := func(map[string]any) bool { return true }
	want, err := match(keep, texts...)
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(keys map[string]any) bool{
		"no file": func(map[string]any) bool { return false },
		"no key":  func(keys map[string]any) bool { delete(keys, "pad_token"); return true },
		"object": func(keys map[string]any) bool {
			keys["pad_token"] = map[string]any{"__type": "AddedToken", "content": keys["pad_token"]}
			return true
		},
	} {
		got, err := match(edit, texts...)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
	none := func(keys map[string]any) bool { keys["pad_token"] = nil; return true }
	if _, err := match(none, texts...); !errors.Is(err, ErrBundle) {
		t.Errorf("null, two lengths: %v", err)
	}
	if _, err := match(none, texts[0]); err != nil {
		t.Errorf("null, one text: %v", err)
	}
}
