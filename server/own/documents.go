package own

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// documentFields are the fields of ask about documents.
var documentFields = []field{
	{name: "read", kind: "boolean", usage: "take pictures for pages, and answer from what is written on them, as PDF files are"},
	{name: "page", kind: "integer", usage: "the page of a document to ask about, from 1; without it the one that fits the question"},
	{name: "password", usage: "password of encrypted PDF files"},
}

// asksDocuments reports whether the files are documents: PDF files, and pictures if the request says so.
func (q *query) asksDocuments() (documents bool, page int, err error) {
	read := false
	if text := q.value("read"); text != "" {
		if read, err = strconv.ParseBool(text); err != nil {
			return false, 0, web.Badf("read is %q, not true or false", web.Shortened(text))
		}
	}
	if text := q.value("page"); text != "" {
		if page, err = strconv.Atoi(text); err != nil || page < 1 {
			return false, 0, web.Badf("page is %q, not a number from 1 on", web.Shortened(text))
		}
	}
	pdf := slices.ContainsFunc(q.files["image"], func(f web.File) bool { return serving.IsPDF(f.Data) })
	return read || page > 0 || pdf, page, nil
}

// askDocuments answers questions about documents: by a line of them, or by the model that the request names.
func (q *query) askDocuments(a *asked, page int) error {
	if len(a.choices) > 0 || a.raw != "" || len(q.files["shot"]) > 0 {
		return web.Badf("choices, shot and raw-prompt are for pictures, not for documents")
	}
	release, err := q.use(q.service.Catalog.For("read"))
	if err != nil {
		return err
	}
	defer release()
	asks := q.value("model") != "" && (!q.m.Can.Read || q.m.Can.Write)
	settings := api.Settings{}
	if len(a.questions) == 1 {
		settings["question"] = a.questions[0]
	} else {
		settings.SetList("questions", a.questions)
	}
	if page > 0 {
		settings["page"] = page
	}
	options := a.options
	if !asks {
		options = nil
	}
	if err := q.made(settings, options); err != nil {
		return err
	}
	failure := func(name string, err error) any {
		line := api.NewPageFailure(name, err)
		line.Origin = q.origin
		return line
	}
	return q.each("image", failure, func(ctx context.Context, name string, data []byte, _ time.Time) (lines []any, err error) {
		query := serving.DocumentQuery{Name: name, Data: data, Password: q.value("password"), Number: page}
		if !serving.IsPDF(data) {
			if query.Picture, err = q.m.Image(data); err != nil {
				return nil, err
			}
		}
		d, err := q.service.Document(ctx, query)
		if err != nil {
			return nil, err
		}
		defer d.Document.Close()
		if asks {
			d.Model, d.Options = q.m.P, a.options
		}
		for _, question := range a.questions {
			answer, err := d.Ask(ctx, question)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			answer.Origin = q.origin
			lines = append(lines, answer)
		}
		return lines, nil
	})
}
