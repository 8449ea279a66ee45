package family

import (
	"context"
	"fmt"
	"strings"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/pipeline/reading"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
)

// OCR names the family of models that read pages in stages, such as PP-OCR: a graph finds lines of
// text, another writes down what each says, and between them may stand one that tells which lines
// stand on their head.
const OCR models.Family = "ocr"

var ocrRow = Family{Name: OCR, Open: openOCR, Wordless: true}

// charactersFile lists the recognizer's characters, one a line, as PaddleOCR's dictionaries do: those
// of the classes from the second on. The first class is the blank of CTC, the last one, which has no
// line, the space.
const charactersFile = "characters.txt"

type ocr struct{ reader reading.Reader }

func openOCR(o *graph.Opener, _ *Config) (Model, error) {
	list, err := o.Bundle.File(charactersFile)
	if err != nil {
		return nil, err
	}
	m := &ocr{}
	m.reader.Characters = append(strings.Split(strings.TrimSuffix(string(list), "\n"), "\n"), " ")
	for i, c := range m.reader.Characters {
		m.reader.Characters[i] = strings.TrimSuffix(c, "\r")
	}
	detector, err := o.Open(graph.TextDetector)
	if err != nil {
		return nil, err
	}
	recognizer, err := o.Open(graph.TextRecognizer)
	if err != nil {
		return nil, err
	}
	direction, err := o.OpenIfThere(graph.TextDirection)
	if err != nil {
		return nil, err
	}
	if m.reader.Detect, err = oneToOne(detector); err != nil {
		return nil, err
	}
	if m.reader.Recognize, err = oneToOne(recognizer); err != nil {
		return nil, err
	}
	if outputs := recognizer.Outputs(); len(outputs[0].Shape) == 3 {
		if n := outputs[0].Shape[2]; n > 0 && n != len(m.reader.Characters)+1 {
			return nil, fmt.Errorf("%w: %s lists %d characters, and %s tells %d with the space",
				graph.ErrBundle, charactersFile, len(m.reader.Characters)-1, graph.TextRecognizer, n-1)
		}
	}
	if direction != nil {
		if m.reader.Direct, err = oneToOne(direction); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// oneToOne runs a graph that has one input and one output, whatever their names.
func oneToOne(g *graph.Graph) (reading.Graph, error) {
	in, out := g.Inputs(), g.Outputs()
	if len(in) != 1 || len(out) != 1 {
		return nil, fmt.Errorf("%w: the graph %s has the inputs %v and the outputs %v; one of each is needed",
			graph.ErrBundle, g.Role, in, out)
	}
	return func(ctx context.Context, pixels *tensor.Tensor) (*tensor.Tensor, error) {
		return g.RunOne(ctx, map[string]*tensor.Tensor{in[0].Name: pixels}, out[0].Name)
	}, nil
}

// Media lists pages: the model reads pictures, and describes none.
func (*ocr) Media() []media.Kind { return []media.Kind{media.Pages} }

// ReadPage reads a picture of a page.
func (m *ocr) ReadPage(ctx context.Context, img *vision.RGB, o reading.Options) (*reading.Page, error) {
	return m.reader.Read(ctx, img, o)
}
