package donut_test

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/document/donut"
)

func known(token string) bool { return token == "<paid/>" || token == "<a b/>" }

// Fields are what DonutProcessor's token2json makes: testdata/document/donut.py.
func TestFields(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../testdata/document/donut.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Text   string
		Fields any
	}
	if err := json.Unmarshal(data, &cases); err != nil || len(cases) < 20 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, c := range cases {
		if got := donut.Fields(c.Text, known); !reflect.DeepEqual(got, c.Fields) {
			t.Errorf("%q:\n%#v, want\n%#v", c.Text, got, c.Fields)
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "plain < text": "plain < text", "<s_open>cut of": "cut of",
		"<s_menu><s_nm>Tea</s_nm><s_price>1</s_price><sep/><s_nm> Cake</s_nm></s_menu><s_c><paid/></s_c>": "Tea\n1\nCake\npaid",
		donut.WithoutTask("<s_docvqa><s_question>who?</s_question><s_answer>") + "Ann</s_answer>":         "who?\nAnn",
	} {
		if got := donut.Text(text, known); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func many(of func(i int) string) string {
	var b strings.Builder
	for i := range 700 {
		b.WriteString(of(i))
	}
	return b.String()
}

// A model may write anything: it takes a bounded time, and no text panics.
func FuzzFields(f *testing.F) {
	for _, s := range []string{
		"<s_a>x</s_a>", strings.Repeat("<s_a>", 500), strings.Repeat("<s_a>", 500) + strings.Repeat("</s_a>", 500),
		strings.Repeat("<s_a>1</s_a><sep/>", 500), "<S_a>x</s_A>", strings.Repeat("<s_", 3000) + ">",
		many(func(i int) string { return fmt.Sprintf("<s_%d>", i) }), many(func(i int) string { return fmt.Sprintf("<s_%d>x</s_%d>", i, i) }),
		"<s_\xff>x</s_\xff>", "<s_<s_a>_b>",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 10_000 {
			return
		}
		fields := donut.Fields(text, known)
		if _, err := json.Marshal(fields); err != nil {
			t.Error(err)
		}
		donut.Text(text, known)
	})
}
