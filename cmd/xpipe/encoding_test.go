package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
)

// TestByteOrderMark gives the command what PowerShell and Notepad write: files of questions, lists
// and JSON lines with a byte order mark in front, and in UTF-16.
func TestByteOrderMark(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "questions.jsonl")
	question := fmt.Sprintf("\ufeff{\"image\":%q,\"question\":\"what color is the shape?\"}\r\n", triangle)
	if err := os.WriteFile(file, []byte(question), 0o666); err != nil {
		t.Fatal(err)
	}
	if got := want(t, "ask", "--engine", "go", "--questions", file); got != "blue\n" {
		t.Errorf("%q", got)
	}
	code, stdout, stderr := xpipe(t, "\ufeff"+triangle+"\r\n", "--json", "caption", "--engine", "go", "-")
	if got := lines(t, stdout); code != 0 || len(got) != 1 || got[0]["image"] != triangle {
		t.Errorf("exit %d: %v, %s", code, got, stderr)
	}
	code, _, stderr = xpipe(t, "\xFF\xFEa\x00.\x00p\x00n\x00g\x00", "caption", "--engine", "go", "-")
	if code != api.ExitOther || !strings.Contains(stderr, "xpipe: a.png: ") {
		t.Errorf("a list in UTF-16: exit %d: %s", code, stderr)
	}
}
