package studio

import (
	"fmt"
	"io"
	"net/url"
	"strings"
)

// WriteMarkdown writes a chat as Markdown: the branch that is shown, with all answers that stand side
// by side. file gives the path of an attachment's file, beside the text.
func WriteMarkdown(w io.Writer, chat *Chat, messages []Message, file func(Part) string) error {
	tree := NewTree(messages)
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", markdownLine(chat.Title))
	for _, shown := range tree.Branch(chat.Leaf) {
		for _, m := range tree.SideBySide(shown.ID) {
			fmt.Fprintf(&b, "\n## %s\n", markdownLine(heading(m)))
			for _, p := range m.Parts {
				b.WriteByte('\n')
				switch {
				case p.Kind == KindText:
					b.WriteString(strings.TrimRight(p.Text, "\n") + "\n")
				case p.Kind == KindPicture:
					fmt.Fprintf(&b, "![%s](%s)\n", markdownLine(p.Name), address(file(p)))
				default:
					fmt.Fprintf(&b, "[%s](%s)\n", markdownLine(p.Name), address(file(p)))
				}
			}
			if m.Error != "" {
				fmt.Fprintf(&b, "\n> %s\n", markdownLine(m.Error))
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// heading says who speaks, when, and what an answer says of itself.
func heading(m *Message) string {
	who := map[Role]string{RoleUser: "You", RoleSystem: "Instructions", RoleAssistant: "Answer"}[m.Role]
	list := []string{who, m.Created.UTC().Format("2006-01-02 15:04")}
	if a := m.Answer; a != nil {
		if a.Model != "" {
			list[0] = a.Model
		}
		if a.PersonaName != "" {
			list[0] += " as " + a.PersonaName
		}
		if a.Seconds > 0 {
			list = append(list, fmt.Sprintf("%.1f s", a.Seconds))
		}
		if a.Confidence != nil {
			list = append(list, fmt.Sprintf("%.0f %% sure", 100**a.Confidence))
		}
		if a.Unsure {
			list = append(list, "unsure")
		}
	}
	if m.State != Done {
		list = append(list, string(m.State))
	}
	return strings.Join(list, " · ")
}

// markdownLine is a text in one line that Markdown takes for nothing else.
func markdownLine(text string) string {
	var b strings.Builder
	for _, r := range strings.Join(strings.Fields(text), " ") {
		if strings.ContainsRune("\\`*_{}[]<>#|!&", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// address is a path as a link has it.
func address(path string) string {
	at := url.URL{Path: path}
	return strings.NewReplacer("(", "%28", ")", "%29").Replace(at.EscapedPath())
}
