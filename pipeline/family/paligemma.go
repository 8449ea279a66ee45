package family

import "strings"

// paligemmaKinds are PaliGemma (Beyer et al., 2407.07726): the pictures' rows, the token that begins
// texts, and the prompt as a line.
var paligemmaKinds = []imageKind{{
	types: []string{"paligemma"}, around: "%s", token: "<image>", first: 1, bare: true,
	finish: paligemmaPrompt, caption: "caption en", answer: "answer en {}",
}}

// paligemmaPrompt sets the token behind the last row, and ends the line (processing_paligemma.py,
// transformers 4.57).
func paligemmaPrompt(m *imageTokens, prompt string) string {
	at := 0
	if last := strings.LastIndex(prompt, m.tokenText); last >= 0 {
		at = last + len(m.tokenText)
	}
	return prompt[:at] + m.begin + prompt[at:] + "\n"
}
