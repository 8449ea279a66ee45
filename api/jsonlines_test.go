package api

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

func TestEachLineEncodings(t *testing.T) {
	t.Parallel()
	line := `{"image":"a.png","question":"Füße?"}`
	for what, text := range map[string]string{
		"lines": line + "\n" + line + "\n", "CRLF": line + "\r\n\r\n" + line, "a mark": "\ufeff" + line + "\r\n" + line,
		"UTF-16": utf16Text(binary.LittleEndian, line+"\r\n"+line+"\r\n"), "UTF-16, big": utf16Text(binary.BigEndian, line+"\n"+line),
		"one line": line + " " + line, "printed wide": strings.ReplaceAll(line, ",", ",\n  ") + "\n" + line,
	} {
		n := 0
		err := EachLine(strings.NewReader(text), "q.jsonl", func(q Question) error {
			if n++; q.Image != "a.png" || q.Question != "Füße?" {
				t.Errorf("%s: %+v", what, q)
			}
			return nil
		})
		if err != nil || n != 2 {
			t.Errorf("%s: %d, %v", what, n, err)
		}
	}
	if err := EachLine(strings.NewReader("\ufeff\r\n"), "q.jsonl", func(Question) error { return nil }); err != nil {
		t.Error(err)
	}
}

// What is no file of JSON lines is told in the words of who wrote it.
func TestEachLineRefuses(t *testing.T) {
	t.Parallel()
	good := `{"image":"a.png","question":"what?"}`
	like := `like {"image":"","question":""}`
	for what, c := range map[string]struct{ text, says string }{
		"an array":            {"[" + good + "]", "q.jsonl: line 1: it is a JSON array; it should have one object a line, " + like},
		"an array, marked":    {"\ufeff \n[\n" + good + "\n]", "it is a JSON array"},
		"a picture":           {string(readImage(t)), "it is no text; it should have lines of JSON " + like},
		"a shard":             {string(gz([]byte("x"))), "it is no text"},
		"names":               {"a.png\nb.png\n", "line 1: it is no JSON object " + like},
		"CSV":                 {"image,question\na.png,what?\n", "line 1: it is no JSON object"},
		"a text":              {good + "\n\n\"a.png\"\n", "line 3: it is a string, not an object " + like},
		"a number":            {"5", "line 1: it is a number, not an object"},
		"an array further on": {good + "\n" + "[1]", "line 2: it is an array, not an object"},
		"a number inside":     {good + "\n{\"image\":5}", `line 2: "image" is a number and should be text in quotation marks`},
		"a list inside":       {`{"image":"a.png","question":["a","b"]}`, `line 1: "question" is an array and should be text`},
		"commas between":      {good + ",\n" + good, "line 1: it is no JSON object"},
		"commas between two":  {good + "\n" + good + ",\n", "line 2: it is no JSON object"},
		"cut":                 {good + "\n" + good[:20], "line 2: the file ends in the middle of an object"},
		"single quotes":       {"{'image':'a.png'}", "line 1: it is no JSON object"},
	} {
		err := EachLine(strings.NewReader(c.text), "q.jsonl", func(Question) error { return nil })
		wantError(t, err, ExitInput, c.says)
		if err != nil && strings.Contains(err.Error(), "Go ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Whatever lies before it, an error says its line.
	n := 0
	err := EachLine(strings.NewReader(strings.Repeat("\n"+good+"\r\n", 500)), "q.jsonl", func(Question) error {
		if n++; n == 400 {
			return errors.New("enough")
		}
		return nil
	})
	wantError(t, err, ExitInput, "line 800: enough")
}
