package studio

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Persona is a way to answer: who speaks, with which model and settings.
type Persona struct {
	ID           ID             `json:"id"`
	Workspace    ID             `json:"workspace"`
	Name         string         `json:"name"`
	Instructions string         `json:"instructions,omitempty"` // the system's message
	Model        string         `json:"model,omitempty"`        // "": the chat's
	Upstream     ID             `json:"upstream,omitempty"`     // of the model; "": it runs here
	Settings     map[string]any `json:"settings,omitempty"`
	Prompts      []string       `json:"prompts,omitempty"` // offered when a chat begins
	Stamp
}

// Check reports what breaks a rule.
func (p *Persona) Check() error { return checkName("persona", p.Name) }

// Prompt is a saved prompt. Its text has places to fill in: {{name}}.
type Prompt struct {
	ID        ID         `json:"id"`
	Workspace ID         `json:"workspace"`
	Name      string     `json:"name"`
	Text      string     `json:"text"`
	Variables []Variable `json:"variables,omitempty"` // those that are not mere texts, or have a default
	Parts     []Part     `json:"parts,omitempty"`     // attachments that go with it, before the text
	Persona   ID         `json:"persona,omitempty"`
	Tags      []string   `json:"tags,omitempty"`
	Pinned    bool       `json:"pinned,omitempty"`
	Stamp
}

// Variable says what fills a place of a prompt.
type Variable struct {
	Name    string `json:"name"`
	Kind    Kind   `json:"kind"` // text, or what has to be attached: the place is a slot
	Default string `json:"default,omitempty"`
	Help    string `json:"help,omitempty"`
}

// place matches {{name}}, and \{{ which is two braces.
var place = regexp.MustCompile(`\\\{\{|\{\{ *([\pL_][\pL\pN_-]*) *\}\}`)

var variableName = regexp.MustCompile(`^[\pL_][\pL\pN_-]*$`)

// Check reports what breaks a rule.
func (p *Prompt) Check() error {
	if err := checkName("prompt", p.Name); err != nil {
		return err
	}
	if !utf8.ValidString(p.Text) {
		return invalid("the prompt is not UTF-8")
	}
	var err error
	if p.Tags, err = checkTags(p.Tags); err != nil {
		return err
	}
	seen := map[string]bool{}
	for i := range p.Variables {
		v := &p.Variables[i]
		if v.Kind == "" {
			v.Kind = KindText
		}
		switch v.Kind {
		case KindText, KindPicture, KindPage, KindSound, KindFilm, KindFile:
		default:
			return invalid("there is no kind %q of the variable %q", v.Kind, v.Name)
		}
		if !variableName.MatchString(v.Name) {
			return invalid("%q is no name of a variable: letters, digits, - and _", v.Name)
		}
		if seen[v.Name] {
			return invalid("the variable %q is there twice", v.Name)
		}
		seen[v.Name] = true
	}
	for i := range p.Parts {
		if err := p.Parts[i].Check(); err != nil {
			return err
		}
	}
	return nil
}

// Places lists the variables that the text has, each once, in their order, with what Variables says
// of them.
func (p *Prompt) Places() []Variable {
	var list []Variable
	for _, m := range place.FindAllStringSubmatch(p.Text, -1) {
		name := m[1]
		if name == "" || slices.ContainsFunc(list, func(v Variable) bool { return v.Name == name }) {
			continue
		}
		v := Variable{Name: name, Kind: KindText}
		if i := slices.IndexFunc(p.Variables, func(v Variable) bool { return v.Name == name }); i >= 0 {
			v = p.Variables[i]
		}
		list = append(list, v)
	}
	return list
}

// Values fill the places of a prompt.
type Values struct {
	Texts map[string]string // by variable
	Files map[string][]Part // attachments, by variable
}

// Render fills the prompt's places: texts stand in the text, attachments where their slots are. A
// text that is not given is the default; one that has none, and a slot without an attachment of its
// kind, is an error that names it. Values are not read for places again. \{{ stands for two braces.
func (p *Prompt) Render(values Values) ([]Part, error) {
	var missing []string
	for _, v := range p.Places() {
		if v.Kind != KindText {
			for _, part := range values.Files[v.Name] {
				if part.Kind != v.Kind && v.Kind != KindFile {
					return nil, invalid("{{%s}} takes a %s, and %q is a %s", v.Name, v.Kind, part.Name, part.Kind)
				}
			}
			if len(values.Files[v.Name]) == 0 {
				missing = append(missing, v.Name)
			}
		} else if _, ok := values.Texts[v.Name]; !ok && v.Default == "" {
			missing = append(missing, v.Name)
		}
	}
	if missing != nil {
		return nil, invalid("fill in %s", strings.Join(missing, ", "))
	}
	kinds := map[string]Variable{}
	for _, v := range p.Places() {
		kinds[v.Name] = v
	}
	parts := slices.Clone(p.Parts)
	var text strings.Builder
	flush := func() {
		if s := strings.TrimSpace(text.String()); s != "" {
			parts = append(parts, TextPart(s))
		}
		text.Reset()
	}
	last := 0
	for _, m := range place.FindAllStringSubmatchIndex(p.Text, -1) {
		text.WriteString(p.Text[last:m[0]])
		last = m[1]
		if m[2] < 0 {
			text.WriteString("{{")
			continue
		}
		v := kinds[p.Text[m[2]:m[3]]]
		if v.Kind != KindText {
			flush()
			parts = append(parts, values.Files[v.Name]...)
		} else if value, ok := values.Texts[v.Name]; ok {
			text.WriteString(value)
		} else {
			text.WriteString(v.Default)
		}
	}
	text.WriteString(p.Text[last:])
	flush()
	if len(parts) == 0 {
		return nil, invalid("the prompt is empty")
	}
	return parts, nil
}

// checkTags trims and sorts tags, and takes out what is double.
func checkTags(tags []string) ([]string, error) {
	var list []string
	for _, tag := range tags {
		tag = strings.TrimSpace(tag)
		if err := checkName("tag", tag); err != nil {
			return nil, err
		}
		list = append(list, tag)
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}
