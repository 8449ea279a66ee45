package attend

import (
	"encoding/json"

	"github.com/crossattn/xpipe/vision"
)

// JSON is an Attention in JSON, with the keys of the command.
type JSON struct {
	Text   string          `json:"text"` // what the model wrote; "" where it writes nothing
	Rows   int             `json:"rows"` // of each map
	Cols   int             `json:"cols"`
	Seen   vision.Region   `json:"seen"`            // what the maps cover; see Attention.Seen
	Boxes  []vision.Region `json:"boxes,omitempty"` // of regions
	Tokens []TokenJSON     `json:"tokens"`
}

// TokenJSON is a token and its Map, [rows][cols].
type TokenJSON struct {
	Text    string      `json:"text"`
	LogProb *float64    `json:"logprob,omitempty"` // of a token that the model wrote
	Share   float64     `json:"share"`
	Map     [][]float32 `json:"map"`
}

// JSON returns the maps of all tokens under picks, as Map makes them. Errors are those of Map.
func (a *Attention) JSON(picks ...Pick) (*JSON, error) {
	v := &JSON{
		Text: a.Text.String(), Rows: a.rows, Cols: a.cols,
		Seen: a.Seen, Boxes: a.Boxes, Tokens: []TokenJSON{},
	}
	for i, text := range a.Tokens {
		m, err := a.Map(i, picks...)
		if err != nil {
			return nil, err
		}
		t := TokenJSON{Text: text, Share: m.Share}
		if a.Text != nil && i < len(a.Text.Tokens) {
			t.LogProb = &a.Text.Tokens[i].LogProb
		}
		for r := range m.Rows {
			t.Map = append(t.Map, m.Weights[r*m.Cols:(r+1)*m.Cols])
		}
		v.Tokens = append(v.Tokens, t)
	}
	return v, nil
}

// MarshalJSON writes the attention as a JSON, with the mean of all layers and heads.
func (a *Attention) MarshalJSON() ([]byte, error) {
	v, err := a.JSON()
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}
