package main

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"os"
	"strings"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/vision"
	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
	"golang.org/x/term"
)

// The sheet of attend -o FILE.png, in pixels.
const (
	sheetTile   = 224 // most of a picture's sides
	sheetGap    = 16
	sheetText   = 18 // font size
	sheetRow    = 5  // pictures side by side
	sheetScaleH = 14
)

// png draws the text, a picture for each word with its map, and the scale.
func (v *attendView) png(w io.Writer) error {
	if v.Image == nil {
		return fmt.Errorf("%w: %s is no picture to draw on; .json, .npz and .html show regions without one", pipeline.ErrImage, v.image)
	}
	small, err := vision.Fit(v.Image, sheetTile, sheetTile)
	if err != nil {
		return err
	}
	tile := small.Bounds().Size()
	cell := image.Pt(max(tile.X, 96), tile.Y+sheetText+sheetGap)
	columns := max(1, min(sheetRow, len(v.words)+1))
	rows := (len(v.words) + columns) / columns
	width := max(sheetGap+columns*(cell.X+sheetGap), 640)
	headline := v.text()
	if v.question != "" {
		headline = strings.Trim(v.question+" — "+headline, " —")
	}
	top := sheetGap + sheetText + sheetGap
	height := top + rows*(cell.Y+sheetGap) + sheetScaleH + sheetText + 2*sheetGap
	sheet := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.Draw(sheet, sheet.Bounds(), image.White, image.Point{}, draw.Src)
	write, err := newWriter(sheet)
	if err != nil {
		return err
	}
	write(sheetGap, sheetGap, width-2*sheetGap, headline)
	for i := range len(v.words) + 1 {
		at := image.Pt(sheetGap+i%columns*(cell.X+sheetGap), top+i/columns*(cell.Y+sheetGap))
		box := image.Rectangle{at, at.Add(tile)}
		if i == 0 { // the picture itself
			draw.Draw(sheet, box, small, small.Bounds().Min, draw.Src)
			continue
		}
		word := v.words[i-1]
		m, err := v.WordMap(word, v.picks...)
		if err != nil {
			return err
		}
		heat, err := v.Overlay(m, sheetTile, sheetTile, v.most)
		if err != nil {
			return err
		}
		draw.Draw(sheet, box, heat, image.Point{}, draw.Src)
		write(at.X, at.Y+tile.Y+2, cell.X, word.Text)
	}
	bar := image.Rect(sheetGap, height-sheetGap-sheetText-sheetScaleH, sheetGap+256, height-sheetGap-sheetText)
	for x := bar.Min.X; x < bar.Max.X; x++ {
		line := image.Rect(x, bar.Min.Y, x+1, bar.Max.Y)
		draw.Draw(sheet, line, image.NewUniform(vision.HeatColor(float64(x-bar.Min.X)/255)), image.Point{}, draw.Src)
	}
	write(bar.Min.X, bar.Max.Y, 60, "0")
	write(bar.Max.X-24, bar.Max.Y, width-bar.Max.X+24, v.scale())
	return png.Encode(w, sheet)
}

// scale says what the end of the colour scale stands for.
func (v *attendView) scale() string {
	what := "cell"
	if v.Boxes != nil {
		what = "region"
	}
	return fmt.Sprintf("%.1f %% of a word's attention in one %s", 100*v.most, what)
}

// newWriter returns a function that writes text in black below y, cut at so many
// pixels.
func newWriter(dst draw.Image) (func(x, y, width int, text string), error) {
	parsed, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, err
	}
	face, err := opentype.NewFace(parsed, &opentype.FaceOptions{Size: sheetText, DPI: 64})
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

// terminal draws small pictures side by side, two pixels in each character, the
// words below them. It uses 24-bit colours.
func (v *attendView) terminal(w io.Writer, width int) error {
	const tile, gap = 26, 2 // characters
	if _, err := fmt.Fprintln(w, v.text()); err != nil {
		return err
	}
	across := max(1, (width+gap)/(tile+gap))
	for first := 0; first < len(v.words); first += across {
		words := v.words[first:min(first+across, len(v.words))]
		var lines []strings.Builder
		for i, word := range words {
			m, err := v.WordMap(word, v.picks...)
			if err != nil {
				return err
			}
			heat, err := v.Overlay(m, tile, tile, v.most)
			if err != nil {
				return err
			}
			drawn := halfBlocks(heat, tile)
			if lines == nil {
				lines = make([]strings.Builder, len(drawn)+1)
			}
			label := []rune(word.Text)
			drawn = append(drawn, string(label[:min(len(label), tile)])+strings.Repeat(" ", max(0, tile-len(label))))
			for j, line := range drawn {
				if i > 0 {
					lines[j].WriteString(strings.Repeat(" ", gap))
				}
				lines[j].WriteString(line)
			}
		}
		for i := range lines {
			if _, err := fmt.Fprintln(w, lines[i].String()); err != nil {
				return err
			}
		}
	}
	var scale strings.Builder
	for i := range tile {
		c := vision.HeatColor(float64(i) / (tile - 1))
		fmt.Fprintf(&scale, "\x1b[48;2;%d;%d;%dm ", c.R, c.G, c.B)
	}
	_, err := fmt.Fprintf(w, "%s\x1b[0m  0 to %s\n", &scale, v.scale())
	return err
}

// halfBlocks draws a picture as lines of upper half blocks, width characters each.
func halfBlocks(img *image.RGBA, width int) []string {
	var lines []string
	for y := 0; y < img.Rect.Dy(); y += 2 {
		var b strings.Builder
		for x := range min(width, img.Rect.Dx()) {
			up := img.RGBAAt(x, y)
			down := color.RGBA{}
			if y+1 < img.Rect.Dy() {
				down = img.RGBAAt(x, y+1)
			}
			fmt.Fprintf(&b, "\x1b[38;2;%d;%d;%dm\x1b[48;2;%d;%d;%dm▀", up.R, up.G, up.B, down.R, down.G, down.B)
		}
		b.WriteString("\x1b[0m" + strings.Repeat(" ", max(0, width-img.Rect.Dx())))
		lines = append(lines, b.String())
	}
	return lines
}

// terminalWidth is how many characters a line has; 80 where nobody says.
func terminalWidth(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return 80
}
