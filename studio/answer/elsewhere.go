package answer

import (
	"bytes"
	"cmp"
	"context"
	"image/jpeg"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/studio"
	"github.com/crossattn/xpipe/studio/upstream"
	"github.com/crossattn/xpipe/vision"
)

// painters are parts of the names of models that draw.
var painters = []string{"dall-e", "gpt-image", "flux", "ideogram", "imagen", "stable-diffusion", "sdxl", "recraft", "image-1"}

// draws reports whether a model of that name makes pictures, and writes no text.
func draws(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(painters, func(p string) bool { return strings.Contains(name, p) })
}

// elsewhere has a model of an upstream answer.
func (d *Desk) elsewhere(ctx context.Context, q Question, w *writer) error {
	c, err := d.client(ctx, q.Model.Upstream)
	if err != nil {
		return err
	}
	if draws(q.Model.Name) {
		return d.draw(ctx, c, q, w)
	}
	r := upstream.Request{Model: q.Model.Name}
	if t, ok := number(q.Settings, "temperature"); ok {
		r.Temperature = &t
		w.used("temperature", t)
	}
	if n, ok := number(q.Settings, "max_new_tokens"); ok && n >= 1 {
		r.MaxTokens = int(n)
		w.used("max_new_tokens", r.MaxTokens)
	}
	if n, ok := number(q.Settings, "seed"); ok && n >= 0 {
		seed := uint64(n)
		r.Seed = &seed
		w.used("seed", seed)
	}
	if q.Persona != nil && q.Persona.Instructions != "" {
		r.Messages = append(r.Messages, upstream.Message{Role: "system", Text: q.Persona.Instructions})
	}
	for _, m := range q.Branch {
		said, err := d.message(ctx, m)
		if err != nil {
			return err
		}
		if said.Text != "" || len(said.Files) > 0 {
			r.Messages = append(r.Messages, said)
		}
	}
	w.used("task", TaskWrite)
	answer, err := c.Chat(ctx, r, func(piece string) bool { w.say(piece); return ctx.Err() == nil })
	a := &w.reply.Answer
	a.Tokens, a.Prompt, a.Finish = answer.Tokens, answer.Prompt, answer.Finish
	return err
}

// message makes a message for an upstream: pictures and sounds go as they are, documents as their texts.
func (d *Desk) message(ctx context.Context, m *studio.Message) (upstream.Message, error) {
	said := upstream.Message{Role: string(m.Role), Text: m.Text()}
	if m.Role != studio.RoleUser { // what models drew is theirs
		return said, nil
	}
	var texts []string
	for _, p := range m.Parts {
		switch p.Kind {
		case studio.KindPicture:
			f, err := d.picture(ctx, p)
			if err != nil {
				return said, err
			}
			said.Files = append(said.Files, f)
		case studio.KindSound:
			data, err := d.read(ctx, p)
			if err != nil {
				return said, err
			}
			said.Files = append(said.Files, upstream.File{Name: p.Name, Type: p.Type, Data: data})
		case studio.KindFilm:
			frames, err := d.frames(ctx, p, 4)
			if err != nil {
				return said, err
			}
			for _, img := range frames {
				var b bytes.Buffer
				if err := jpeg.Encode(&b, img, nil); err != nil {
					return said, err
				}
				said.Files = append(said.Files, upstream.File{Name: p.Name, Type: "image/jpeg", Data: b.Bytes()})
			}
		case studio.KindPage, studio.KindFile:
			text, err := d.textOf(ctx, p)
			if err != nil {
				return said, err
			}
			texts = append(texts, "["+p.Name+"]\n"+text)
		}
	}
	said.Text = strings.Join(append(texts, said.Text), "\n\n")
	return said, nil
}

// usual are the media types of pictures that services take.
var usual = []string{"image/png", "image/jpeg", "image/webp", "image/gif"}

// picture is a picture for an upstream, as a JPEG where it is of a kind that few services know.
func (d *Desk) picture(ctx context.Context, p studio.Part) (upstream.File, error) {
	data, err := d.read(ctx, p)
	if err != nil || slices.Contains(usual, p.Type) {
		return upstream.File{Name: p.Name, Type: p.Type, Data: data}, err
	}
	img, err := vision.Decode(bytes.NewReader(data))
	if err != nil {
		return upstream.File{}, err
	}
	var b bytes.Buffer
	err = jpeg.Encode(&b, img, &jpeg.Options{Quality: 90})
	return upstream.File{Name: p.Name, Type: "image/jpeg", Data: b.Bytes()}, err
}

// mostDrawn bounds a drawn picture, in bytes.
const mostDrawn = 64 << 20

// draw has an upstream draw what the last message says.
func (d *Desk) draw(ctx context.Context, c *upstream.Client, q Question, w *writer) error {
	prompt := q.Branch[len(q.Branch)-1].Text()
	if prompt == "" {
		return cannot("%s draws what a text says: write one", q.Model.Name)
	}
	if q.Persona != nil && q.Persona.Instructions != "" {
		prompt = q.Persona.Instructions + "\n\n" + prompt
	}
	size, _ := q.Settings["size"].(string)
	if size != "" {
		w.used("size", size)
	}
	w.used("task", TaskDraw)
	files, err := c.Draw(ctx, upstream.Drawing{Model: q.Model.Name, Prompt: prompt, Size: size})
	if err != nil {
		return err
	}
	for _, f := range files {
		blob, err := d.Store.PutBlob(ctx, bytes.NewReader(f.Data), mostDrawn)
		if err != nil {
			return err
		}
		w.reply.Parts = append(w.reply.Parts, studio.Part{
			Kind: studio.KindPicture, Blob: blob.Hash, Name: f.Name, Type: f.Type, Size: cmp.Or(blob.Size, int64(len(f.Data))),
		})
	}
	return nil
}
