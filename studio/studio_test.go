package studio

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestIDs(t *testing.T) {
	t.Parallel()
	a, b := NewID(), NewID()
	if a == b || !a.Valid() || len(a) != 26 {
		t.Errorf("%q, %q", a, b)
	}
	for _, id := range []ID{"", "x", ID(strings.ToUpper(string(a))), a + "a", "../../../../etc/passwd"} {
		if id.Valid() {
			t.Errorf("%q is valid", id)
		}
	}
}

// Branches, versions and runs of a small tree.
func TestTree(t *testing.T) {
	t.Parallel()
	// q1 -> a1 (gpt), a2 (blip), one run; a1 -> q2 -> a3; q1b is q1 edited.
	tree := NewTree([]Message{
		{ID: "q1"}, {ID: "a1", Parent: "q1", Run: "r"}, {ID: "a2", Parent: "q1", Run: "r"},
		{ID: "q2", Parent: "a1"}, {ID: "a3", Parent: "q2"}, {ID: "a4", Parent: "q1"},
		{ID: "q1b"}, {ID: "lost", Parent: "gone"},
	})
	ids := func(list []*Message) string {
		var s []string
		for _, m := range list {
			s = append(s, string(m.ID))
		}
		return strings.Join(s, " ")
	}
	for _, c := range []struct{ what, got, want string }{
		{"children", ids(tree.Children("q1")), "a1 a2 a4"},
		{"roots", ids(tree.Children("")), "q1 q1b lost"},
		{"siblings of a root", ids(tree.Siblings("q1b")), "q1 q1b lost"},
		{"siblings", ids(tree.Siblings("a2")), "a1 a2 a4"},
		{"run", ids(tree.SideBySide("a2")), "a1 a2"},
		{"no run", ids(tree.SideBySide("a4")), "a4"},
		{"branch", ids(tree.Branch("a3")), "q1 a1 q2 a3"},
		{"branch of none", ids(tree.Branch("")), "lost"},
		{"branch to what is gone", ids(tree.Branch("gone")), "lost"},
		{"leaf", string(tree.Leaf("a1")), "a3"},
		{"newest leaf", string(tree.Leaf("q1")), "a4"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.what, c.got, c.want)
		}
	}
	if empty := NewTree(nil); len(empty.Branch("")) != 0 || empty.Leaf("") != "" {
		t.Error("an empty tree has a branch")
	}
}

func TestRender(t *testing.T) {
	t.Parallel()
	picture := Part{Kind: KindPicture, Blob: Hash(strings.Repeat("ab", 32)), Name: "cat.png"}
	sound := picture
	sound.Kind = KindSound
	show := func(parts []Part) string {
		var s []string
		for _, p := range parts {
			if p.Kind == KindText {
				s = append(s, p.Text)
			} else {
				s = append(s, "<"+p.Name+">")
			}
		}
		return strings.Join(s, "|")
	}
	variables := []Variable{{Name: "photo", Kind: KindPicture}, {Name: "tone", Default: "dry"}}
	for _, c := range []struct {
		text   string
		values Values
		want   string // or what the error has in it
	}{
		{"Sell {{product}}, {{ tone }}.", Values{Texts: map[string]string{"product": "tea"}}, "Sell tea, dry."},
		{"Sell {{product}}.", Values{}, "fill in product"},
		{"{{a}} {{b}} {{a}}", Values{Texts: map[string]string{"a": "{{b}}", "b": "x"}}, "{{b}} x {{b}}"},
		{"Look: {{photo}} What is it?", Values{Files: map[string][]Part{"photo": {picture}}}, "Look:|<cat.png>|What is it?"},
		{"{{photo}}", Values{Files: map[string][]Part{"photo": {sound}}}, "takes a picture"},
		{"{{photo}}", Values{Texts: map[string]string{"photo": "x"}}, "fill in photo"},
		{`\{{product}} {{größe}} {{1}} {{}} {{ a b }}`, Values{Texts: map[string]string{"größe": "5"}}, "{{product}} 5 {{1}} {{}} {{ a b }}"},
		{"{{tone}}", Values{Texts: map[string]string{"tone": ""}}, "empty"},
	} {
		p := Prompt{Name: "p", Text: c.text, Variables: variables}
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		got, err := p.Render(c.values)
		if err == nil && show(got) != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %q, %v, want %q", c.text, show(got), err, c.want)
		}
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", c.text, err)
		}
	}
}

func TestChecks(t *testing.T) {
	t.Parallel()
	hash := Hash(strings.Repeat("0f", 32))
	good := func() Message {
		return Message{Role: RoleAssistant, State: Done, Parts: []Part{TextPart("a cat")}, Answer: &Answer{
			Words: []Word{{From: 2, To: 5, Sources: []Source{{Blob: hash, Map: &HeatMap{Rows: 1, Cols: 2, Weights: []byte{1, 2}}}}}},
		}}
	}
	for name, change := range map[string]func(*Message){
		"":                     func(*Message) {},
		"no role":              func(m *Message) { m.Role = "god" },
		"no state":             func(m *Message) { m.State = "" },
		"reversed":             func(m *Message) { m.Answer.Words[0].To = 1 },
		"text of 5":            func(m *Message) { m.Answer.Words[0].To = 6 },
		"weights":              func(m *Message) { m.Answer.Words[0].Sources[0].Map.Rows = 3 },
		"is no hash":           func(m *Message) { m.Answer.Words[0].Sources[0].Blob = "../x" },
		"no hash of its":       func(m *Message) { m.Parts = append(m.Parts, Part{Kind: KindPicture, Blob: "../x"}) },
		"no kind":              func(m *Message) { m.Parts[0].Kind = "spell" },
		"UTF-8":                func(m *Message) { m.Parts[0].Text = "cat\xff!" },
		"the message is empty": func(m *Message) { m.Role, m.Parts, m.Answer = RoleUser, nil, nil },
	} {
		m := good()
		change(&m)
		if err := m.Check(); (err == nil) != (name == "") || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for url, ok := range map[string]bool{
		"https://api.example.com/v1/": true, "http://127.0.0.1:8080": true, "ftp://x": false, "x": false,
		"https://user:pass@x/": false, "https://x/?key=1": false, "javascript:alert(1)": false,
	} {
		u := Upstream{Name: "u", URL: url}
		if err := u.Check(); (err == nil) != ok {
			t.Errorf("%s: %v", url, err)
		}
	}
	for given, want := range map[string]string{
		"cat.png": "cat.png", "../../etc/passwd": "passwd", `C:\x\y.txt`: "y.txt", "": "file", "..": "file",
		"a\x00b\n.txt": "ab.txt", "\u202egnp.exe": "gnp.exe", "über größe.pdf": "über größe.pdf", "x.": "x",
	} {
		if got := FileName(given); got != want {
			t.Errorf("FileName(%q) = %q, want %q", given, got, want)
		}
	}
	for mediaType, want := range map[string]Kind{
		"image/png": KindPicture, "image/svg+xml": KindFile, "text/html; charset=utf-8": KindFile,
		"application/pdf": KindPage, "audio/ogg": KindSound, "video/mp4": KindFilm, "": KindFile, "\x00": KindFile,
	} {
		if got := KindOf(mediaType); got != want {
			t.Errorf("KindOf(%q) = %s, want %s", mediaType, got, want)
		}
	}
	c := Chat{Tags: []string{"b", " a ", "b"}}
	if err := c.Check(); err != nil || fmt.Sprint(c.Tags) != "[a b]" {
		t.Errorf("%v, %v", c.Tags, err)
	}
}

// A secret shows in no format.
func TestSecret(t *testing.T) {
	t.Parallel()
	s := Secret("sk-123")
	j, err := json.Marshal(struct{ Key Secret }{s})
	if all := fmt.Sprintf("%v %s %#v %+v %s", s, s, s, struct{ K Secret }{s}, j); err != nil || strings.Contains(all, "123") {
		t.Errorf("%s, %v", all, err)
	}
}
