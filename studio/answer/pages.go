package answer

import (
	"bytes"
	"context"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/studio"
	"github.com/crossattn/xpipe/vision"
)

// readPages writes down what is written on the pictures and documents of the conversation, each word with its
// place.
func (d *Desk) readPages(ctx context.Context, q Question, w *writer) error {
	parts := attached(q.Branch, studio.KindPicture, studio.KindPage)
	if len(parts) == 0 {
		return cannot("%s writes down what is written on a picture or a page: attach one", q.Model.Name)
	}
	w.used("task", TaskRead)
	for i, p := range parts {
		if i > 0 {
			w.say("\n\n")
		}
		begun := w.text.Len()
		if err := d.readPart(ctx, p, w); err != nil {
			return named(p, err)
		}
		if w.text.Len() == begun {
			w.say("(nothing is written there)")
		}
	}
	return nil
}

func (d *Desk) readPart(ctx context.Context, p studio.Part, w *writer) error {
	if p.Kind == studio.KindPicture && p.Type != "image/tiff" {
		data, err := d.read(ctx, p)
		if err != nil {
			return err
		}
		img, err := vision.Decode(bytes.NewReader(data))
		if err != nil {
			return err
		}
		page, err := d.readPicture(ctx, img)
		if err != nil {
			return err
		}
		w.page(p, api.NewPage(p.Name, 0, page, 0))
		return nil
	}
	if p.Type != "application/pdf" && p.Type != "image/tiff" {
		text, err := d.textOf(ctx, p)
		w.say(text)
		return err
	}
	_, err := d.pages(ctx, p, true, func(page api.Page) {
		if page.Number > 1 {
			w.say("\n\n")
		}
		w.page(p, page)
	})
	return err
}

// page says what a page says. The number of a picture is 0.
func (w *writer) page(p studio.Part, page api.Page) {
	from := w.text.Len()
	w.say(page.Text)
	at := aligner{text: w.text.String(), at: from}
	for _, line := range page.Lines {
		for _, written := range line.Words {
			word, ok := at.next(written.Text)
			if !ok {
				continue
			}
			word.LogProb = logOf(written.Confidence)
			word.Sources = []studio.Source{{
				Blob: p.Blob, Page: page.Number, Boxes: [][4]float64{boxOf(written.Quad)}, Label: written.Text,
			}}
			w.reply.Answer.Words = append(w.reply.Answer.Words, word)
		}
	}
}

// boxOf is the box around a quadrilateral.
func boxOf(q pipeline.Quad) [4]float64 {
	box := [4]float64{1, 1, 0, 0}
	for _, corner := range q {
		box[0], box[1] = min(box[0], corner[0]), min(box[1], corner[1])
		box[2], box[3] = max(box[2], corner[0]), max(box[3], corner[1])
	}
	return box
}

// quoted finds the words of an answer that stand in documents of the conversation: runs of two and more words,
// and single ones that are long or numbers.
func (d *Desk) quoted(ctx context.Context, branch []*studio.Message, text string) ([]studio.Word, error) {
	var words []studio.Word
	var keys []string
	at := aligner{text: text}
	for _, f := range strings.Fields(text) {
		if word, ok := at.next(f); ok {
			words, keys = append(words, word), append(keys, plainWord(f))
		}
	}
	type place struct {
		key    string
		source studio.Source
	}
	var places []place
	for _, m := range branch {
		for _, p := range m.Parts {
			if p.Kind != studio.KindPage || p.Type != "application/pdf" && p.Type != "image/tiff" {
				continue
			}
			pages, err := d.pages(ctx, p, true, nil)
			if err != nil {
				return nil, err
			}
			for _, page := range pages {
				for _, line := range page.Lines {
					for _, written := range line.Words {
						if key := plainWord(written.Text); key != "" {
							places = append(places, place{key, studio.Source{
								Blob: p.Blob, Page: page.Number, Boxes: [][4]float64{boxOf(written.Quad)}, Label: written.Text,
							}})
						}
					}
				}
			}
		}
	}
	where := map[string][]int{}
	for i, p := range places {
		where[p.key] = append(where[p.key], i)
	}
	for i := 0; i < len(words); {
		best, length := -1, 0
		for _, start := range where[keys[i]] {
			n := 0
			for i+n < len(words) && start+n < len(places) && keys[i+n] == places[start+n].key {
				n++
			}
			if n > length {
				best, length = start, n
			}
		}
		if best < 0 || length == 1 && !telling(keys[i]) {
			i++
			continue
		}
		for n := range length {
			words[i+n].Sources = []studio.Source{places[best+n].source}
		}
		i += length
	}
	return words, nil
}

// plainWord is a word as it is compared: in lower case, without what stands around it.
func plainWord(word string) string {
	return strings.ToLower(strings.Trim(word, ".,;:!?\"'“”‘’()[]{}*_`#<>-–—|"))
}

// telling reports whether a word says something by itself: it is long, or a number.
func telling(key string) bool {
	return len([]rune(key)) >= 6 || strings.ContainsAny(key, "0123456789")
}
