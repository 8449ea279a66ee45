package api

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

// The page holds all it needs. Its first script has the arithmetic, the second draws.
var (
	//go:embed attention_page.html
	attentionPage string
	//go:embed attention_page.js
	attentionScript string

	attentionTemplate = template.Must(template.New("attention").Parse(attentionPage))
)

// pageData is what the scripts work on. Arrays of numbers are little-endian float32 in base64.
type pageData struct {
	Picture string       `json:"picture"` // data URI; "" for regions
	Seen    [4]float32   `json:"seen"`
	Boxes   [][4]float32 `json:"boxes"`
	Rows    int          `json:"rows"`
	Cols    int          `json:"cols"`
	Places  [][4]int     `json:"places"`
	Words   []pageWord   `json:"words"`
	Stages  []pageStage  `json:"stages"`
	Picks   []pagePick   `json:"picks"` // one for each stage
	Heat    [][3]uint8   `json:"heat"`  // the colour scale
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

type pagePick struct {
	Head    int  `json:"head"`
	Layer   int  `json:"layer"`
	Rollout bool `json:"rollout"`
}

const (
	pagePicture = 640 // most of the picture's sides, in pixels
	pageHeat    = 33  // colours of the scale, between which the page interpolates
)

// WriteHTML writes one page without dependencies, in which a reader points at words and chooses
// layers and heads.
func (v *AttentionView) WriteHTML(w io.Writer) error {
	data, err := v.pageData()
	if err != nil {
		return err
	}
	title := v.Written()
	if title == "" {
		title = v.Name
	}
	err = attentionTemplate.Execute(w, struct {
		Title, Image, Question, Made string
		Data                         *pageData
		Script                       template.JS
	}{title, v.Name, v.Question, v.MadeBy.String(), data, template.JS(attentionScript)})
	if err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

func (v *AttentionView) pageData() (*pageData, error) {
	d := &pageData{
		Seen: v.Seen, Places: v.Places(), Boxes: [][4]float32{}, Words: []pageWord{},
		Stages: []pageStage{}, Picks: []pagePick{},
	}
	if v.Image != nil {
		small, err := vision.Fit(v.Image, pagePicture, pagePicture)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		if err := png.Encode(&b, small); err != nil {
			return nil, err
		}
		d.Picture = "data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())
	}
	for _, b := range v.Boxes {
		d.Boxes = append(d.Boxes, b)
	}
	for i, word := range v.Words() {
		if i == 0 {
			m, err := v.WordMap(word, v.Picks...)
			if err != nil {
				return nil, err
			}
			d.Rows, d.Cols = m.Rows, m.Cols
		}
		d.Words = append(d.Words, pageWord{word.Text, word.First, word.Last})
	}
	for i, s := range v.Stages {
		stage := pageStage{
			Name: s.Name, Layers: s.Layers, Heads: s.Heads,
			Rows: s.Maps.Dim(2), Cols: s.Maps.Dim(3), Maps: float32Base64(s.Maps),
		}
		if s.Rollout != nil {
			stage.Rollout = float32Base64(s.Rollout)
		}
		d.Stages = append(d.Stages, stage)
		var pick pipeline.Pick
		if i < len(v.Picks) {
			pick = v.Picks[i]
		}
		d.Picks = append(d.Picks, pagePick{pick.Head, pick.Layer, pick.Rollout})
	}
	d.Heat = heatScale()
	return d, nil
}

// heatScale returns the colours between which a page interpolates.
func heatScale() (scale [][3]uint8) {
	for i := range pageHeat {
		c := vision.HeatColor(float64(i) / (pageHeat - 1))
		scale = append(scale, [3]uint8{c.R, c.G, c.B})
	}
	return scale
}

func float32Base64(t *tensor.Tensor) string {
	values := tensor.Data[float32](t)
	b, _ := binary.Append(make([]byte, 0, 4*len(values)), binary.LittleEndian, values)
	return base64.StdEncoding.EncodeToString(b)
}
