package api

import (
	"errors"
	"fmt"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/crossattn/xpipe/vision"
	"github.com/crossattn/xpipe/vision/geometry"
)

// cutFigures writes a page's figures to PNG files in a folder, which is made if missing, and names them:
// DOCUMENT-PAGE-FIGURE.png, with a number more where there is another file of that name.
func cutFigures(p *Page, img image.Image, folder string) error {
	if len(p.Figures) == 0 {
		return nil
	}
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	base := filepath.Base(string(p.Document))
	stem := fmt.Sprintf("%s-%d", strings.TrimSuffix(base, filepath.Ext(base)), p.Number)
	pixels := vision.FromImage(img)
	for i := range p.Figures {
		var corners geometry.Quad
		for k, c := range uprightQuad(p.Figures[i].Quad, p.Turn) {
			corners[k] = geometry.Point{
				X: math.Round(c[0] * float64(pixels.Width)), Y: math.Round(c[1] * float64(pixels.Height)),
			}
		}
		w, h := corners.Sides()
		cut := geometry.Crop(pixels, corners, w, h)
		if cut == nil {
			continue // without area
		}
		f, err := newFile(filepath.Join(folder, fmt.Sprintf("%s-%d", stem, i+1)), ".png")
		if err != nil {
			return err
		}
		if err := errors.Join(png.Encode(f, cut.Image()), f.Close()); err != nil {
			return err
		}
		p.Figures[i].File = Name(f.Name())
	}
	return nil
}

// newFile makes a file that is not there yet, with a number behind its stem where one of its name is.
func newFile(stem, suffix string) (*os.File, error) {
	for n := 1; ; n++ {
		name := stem + suffix
		if n > 1 {
			name = fmt.Sprintf("%s-%d%s", stem, n, suffix)
		}
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, os.ErrExist) {
			return f, err
		}
	}
}
