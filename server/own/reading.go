package own

import (
	"context"
	"strconv"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server/web"
)

// readingFields are the fields of read.
var readingFields = []field{
	{name: "words", kind: "boolean", usage: "give each word its place, too"},
	{name: "least-confidence", kind: "number", usage: "leave out lines of less, from 0 to 1; without it 0.5"},
}

// read writes down what is written on pictures of pages.
func (q *query) read() error {
	if len(q.files["image"]) == 0 {
		return q.errNoPicture()
	}
	settings := api.Settings{}
	var o pipeline.Reading
	if text := q.value("words"); text != "" {
		var err error
		if o.Words, err = strconv.ParseBool(text); err != nil {
			return web.Badf("words is %q, not true or false", web.Shortened(text))
		}
		settings["words"] = o.Words
	}
	if text := q.value("least-confidence"); text != "" {
		least, err := strconv.ParseFloat(text, 64)
		if err != nil || !(least >= 0 && least <= 1) {
			return web.Badf("least-confidence is %q, not a number from 0 to 1", web.Shortened(text))
		}
		settings["least_confidence"] = least
		if o.Confidence = least; least == 0 {
			o.Confidence = -1
		}
	}
	release, err := q.use(q.service.Catalog.For("read"))
	if err != nil {
		return err
	}
	defer release()
	if err := q.made(settings, nil); err != nil {
		return err
	}
	failure := func(name string, err error) any {
		line := api.NewPageFailure(name, err)
		line.Origin = q.origin
		return line
	}
	return q.each("image", failure, func(ctx context.Context, name string, data []byte, start time.Time) ([]any, error) {
		img, err := q.m.Image(data)
		if err != nil {
			return nil, err
		}
		page, err := q.m.P.Read(ctx, img, func(r *pipeline.Reading) { *r = o })
		if err != nil {
			return nil, err
		}
		line := api.NewPage(name, 1, page, time.Since(start).Seconds())
		line.Origin = q.origin
		return []any{line}, nil
	})
}
