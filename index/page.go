package index

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"image/jpeg"
	"io"
	"net/url"
	"path/filepath"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/vision"
)

//go:embed page.html
var pageHTML string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// thumbnail is the width and height that small pictures fit into.
const thumbnail = 320

// WriteHTML writes hits as a page that stands alone, with small pictures.
func WriteHTML(ctx context.Context, w io.Writer, title string, hits []api.Hit, sources api.Sources) error {
	type card struct {
		api.Hit
		Name, Clock string
		Link        template.URL
		Picture     template.URL
	}
	cards := make([]card, len(hits))
	for i, hit := range hits {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		path := string(hit.Path)
		link := url.URL{Scheme: "file", Path: filepath.ToSlash(path)}
		if hit.Page > 0 {
			link.Fragment = fmt.Sprintf("page=%d", hit.Page)
		}
		c := card{Hit: hit, Name: api.Visible(path), Link: template.URL(link.String())}
		if hit.Start != nil && hit.End != nil {
			c.Clock = api.Clock(*hit.Start) + " – " + api.Clock(*hit.End)
			c.Link = template.URL(fmt.Sprintf("%s#t=%g", c.Link, *hit.Start))
		}
		if hit.Kind == api.KindPhoto {
			c.Picture = smallPicture(path, sources)
		}
		cards[i] = c
	}
	return pageTemplate.Execute(w, struct {
		Title string
		Hits  []card
	}{title, cards})
}

// smallPicture is a picture's thumbnail as a data URL, "" where the file cannot be shown any more.
func smallPicture(path string, sources api.Sources) template.URL {
	img, err := sources.LoadPicture(path)
	if err != nil {
		return ""
	}
	small, err := vision.Thumbnail(img, thumbnail, thumbnail)
	if err != nil {
		return ""
	}
	var b bytes.Buffer
	if jpeg.Encode(&b, small, &jpeg.Options{Quality: 80}) != nil {
		return ""
	}
	return template.URL("data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(b.Bytes()))
}
