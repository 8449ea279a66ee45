package api

import (
	"context"
	"image"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/pipeline/reading"
	"github.com/crossattn/xpipe/vision"
)

// PictureDocument is the picture of a page as a document of one page.
func PictureDocument(img image.Image) document.Paged { return onePage{img} }

type onePage struct{ picture image.Image }

func (onePage) Pages() int               { return 1 }
func (onePage) Info() document.Info      { return document.Info{Format: "picture"} }
func (onePage) Outline() []document.Mark { return nil }
func (onePage) Close() error             { return nil }

func (o onePage) Page(ctx context.Context, n int) (*document.Page, error) {
	b := o.picture.Bounds()
	return &document.Page{Number: n, Width: float64(b.Dx()), Height: float64(b.Dy())}, ctx.Err()
}

func (o onePage) Render(ctx context.Context, _ int, _ float64) (*image.RGBA, error) {
	if img, ok := o.picture.(*image.RGBA); ok && img.Opaque() {
		return img, ctx.Err()
	}
	return reading.Opaque(vision.FromImage(o.picture)).Image(), ctx.Err()
}
