package ollama

import (
	"strings"
	"testing"

	"github.com/crossattn/xpipe/server/serving"
)

// However a text is cut into tokens, what is let out and what is held back are the text, or what stands
// around its calls.
func TestOutlet(t *testing.T) {
	t.Parallel()
	const call = `<tool_call>{"name":"look","arguments":{}}</tool_call>`
	for _, test := range []struct {
		text, want string
		calls      int
	}{
		{" It is 1 < 2, or <tool. ", "It is 1 < 2, or <tool.", 0},
		{"Let me see.\n" + call, "Let me see.", 1},
		{call + call, "", 2},
		{` {"name":"look","arguments":{}}`, "", 1},
		{`{"name":"fly"}`, `{"name":"fly"}`, 0},
		{"<tool_call>nothing", "<tool_call>nothing", 0},
		{"Well STOP " + call, "Well", 0},
	} {
		for _, size := range []int{1, 3, 100} {
			o := outlet{pieces: serving.Pieces{Stops: []string{"STOP"}}, tools: []string{"look"}}
			var got string
			for rest := test.text; rest != ""; {
				n := min(size, len(rest))
				got += o.push(rest[:n])
				rest = rest[n:]
			}
			if strings.Contains(got, "{") && test.calls > 0 {
				t.Errorf("%q: a call is let out: %q", test.text, got)
			}
			rest, calls := o.end()
			if got += rest; got != test.want || len(calls) != test.calls {
				t.Errorf("%q by %d: %q and %d calls, want %q and %d", test.text, size, got, len(calls), test.want, test.calls)
			}
		}
	}
}
