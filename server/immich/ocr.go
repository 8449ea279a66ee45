package immich

import (
	"context"
	"log/slog"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// ocr is what is read on a picture, as Immich has it: of each line its text, its corners x and y clockwise
// from the top left in units of width and height, and how sure the detector and the recognizer are.
type ocr struct {
	Text      []string  `json:"text"`
	Box       []float64 `json:"box"` // 8 a line
	BoxScore  []float64 `json:"boxScore"`
	TextScore []float64 `json:"textScore"`
}

// read reads the text in a picture, and adds its size to the answer. Immich's names of models stand for the
// one that reads here: texts, unlike vectors, need not be those of one model.
func (h handlers) read(ctx context.Context, types map[string]entry, in input, answer map[string]any) (*ocr, error) {
	if in.image == nil {
		return nil, web.Badf("the task ocr wants an image, not a text")
	}
	m, release, err := h.reader(ctx, types[typeRecognition].ModelName)
	if err != nil {
		return nil, err
	}
	defer release()
	web.NoteAttr(ctx, slog.String("model", m.Name))
	img, err := m.Image(in.image)
	if err != nil {
		return nil, err
	}
	page, err := m.P.Read(ctx, img, func(r *pipeline.Reading) {
		if least := types[typeRecognition].Options.MinScore; least != nil {
			if r.Confidence = *least; r.Confidence == 0 {
				r.Confidence = -1
			}
		}
	})
	if err != nil {
		return nil, err
	}
	answer["imageHeight"], answer["imageWidth"] = page.Height, page.Width
	return linesOf(page, types[typeDetection].Options.MinScore), nil
}

// linesOf lists the lines of a page of which the detector is as sure as least, where it is not nil.
func linesOf(page *pipeline.Page, least *float64) *ocr {
	read := &ocr{Text: []string{}, Box: []float64{}, BoxScore: []float64{}, TextScore: []float64{}}
	for _, line := range page.Lines {
		if least != nil && line.Detected < *least {
			continue
		}
		read.Text = append(read.Text, line.Text)
		for _, corner := range line.Quad {
			read.Box = append(read.Box, corner[:]...)
		}
		read.BoxScore = append(read.BoxScore, line.Detected)
		read.TextScore = append(read.TextScore, line.Confidence)
	}
	return read
}

// reader opens a model that reads: the one of a name, or else the server's.
func (h handlers) reader(ctx context.Context, name string) (*serving.Model, func(), error) {
	if _, err := h.service.Catalog.Find(name); name == "" || err != nil {
		name = h.service.Catalog.For("read")
	}
	return h.service.Use(ctx, name)
}
