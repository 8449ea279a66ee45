package api

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/tensor"
)

// Attention is what attend prints, and writes to .json files.
type Attention struct {
	Image    Name   `json:"image"`
	Question string `json:"question,omitempty"`
	Text     string `json:"text"`
	MadeBy
	Rows int `json:"rows"` // of each map
	Cols int `json:"cols"`
	// Seen is what the maps cover: x1, y1, x2, y2, in parts of the picture.
	Seen   [4]float32       `json:"seen"`
	Boxes  [][4]float32     `json:"boxes,omitempty"` // of regions, likewise
	Tokens []AttentionToken `json:"tokens"`
}

// MadeBy says what made a result.
type MadeBy struct {
	Model   string `json:"model,omitempty"`
	Engine  string `json:"engine,omitempty"`
	Version string `json:"version,omitempty"` // of xpipe
}

// String is one line for people, "" where nothing is known.
func (m MadeBy) String() string {
	if m == (MadeBy{}) {
		return ""
	}
	return fmt.Sprintf("Made by %s on the engine %s with xpipe %s", m.Model, m.Engine, m.Version)
}

// AttentionToken is a token and its map, [rows][cols] with a sum of 1.
type AttentionToken struct {
	Text    string      `json:"text"`
	LogProb *float64    `json:"logprob,omitempty"`
	Share   float64     `json:"share"` // of the token's attention that fell on the picture at all
	Map     [][]float32 `json:"map"`
}

// AttentionView is where a model looked, in all the forms in which that is shown.
type AttentionView struct {
	*pipeline.Attention
	Name     string // of the picture
	Question string
	Picks    []pipeline.Pick // of each stage; the mean where there is none
	Most     float64         // greatest weight of the words' maps, the end of the colour scale
	MadeBy   MadeBy          // shown in every form
}

// ParsePick reads what chooses among the maps of a stage: LAYER/HEAD, counted from 1, where 0 or a head
// that is not there stands for the mean, or rollout. Errors are of KindUsage.
func ParsePick(text string) (pipeline.Pick, error) {
	if text == "rollout" {
		return pipeline.Pick{Rollout: true}, nil
	}
	var p pipeline.Pick
	layer, head, _ := strings.Cut(text, "/")
	n, err := fmt.Sscanf(layer+" "+head+" 0", "%d %d", &p.Layer, &p.Head)
	if err != nil || n != 2 || p.Layer < 0 || p.Head < 0 {
		return p, Usagef("pick %q is neither LAYER/HEAD nor rollout", text)
	}
	return p, nil
}

// NewAttentionView shows attention to the picture of that name. The error wraps pipeline.ErrOption
// where a stage has no such layer or head.
func NewAttentionView(
	a *pipeline.Attention, name, question string, picks ...pipeline.Pick,
) (*AttentionView, error) {
	most, err := a.Greatest(a.Words(), picks...)
	if err != nil {
		return nil, err
	}
	return &AttentionView{Attention: a, Name: name, Question: question, Picks: picks, Most: most}, nil
}

// Written is what the model wrote; for CLIP there is nothing.
func (v *AttentionView) Written() string {
	if v.Text == nil {
		return ""
	}
	return v.Text.Text
}

// Scale says what the end of the colour scale stands for.
func (v *AttentionView) Scale() string {
	what := "cell"
	if v.Boxes != nil {
		what = "region"
	}
	return fmt.Sprintf("%.1f %% of a word's attention in one %s", 100*v.Most, what)
}

// Data is the attention as numbers.
func (v *AttentionView) Data() (*Attention, error) {
	data := &Attention{
		Image: Name(v.Name), Question: v.Question, Text: v.Written(), MadeBy: v.MadeBy,
		Seen: v.Seen, Tokens: []AttentionToken{},
	}
	for _, b := range v.Boxes {
		data.Boxes = append(data.Boxes, b)
	}
	for i, text := range v.Tokens {
		m, err := v.Map(i, v.Picks...)
		if err != nil {
			return nil, err
		}
		t := AttentionToken{Text: text, Share: m.Share}
		if v.Text != nil && i < len(v.Text.Tokens) {
			t.LogProb = &v.Text.Tokens[i].LogProb
		}
		for r := range m.Rows {
			t.Map = append(t.Map, m.Weights[r*m.Cols:(r+1)*m.Cols])
		}
		data.Rows, data.Cols = m.Rows, m.Cols
		data.Tokens = append(data.Tokens, t)
	}
	return data, nil
}

// WriteJSON writes Data as one line.
func (v *AttentionView) WriteJSON(w io.Writer) error {
	data, err := v.Data()
	if err != nil {
		return err
	}
	return WriteJSON(w, data)
}

// WriteNpz writes maps [tokens,rows,cols] and share [tokens]; stage0, stage1 ...
// [layers,heads,rows,columns] and rollout0 ... [rows,columns] as the pipeline has them; reverse, as
// a stage, where there is one; ids [tokens] where there are any; boxes [regions,4] for regions.
func (v *AttentionView) WriteNpz(w io.Writer) error {
	data, err := v.Data()
	if err != nil {
		return err
	}
	var maps, share []float32
	for _, t := range data.Tokens {
		maps, share = append(maps, slices.Concat(t.Map...)...), append(share, float32(t.Share))
	}
	arrays := map[string]*tensor.Tensor{}
	put := func(name string, t *tensor.Tensor, e error) {
		if e != nil {
			err = e
		}
		arrays[name] = t
	}
	t, e := tensor.New([]int{len(data.Tokens), data.Rows, data.Cols}, maps)
	put("maps", t, e)
	t, e = tensor.New([]int{len(share)}, share)
	put("share", t, e)
	if v.Text != nil && len(v.Text.Tokens) > 0 {
		var ids []int64
		for _, t := range v.Text.Tokens {
			ids = append(ids, t.ID)
		}
		t, e = tensor.New([]int{len(ids)}, ids)
		put("ids", t, e)
	}
	for i, s := range v.Stages {
		put(fmt.Sprintf("stage%d", i), s.Maps, nil)
		if s.Rollout != nil {
			put(fmt.Sprintf("rollout%d", i), s.Rollout, nil)
		}
	}
	if v.Reverse != nil {
		put("reverse", v.Reverse.Maps, nil)
	}
	if len(v.Boxes) > 0 {
		var boxes []float32
		for _, b := range v.Boxes {
			boxes = append(boxes, b[:]...)
		}
		t, e = tensor.New([]int{len(v.Boxes), 4}, boxes)
		put("boxes", t, e)
	}
	if err != nil {
		return err
	}
	return tensor.WriteNpz(w, arrays)
}
