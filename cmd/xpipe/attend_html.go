package main

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"html/template"
	"image/png"
	"io"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
)

// The page holds all it needs; its script computes maps as pipeline.Attention.Map
// does.
//
//go:embed attend.html
var attendPage string

var attendTemplate = template.Must(template.New("attend").Parse(attendPage))

// pageData is what the script works on. Arrays of numbers are little-endian
// float32 in base64.
type pageData struct {
	Picture string           `json:"picture"` // data URI; "" for regions
	Seen    [4]float32       `json:"seen"`
	Boxes   [][4]float32     `json:"boxes"`
	Rows    int              `json:"rows"`
	Cols    int              `json:"cols"`
	Places  [][4]int         `json:"places"`
	Words   []pageWord       `json:"words"`
	Stages  []pageStage      `json:"stages"`
	Picks   []map[string]any `json:"picks"`
	Heat    [][3]uint8       `json:"heat"` // the colour scale
}

type pageWord struct {
	Text  string `json:"text"`
	First int    `json:"first"`
	Last  int    `json:"last"`
}

type pageStage struct {
	Name    string `json:"name"`
	Layers  int    `json:"layers"`
	Heads   int    `json:"heads"`
	Rows    int    `json:"rows"`
	Cols    int    `json:"cols"`
	Maps    string `json:"maps"`
	Rollout string `json:"rollout"` // "" where there is none
}

// pagePicture is the most of the picture's sides in a page, in pixels.
const pagePicture = 640

func (v *attendView) html(w io.Writer) error {
	d := pageData{Seen: v.Seen, Places: v.Places(), Boxes: [][4]float32{}, Words: []pageWord{}}
	if v.Image != nil {
		small, err := vision.Fit(v.Image, pagePicture, pagePicture)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := png.Encode(&b, small); err != nil {
			return err
		}
		d.Picture = "data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())
	}
	for _, b := range v.Boxes {
		d.Boxes = append(d.Boxes, b)
	}
	if len(v.words) > 0 {
		m, err := v.WordMap(v.words[0], v.picks...)
		if err != nil {
			return err
		}
		d.Rows, d.Cols = m.Rows, m.Cols
	}
	for _, word := range v.words {
		d.Words = append(d.Words, pageWord{word.Text, word.First, word.Last})
	}
	for i, s := range v.Stages {
		p := pageStage{Name: s.Name, Layers: s.Layers, Heads: s.Heads, Rows: s.Maps.Dim(2), Cols: s.Maps.Dim(3), Maps: float32Base64(s.Maps)}
		if s.Rollout != nil {
			p.Rollout = float32Base64(s.Rollout)
		}
		d.Stages = append(d.Stages, p)
		var pick pipeline.Pick
		if i < len(v.picks) {
			pick = v.picks[i]
		}
		d.Picks = append(d.Picks, map[string]any{"layer": pick.Layer, "head": pick.Head, "rollout": pick.Rollout})
	}
	for i := range 33 {
		c := vision.HeatColor(float64(i) / 32)
		d.Heat = append(d.Heat, [3]uint8{c.R, c.G, c.B})
	}
	title := v.text()
	if title == "" {
		title = v.image
	}
	err := attendTemplate.Execute(w, struct {
		Title, Image, Question string
		Data                   pageData
	}{title, v.image, v.question, d})
	if err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

func float32Base64(t *tensor.Tensor) string {
	values := tensor.Data[float32](t)
	b, _ := binary.Append(make([]byte, 0, 4*len(values)), binary.LittleEndian, values)
	return base64.StdEncoding.EncodeToString(b)
}
