package pipeline

import (
	"cmp"
	"encoding/json"
	"fmt"
	"image"
	"reflect"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/pipeline/graph"
)

// Request asks for text about a picture. It is a list of Parts; Image, Question, Shots, Regions,
// Encoded, Item, Sound and Messages are short forms for the usual lists, and become Parts before anything else
// is done.
type Request struct {
	Image    image.Image
	Question string // "" asks for a caption
	// Prompt is the text that the model reads, as it is. Where it is "", the bundle's template for
	// the task makes one of the question.
	Prompt string
	// Shots are examples that stand before the request, for Flamingo's kind of model.
	Shots []Shot
	// Regions take the picture's place for models that read an object detector's output (LXMERT).
	// Where they are nil, such a model makes its own from Image if its bundle has a region encoder;
	// see Pipeline.Regions. Other models ignore them.
	Regions *Regions
	// Encoded is a result of Pipeline.Encode; it takes the picture's place.
	Encoded *Encoded
	// Item, such as a result of Pipeline.Prepare, takes the place of Image and Regions.
	Item media.Item
	// Sound stands behind the picture, for models that see and hear, or alone: an *audio.Sound at
	// Pipeline.HearingRate, or a result of Pipeline.Encode.
	Sound media.Item
	// Messages, where there are any, are a conversation, which the model's chat template lays out and
	// which the assistant is to go on with. Chat keeps one.
	Messages []Message
	// Parts, where there are any, are the whole request: text and items in their order. Models
	// that take one item want it first, with text behind it; Flamingo's kind takes any order.
	Parts []Part
	// Variables are what the chat template is given beside the messages, in JSON, such as "tools".
	Variables map[string]json.RawMessage
}

// Shot is an example of what the model should write.
type Shot struct {
	Image    image.Image
	Question string // "" stands for the request's
	Text     string // the caption or answer
	// Item takes Image's place, such as a result of Pipeline.Encode where many requests share an
	// example.
	Item media.Item
}

// Part is a piece of a prompt: an item (Item, or Image for a picture), or else text.
type Part struct {
	Text  string
	Image image.Image // short for media.Picture{Image} as Item
	Item  media.Item
	// Role makes the part one of a conversation, which the model's chat template lays out:
	// "system", "user" or "assistant". Neighbouring parts of one role are one message. Without any
	// role the parts are the prompt as the model reads it.
	Role string
	// Begins says that the part begins a message, though the one before has the same role.
	Begins bool
	// Extra is a JSON object of what the part's message has for the template beside role and content,
	// such as tool_calls; nil: nothing.
	Extra json.RawMessage
}

// prompt is a request as the families take it.
type prompt struct {
	parts []family.Part
	items []media.Item // of parts, in order
	text  string       // of parts, joined
}

// itemsOf lists the items of each prompt.
func itemsOf(prompts []prompt) [][]media.Item {
	items := make([][]media.Item, len(prompts))
	for i, q := range prompts {
		items[i] = q.items
	}
	return items
}

// prompts turns requests into parts. Every call does so first, and once.
func (p *Pipeline) prompts(requests []Request) ([]prompt, error) {
	converser, converses := p.model.(family.Converser)
	_, chats := p.model.(family.Chatter)
	_, writes := p.model.(family.Writer)
	prompts := make([]prompt, len(requests))
	for i, r := range requests {
		if len(r.Shots) > 0 && !converses {
			return nil, p.unsupported("read examples or several pictures")
		}
		parts := append(partsOf(r.Messages), r.Parts...)
		if len(parts) == 0 {
			var err error
			if parts, err = p.spell(r, converser); err != nil {
				return nil, err
			}
		}
		q := &prompts[i]
		for _, part := range parts {
			if part.Item == nil && part.Image != nil {
				part.Item = media.Picture{Image: part.Image}
			}
			q.parts = append(q.parts, family.Part{
				Text: part.Text, Item: part.Item, Role: part.Role, Begins: part.Begins, Extra: part.Extra,
			})
			if part.Item != nil {
				q.items = append(q.items, part.Item)
			} else {
				q.text += part.Text
			}
		}
		if len(q.parts) > 0 {
			q.parts[0].Variables = r.Variables
		}
		switch {
		case converses || chats || !writes:
		case len(q.items) == 0:
			return nil, fmt.Errorf("%w: there is no picture", ErrImage)
		case len(q.items) > 1:
			return nil, p.unsupported("read examples or several pictures")
		}
		for _, item := range q.items {
			if err := p.checkItem(item); err != nil {
				return nil, err
			}
		}
	}
	return prompts, nil
}

// spell turns the short forms of a request into parts.
func (p *Pipeline) spell(r Request, converser family.Converser) ([]Part, error) {
	var parts []Part
	for _, shot := range r.Shots {
		text, err := p.template(Request{Question: cmp.Or(shot.Question, r.Question)})
		if err != nil {
			return nil, err
		}
		example := text + " " + shot.Text + converser.ExampleEnd()
		parts = append(parts, Part{Image: shot.Image, Item: shot.Item}, Part{Text: example})
	}
	text, err := p.template(r)
	if err != nil {
		return nil, err
	}
	role := ""
	if m, ok := p.model.(family.Chatter); ok && m.Chats() && r.Prompt == "" {
		role = "user"
	}
	switch {
	case r.Encoded != nil:
		parts = append(parts, Part{Item: r.Encoded, Role: role})
	case r.Item != nil:
		parts = append(parts, Part{Item: r.Item, Role: role})
	case r.Regions != nil && slices.Contains(p.model.Media(), media.Regions):
		parts = append(parts, Part{Item: r.Regions})
	case r.Image != nil:
		parts = append(parts, Part{Image: r.Image, Role: role})
	}
	if r.Sound != nil {
		parts = append(parts, Part{Item: r.Sound, Role: role})
	}
	return append(parts, Part{Text: text, Role: role}), nil
}

// template returns the text of a request without its pictures.
func (p *Pipeline) template(r Request) (string, error) {
	switch hears := p.hearsAlone(); {
	case hears && r.Encoded == nil && r.Item == nil && r.Sound == nil:
		return "", p.hears()
	case hears || r.Prompt != "":
		return r.Prompt, nil
	}
	task, text := "answer", strings.TrimSpace(r.Question)
	if text == "" {
		task = "caption"
	}
	template, ok := p.bundle.Prompts[task]
	if !ok {
		instead := "; have it caption the picture, or give the prompt as the model reads it"
		if task == "caption" {
			instead = "; ask it something"
		}
		return "", fmt.Errorf("%w: model %s has no prompt for the task %q%s",
			ErrUnsupported, p.bundle.Name, task, instead)
	}
	return strings.Replace(template, "{}", text, 1), nil
}

// checkTasks refuses a request without a text where the model was not made to caption.
func (p *Pipeline) checkTasks(requests []Request) error {
	tasks := p.bundle.Tasks
	if len(tasks) == 0 || slices.Contains(tasks, "caption") {
		return nil
	}
	for _, r := range requests {
		text := r.Prompt + strings.TrimSpace(r.Question)
		for _, part := range r.Parts {
			text += part.Text
		}
		if text == "" && len(r.Messages) == 0 && len(r.Shots) == 0 {
			instead := "ask it something"
			if _, converses := p.model.(family.Converser); converses {
				instead += ", or show it examples"
			}
			return fmt.Errorf(
				"%w: model %s describes no picture by itself: %s; it was made for: %s",
				ErrUnsupported, p.bundle.Name, instead, strings.Join(tasks, ", "))
		}
	}
	return nil
}

// checkItem refuses an item that is nil, is too large, or was encoded by another Pipeline.
func (p *Pipeline) checkItem(item media.Item) error {
	switch v := item.(type) {
	case nil:
		return fmt.Errorf("%w: there is no item", ErrImage)
	case media.Picture:
		return p.checkPicture(v.Image)
	case *Encoded:
		if v == nil || v.of != p {
			return fmt.Errorf("%w: what was encoded is another model's", ErrPrompt)
		}
	case *Prepared:
		if v == nil || v.of != p {
			return fmt.Errorf("%w: what was prepared is another model's", ErrPrompt)
		}
	case *Regions:
		if v == nil {
			return fmt.Errorf("%w: there are no regions", ErrRegions)
		}
	default:
		if isNil(item) {
			return fmt.Errorf("%w: there is no item, but a nil %T", ErrImage, item)
		}
	}
	return nil
}

// checkPicture refuses a picture that is nil or too large.
func (p *Pipeline) checkPicture(img image.Image) error {
	if isNil(img) {
		return fmt.Errorf("%w: there is no picture", ErrImage)
	}
	width, height := img.Bounds().Dx(), img.Bounds().Dy()
	longer := max(width, height)
	err := graph.CheckLimit("ImageSide", "pixels of a picture's longer side", longer, p.limits.ImageSide)
	if err != nil {
		return err
	}
	pixels := int64(width) * int64(height)
	return graph.CheckLimit("ImagePixels", "pixels of a picture", pixels, int64(p.limits.ImagePixels))
}

// isNil reports whether an interface holds nothing, or a nil pointer.
func isNil(v any) bool {
	value := reflect.ValueOf(v)
	return !value.IsValid() || value.Kind() == reflect.Pointer && value.IsNil()
}
