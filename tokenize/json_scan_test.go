package tokenize

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// sameAsJSON compares what a jsonText reads of a text with what encoding/json reads, and returns
// which of its methods read it.
func sameAsJSON(t *testing.T, text string) (read []string) {
	t.Helper()
	if !json.Valid([]byte(text)) {
		t.Fatalf("%q is no JSON", text)
	}
	check := func(name string, ok bool, got, want any) {
		t.Helper()
		if !ok {
			return
		}
		read = append(read, name)
		if err := json.Unmarshal([]byte(text), want); err != nil {
			t.Errorf("%s reads %q: %v", name, text, err)
			return
		}
		if want = reflect.ValueOf(want).Elem().Interface(); !reflect.DeepEqual(got, want) &&
			reflect.ValueOf(want).Len()+reflect.ValueOf(got).Len() > 0 {
			t.Errorf("%s of %q: %q, want %q", name, text, got, want)
		}
	}
	of := func() *jsonText { return &jsonText{text: text} }
	if got := of().value(); got != strings.TrimSpace(text) {
		t.Errorf("the value of %q is %q", text, got)
	}
	fields, ok := of().members()
	check("members", ok, fields, new(map[string]json.RawMessage))
	ids, size, ok := of().ids()
	check("ids", ok, ids, new(map[string]int32))
	if length := len(strings.Join(slices.Collect(maps.Keys(ids)), "")); ok && size != length {
		t.Errorf("%d bytes of tokens in %q, want %d", size, text, length)
	}
	list, ok := of().strings()
	check("strings", ok, list, new([]string))
	pairs, ok := of().pairs()
	check("pairs", ok, pairs, new([][2]string))
	pieces, ok := of().pieces()
	rows := make([][2]any, len(pieces)) // as lists of any, of which a number is its digits
	for i, p := range pieces {
		rows[i][0] = p.token
		if err := json.Unmarshal([]byte(p.score), &rows[i][1]); ok && err != nil {
			t.Errorf("score %q of %q: %v", p.score, text, err)
		}
	}
	check("pieces", ok, rows, new([][2]any))
	return read
}

// Whatever the text is written like, it is read as encoding/json does, or left to it.
func TestScanEqualsJSON(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{}`: "members ids", ` [ ] `: "strings pairs pieces", `null`: "", `7`: "", `"a"`: "", "{\n}": "members ids",
		`{"a":1,"b":2}`: "members ids", " { \"a\" : 1 ,\r\n\t\"b\"\n:2 } ": "members ids", `{"a":1,"a":2}`: "members ids",
		`{"\"":0,"\\":1,"\\\"":2,"é\u00e9\n":3,"":4,"\ud83d\ude00":5}`: "members ids",
		`{"a":2147483647}`: "members ids", `{"a":2147483648}`: "members", `{"a":99999999999999999999}`: "members", `{"a":-1}`: "members", `{"a":1.0}`: "members", `{"a":1e2}`: "members", `{"a":null}`: "members", `{"a":"1"}`: "members",
		`{"a":{"b":[1,{"c":"}]"}],"d":"\"}"},"e":[[],{}],"f":true,"g":-1.5e-3 }`: "members",
		`["a","b c"," \"[],{}\\"]`:     "strings",
		`["a",null]`:                   "",
		`["a",["b"]]`:                  "",
		`[["a","b"],[ "\u0120" , ""]]`: "pairs pieces",
		`[["a","b","c"]]`:              "", `[["a"]]`: "", `[[]]`: "", `[["a","b"],"c d"]`: "", `[["a",null]]`: "pieces",
		`[["a",-1.5],["▁", 0 ] ,["",-1e-300]]`: "pieces", `[["a",-1.5,2]]`: "", `[[1,-1.5]]`: "", `[["a",[1,{"x":"]"}]]]`: "pieces",
	} {
		if got := strings.Join(sameAsJSON(t, text), " "); got != want {
			t.Errorf("%q is read by %q, want %q", text, got, want)
		}
	}
}

func FuzzScan(f *testing.F) {
	f.Add(`{"a\"":1,"b":[["c","d"],["e",-1.5]],"f":["g"]}`)
	f.Add(`[["a" , "\\"],["b","\"]"]]`)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) < 1<<12 && json.Valid([]byte(text)) && utf8.ValidString(text) {
			sameAsJSON(t, text)
		}
	})
}

// BenchmarkNew opens vocabularies of both ways to write merges, and one of scores.
func BenchmarkNew(b *testing.B) {
	for _, name := range []string{"gpt2", "qwen3", "t5"} {
		data, err := os.ReadFile(tokenizerFile(b, name))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := New(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
