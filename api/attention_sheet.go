package api

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/draw"
	"io"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/vision"
	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// The sheet of WritePNG, in pixels.
const (
	sheetTile   = 224 // most of a picture's sides
	sheetGap    = 16
	sheetText   = 18 // font size
	sheetRow    = 5  // pictures side by side
	sheetScaleH = 14
)

// WritePNG draws the text, a picture for each word with its map, and the scale. Where there is no
// picture to draw on, the error wraps pipeline.ErrImage.
func (v *AttentionView) WritePNG(w io.Writer) error {
	if v.Image == nil {
		return fmt.Errorf("%w: %s is no picture to draw on; "+
			".json, .npz and .html show regions without one", pipeline.ErrImage, v.Name)
	}
	small, err := vision.Fit(v.Image, sheetTile, sheetTile)
	if err != nil {
		return err
	}
	words := v.Words()
	tile := small.Bounds().Size()
	cell := image.Pt(max(tile.X, 96), tile.Y+sheetText+sheetGap)
	columns := max(1, min(sheetRow, len(words)+1))
	rows := (len(words) + columns) / columns
	width := max(sheetGap+columns*(cell.X+sheetGap), 640)
	headline := v.Written()
	if v.Question != "" {
		headline = strings.Trim(v.Question+" — "+headline, " —")
	}
	top := sheetGap + sheetText + sheetGap
	height := top + rows*(cell.Y+sheetGap) + sheetScaleH + sheetText + 2*sheetGap
	bottom := height - sheetGap - sheetText
	made := v.MadeBy.String()
	if made != "" {
		height += sheetText
	}
	sheet := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.Draw(sheet, sheet.Bounds(), image.White, image.Point{}, draw.Src)
	write, err := newWriter(sheet)
	if err != nil {
		return err
	}
	write(sheetGap, sheetGap, width-2*sheetGap, headline)
	for i := range len(words) + 1 {
		at := image.Pt(sheetGap+i%columns*(cell.X+sheetGap), top+i/columns*(cell.Y+sheetGap))
		box := image.Rectangle{at, at.Add(tile)}
		if i == 0 { // the picture itself
			draw.Draw(sheet, box, small, small.Bounds().Min, draw.Src)
			continue
		}
		word := words[i-1]
		m, err := v.WordMap(word, v.Picks...)
		if err != nil {
			return err
		}
		heat, err := v.Overlay(m, sheetTile, sheetTile, v.Most)
		if err != nil {
			return err
		}
		draw.Draw(sheet, box, heat, image.Point{}, draw.Src)
		write(at.X, at.Y+tile.Y+2, cell.X, word.Text)
	}
	bar := image.Rect(sheetGap, bottom-sheetScaleH, sheetGap+256, bottom)
	for x := bar.Min.X; x < bar.Max.X; x++ {
		line := image.Rect(x, bar.Min.Y, x+1, bar.Max.Y)
		color := vision.HeatColor(float64(x-bar.Min.X) / 255)
		draw.Draw(sheet, line, image.NewUniform(color), image.Point{}, draw.Src)
	}
	write(bar.Min.X, bar.Max.Y, 60, "0")
	write(bar.Max.X-24, bar.Max.Y, width-bar.Max.X+24, v.Scale())
	write(sheetGap, bottom+sheetText+2, width-2*sheetGap, made)
	return writePNG(w, sheet, [][2]string{
		{"Title", headline}, {"Source", v.Name}, {"Comment", made},
		{"Software", strings.TrimSpace("xpipe " + v.MadeBy.Version)},
	})
}

// withPNGText adds texts by their keywords to a PNG file, behind its header (RFC 2083, with the
// chunk iTXt of PNG 1.2 for UTF-8). Empty ones are left out.
func withPNGText(file []byte, texts [][2]string) []byte {
	const header = 8 + 4 + 4 + 13 + 4 // signature and IHDR
	out := slices.Clone(file[:header])
	for _, t := range texts {
		if t[1] == "" {
			continue
		}
		chunk := []byte("iTXt" + t[0] + "\x00\x00\x00\x00\x00" + strings.ToValidUTF8(t[1], "\ufffd"))
		out = binary.BigEndian.AppendUint32(out, uint32(len(chunk)-4))
		out = append(out, chunk...)
		out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(chunk))
	}
	return append(out, file[header:]...)
}

// newFace returns the font of pictures in a size.
func newFace(size float64) (font.Face, error) {
	parsed, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, err
	}
	return opentype.NewFace(parsed, &opentype.FaceOptions{Size: size, DPI: 64})
}

// newWriter returns a function that writes text in black below y, cut to a width in pixels.
func newWriter(dst draw.Image) (func(x, y, width int, text string), error) {
	face, err := newFace(sheetText)
	if err != nil {
		return nil, err
	}
	return func(x, y, width int, text string) {
		for font.MeasureString(face, text) > fixed.I(width) && len(text) > 1 {
			runes := []rune(strings.TrimSuffix(text, "…"))
			text = string(runes[:len(runes)-1]) + "…"
			if len(runes) <= 1 {
				break
			}
		}
		d := font.Drawer{Dst: dst, Src: image.Black, Face: face, Dot: fixed.P(x, y+sheetText-3)}
		d.DrawString(text)
	}, nil
}
