package main

import (
	"fmt"
	"image"
	"image/color"
	"io"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/vision"
)

// drawAttention draws small pictures side by side, two pixels in each character, the words below
// them. It uses 24-bit colours.
func drawAttention(w io.Writer, v *api.AttentionView, width int) error {
	const tile, gap = 26, 2 // characters
	if _, err := fmt.Fprintln(w, v.Written()); err != nil {
		return err
	}
	all := v.Words()
	across := max(1, (width+gap)/(tile+gap))
	for first := 0; first < len(all); first += across {
		words := all[first:min(first+across, len(all))]
		var lines []strings.Builder
		for i, word := range words {
			m, err := v.WordMap(word, v.Picks...)
			if err != nil {
				return err
			}
			heat, err := v.Overlay(m, tile, tile, v.Most)
			if err != nil {
				return err
			}
			drawn := halfBlocks(heat, tile)
			if lines == nil {
				lines = make([]strings.Builder, len(drawn)+1)
			}
			label := []rune(word.Text)
			space := strings.Repeat(" ", max(0, tile-len(label)))
			drawn = append(drawn, string(label[:min(len(label), tile)])+space)
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
	_, err := fmt.Fprintf(w, "%s\x1b[0m  0 to %s\n", &scale, v.Scale())
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
			fmt.Fprintf(&b, "\x1b[38;2;%d;%d;%dm\x1b[48;2;%d;%d;%dm▀",
				up.R, up.G, up.B, down.R, down.G, down.B)
		}
		b.WriteString("\x1b[0m" + strings.Repeat(" ", max(0, width-img.Rect.Dx())))
		lines = append(lines, b.String())
	}
	return lines
}
