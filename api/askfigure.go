package api

import (
	"regexp"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/document/find"
	"github.com/crossattn/xpipe/pipeline"
)

// This file finds the figure that a question names.

var (
	figureWords = regexp.MustCompile(`(?i)\b(?:fig(?:ure|\.)?|chart|diagram|graph|plot|picture|photo(?:graph)?|image|drawing|map|abb(?:ildung|\.)?|figura|schéma)\s*(\d+)?`)
	captionMark = regexp.MustCompile(`(?i)^\s*(?:fig(?:ure|\.)?|chart|diagram|graph|abb(?:ildung|\.)?|figura)\s*(\d+)`)
)

// namesFigure reports whether a question is about a figure, and its number; "" for none.
func namesFigure(question string) (named bool, number string) {
	m := figureWords.FindStringSubmatch(question)
	if m == nil {
		return false, ""
	}
	return true, m[1]
}

// figureOf finds a figure: the one that a caption of the number stands next to, or else the largest of the page.
func figureOf(pages []Page, number string, likely int) (page int, quad pipeline.Quad, ok bool) {
	for _, p := range pages {
		if number != "" {
			for _, l := range p.Lines {
				m := captionMark.FindStringSubmatch(l.Text)
				if m == nil || m[1] != number {
					continue
				}
				caption := find.Line{Quad: l.Quad}.Box()
				if f, found := nearest(p.Figures, caption); found {
					return p.Number, f, true
				}
				if b := freeAbove(&p, caption); b.H() > 3*caption.H() {
					return p.Number, short(b.Quad()), true
				}
			}
		}
	}
	for _, p := range pages {
		if p.Number != likely {
			continue
		}
		best := 0.0
		for _, f := range p.Figures {
			if b := (find.Line{Quad: f.Quad}).Box(); b.W()*b.H() > best {
				best, quad, ok = b.W()*b.H(), f.Quad, true
			}
		}
		return p.Number, quad, ok
	}
	return 0, quad, false
}

// nearest returns the figure that a caption is closest to, above or below; false where none is near.
func nearest(figures []Figure, caption document.Box) (quad pipeline.Quad, ok bool) {
	best := 0.12 // of the page
	for _, f := range figures {
		b := find.Line{Quad: f.Quad}.Box()
		d := max(caption.Y0-b.Y1, b.Y0-caption.Y1, 0) + max(caption.X0-b.X1, b.X0-caption.X1, 0)
		if d < best {
			best, quad, ok = d, f.Quad, true
		}
	}
	return quad, ok
}

// freeAbove returns what lies between a caption and the running text above it, as wide as that text: where a figure is that
// the page does not tell of, such as bars among its ruling lines or what is on a scan. Labels are no running text; cells of tables count as such.
func freeAbove(p *Page, caption document.Box) document.Box {
	const fewWords = 5
	cells := map[string]bool{}
	for _, t := range p.Tables {
		for _, cell := range slices.Concat(t.Rows...) {
			cells[cell] = true
		}
	}
	free := document.Box{X0: caption.X0, X1: caption.X1, Y1: caption.Y0}
	for _, l := range p.Lines {
		b := find.Line{Quad: l.Quad}.Box()
		if len(strings.Fields(l.Text)) < fewWords && !cells[l.Text] || min(b.X1, caption.X1) <= max(b.X0, caption.X0) || b == caption {
			continue
		}
		free.X0, free.X1 = min(free.X0, b.X0), max(free.X1, b.X1)
		if b.CY() < caption.Y0 {
			free.Y0 = max(free.Y0, b.Y1)
		}
	}
	return free
}
