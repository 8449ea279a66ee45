package own

import (
	"context"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// findFields are the fields of find.
var findFields = []field{
	{name: "text", usage: "what is sought, in words"},
	{name: "like", file: true, usage: "a picture that hits look like"},
	{name: "in", many: true, commas: true, usage: "photos, pages or sounds, with commas between; without it all"},
	{name: "after", usage: "only what was taken, or changed, at a date or later, such as 2024-05-31 or 2024"},
	{name: "where", usage: "only what lies at a path of the server, in or below a folder, or fits a pattern"},
	{name: "limit", kind: "integer", usage: "the best so many hits; without it 20, and 0: all"},
	{name: "explain", kind: "boolean", usage: "say where each hit stands in each list"},
	{name: "all", kind: "boolean", usage: "list what the library holds, in the place of a text or picture"},
}

// find searches the server's library.
func (q *query) find() error {
	sought := api.Sought{
		Text: strings.TrimSpace(q.value("text")), In: q.values["in"], After: q.value("after"), Where: q.value("where"),
		Limit: 20,
	}
	var err error
	if text := q.value("limit"); text != "" {
		if sought.Limit, err = strconv.Atoi(text); err != nil || sought.Limit < 0 {
			return web.Badf("limit is %q, not a number from 0 on", web.Shortened(text))
		}
	}
	all := false
	for name, to := range map[string]*bool{"explain": &sought.Explain, "all": &all} {
		if text := q.value(name); text != "" {
			if *to, err = strconv.ParseBool(text); err != nil {
				return web.Badf("%s is %q, not true or false", name, web.Shortened(text))
			}
		}
	}
	var like []byte
	if files := q.files["like"]; len(files) > 0 {
		like = files[0].Data
	}
	if asked := sought.Text != "" || like != nil; asked == all {
		return web.Badf("find needs the field text, a file of the field like, or all=true")
	}
	hits, err := Find(q.ctx, q.service, sought, like, q.value("model"))
	for _, hit := range hits {
		q.lines = append(q.lines, hit)
	}
	return err
}

// Find searches the library of a service. like is a picture's file, nil for none; model is the library's
// own, unless it has another name here.
func Find(ctx context.Context, s *serving.Service, sought api.Sought, like []byte, model string) ([]api.Hit, error) {
	library := s.Library()
	if library == nil {
		return nil, api.WithKind(web.Badf("there is no library here; --store FILE names one that xpipe index made"),
			serving.KindNotAllowed)
	}
	name, hash := library.Model()
	var text, picture []float32
	if hash != "" && (sought.Text != "" || like != nil) {
		if model == "" {
			model = filepath.Base(name)
			if !filepath.IsAbs(name) {
				model = name
			}
		}
		m, release, err := s.Use(ctx, model)
		if err != nil {
			return nil, err
		}
		defer release()
		if here, err := m.P.Bundle().Hash(); err != nil || here != hash {
			return nil, api.WithKind(web.Badf("the library's vectors are of %s in another state; xpipe index --reembed "+
				"makes them anew", web.Shortened(filepath.Base(name))), api.KindUsage)
		}
		if sought.Text != "" {
			if text, err = only(m.EmbedTexts(ctx, sought.Text)); err != nil {
				return nil, err
			}
		}
		if like != nil {
			if picture, err = only(m.EmbedPictures(ctx, like)); err != nil {
				return nil, err
			}
		}
	}
	return library.Find(ctx, sought, text, picture)
}
