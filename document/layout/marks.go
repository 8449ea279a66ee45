package layout

import (
	"strings"

	"github.com/crossattn/xpipe/document"
)

// listMark returns the mark that an item of a list begins with: a bullet, a number or a letter with a
// point or bracket.
func listMark(text string) (mark string, ok bool) {
	first, _, _ := strings.Cut(text, " ")
	if document.IsBullet(first) {
		return first, true
	}
	body := strings.TrimPrefix(first, "(")
	inner := strings.TrimRight(body, ".)")
	if inner == body || inner == "" || len(inner) > 3 {
		return "", false
	}
	if strings.Trim(inner, "0123456789") == "" || len(inner) == 1 && inner[0] >= 'a' && inner[0] <= 'z' ||
		strings.Trim(inner, "ivx") == "" {
		return first, true
	}
	return "", false
}
