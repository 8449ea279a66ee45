package api

import "testing"

func TestNearest(t *testing.T) {
	t.Parallel()
	verbs := []string{"caption", "ask", "match", "classify", "embed", "attend", "run", "runtime"}
	for word, want := range map[string]string{
		"captoin": "caption", "Caption": "caption", "capt": "caption", "clasify": "classify",
		"aks": "ask", "atend": "attend", "runtiem": "runtime", "describe": "", "x": "", "": "",
		"emebd": "embed", "caption2": "caption",
	} {
		if got := Nearest(word, verbs); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
	for words, want := range map[[2]string]int{
		{"", ""}: 0, {"", "ab"}: 2, {"ab", "ba"}: 1, {"kitten", "sitting"}: 3, {"löwe", "lowe"}: 1,
	} {
		if got := typos(words[0], words[1]); got != want {
			t.Errorf("%v: %d, want %d", words, got, want)
		}
	}
	if got := DidYouMean("ort2", []string{"go", "ort"}); got != `; did you mean "ort"?` {
		t.Errorf("%q", got)
	}
}
