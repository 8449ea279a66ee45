package web

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	server "github.com/crossattn/xpipe/server/web"
	"github.com/crossattn/xpipe/studio"
)

// hitView is something that was found.
type hitView struct {
	studio.Hit
	Link, Picture string
}

// search finds messages, by words and by pictures.
func (p *Page) search(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	f, err := p.frame(ctx, r, id(r, "workspace"), "Search")
	if err != nil {
		return err
	}
	f.Here = "search"
	v := r.URL.Query()
	page := struct {
		frame
		Q        url.Values
		Hits     []hitView
		Asked    bool
		Next     string
		Models   []modelView
		Personas []studio.Persona
		Tags     []studio.TagCount
		Problem  string
		Took     float64
	}{frame: f, Q: v, Tags: f.List.Tags}
	if page.Models, err = p.models(ctx, f.Workspace.ID); err != nil {
		return err
	}
	if page.Personas, err = p.store.Personas(ctx, f.Workspace.ID); err != nil {
		return err
	}
	start := time.Now()
	q, asked, err := p.query(ctx, f.Workspace.ID, v)
	if page.Asked = asked; asked && err == nil {
		var hits *studio.Hits
		if hits, err = p.store.Search(ctx, q); err == nil {
			for _, h := range hits.Hits {
				page.Hits = append(page.Hits, viewHit(h))
			}
			if hits.More {
				next, _ := url.ParseQuery(v.Encode())
				next.Set("offset", strconv.Itoa(q.Offset+len(hits.Hits)))
				page.Next = "?" + next.Encode()
			}
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		_, page.Problem = statusOf(err)
	}
	page.Took = time.Since(start).Seconds()
	return p.page(w, "search.html", page)
}

func viewHit(h studio.Hit) hitView {
	v := hitView{Hit: h, Link: "/studio/chats/" + string(h.Chat)}
	if h.Message != "" {
		v.Link += "?at=" + string(h.Message) + "#m-" + string(h.Message)
	}
	if h.Blob != "" {
		v.Picture = "/studio/w/" + string(h.Workspace) + "/blobs/" + string(h.Blob) + "/preview?side=256"
	}
	return v
}

// query makes a query of a form. asked is false where it asks for nothing.
func (p *Page) query(ctx context.Context, workspace studio.ID, v url.Values) (q studio.Query, asked bool, err error) {
	get := func(name string) string { return strings.TrimSpace(v.Get(name)) }
	q = studio.Query{
		Words: get("q"), Model: get("model"), Persona: studio.ID(get("persona")), Kind: studio.Kind(get("kind")), Tag: get("tag"),
		Role: studio.Role(get("role")), Archived: get("archived") != "", Limit: 50,
	}
	if get("everywhere") == "" {
		q.Workspaces = []studio.ID{workspace}
	}
	if text := get("offset"); text != "" {
		if q.Offset, err = strconv.Atoi(text); err != nil || q.Offset < 0 {
			return q, true, server.Badf("offset is a number of 0 or more")
		}
	}
	for name, at := range map[string]*time.Time{"from": &q.From, "until": &q.Until} {
		if text := get(name); text != "" {
			day, err := time.ParseInLocation(time.DateOnly, text, time.Local)
			if err != nil {
				return q, true, server.Badf("%s is no date like 2026-12-31", name)
			}
			if *at = day; name == "until" {
				*at = day.AddDate(0, 0, 1)
			}
		}
	}
	of, like := get("of"), studio.Hash(get("like"))
	switch {
	case like != "":
		part, err := p.store.Attachment(ctx, workspace, like)
		if err != nil {
			return q, true, err
		}
		q.Like, q.LikeModel, err = p.desk.Embed(ctx, *part)
		if err != nil {
			return q, true, err
		}
	case of != "":
		if q.Like, q.LikeModel, err = p.desk.EmbedText(ctx, of); err != nil {
			return q, true, err
		}
	}
	if q.Like != nil {
		if err := p.embedLeft(ctx, q.LikeModel); err != nil {
			return q, true, err
		}
	}
	asked = q.Words != "" || q.Like != nil || q.Model != "" || q.Persona != "" || q.Kind != "" || q.Tag != "" || !q.From.IsZero() || !q.Until.IsZero()
	return q, asked, nil
}

// embeddedAtOnce bounds the pictures that one search embeds before it answers: those that came since the last.
const embeddedAtOnce = 256

// embedLeft embeds pictures that have no vector yet. Pictures are embedded when they are looked for, not when they
// come: to be kept they need no model.
func (p *Page) embedLeft(ctx context.Context, model string) error {
	left, err := p.store.Unembedded(ctx, model, embeddedAtOnce)
	if err != nil {
		return err
	}
	for _, blob := range left {
		vector, _, err := p.desk.Embed(ctx, studio.Part{Kind: studio.KindPicture, Blob: blob, Name: "a picture"})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			vector = []float32{} // a picture that cannot be read is like none, and not tried again
		}
		if err := p.store.SetVector(ctx, blob, model, vector); err != nil {
			return err
		}
	}
	return nil
}
