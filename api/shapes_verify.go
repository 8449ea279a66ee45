package api

import (
	"math"
	"time"

	"github.com/crossattn/xpipe/pipeline/compare"
)

// Verification is a line of verify: how two engines compare on a model.
type Verification struct {
	Model     string   `json:"model"`
	Engines   []string `json:"engines"` // the two compared; the second is the table's first
	Prompt    string   `json:"prompt"`  // the text as the model reads it
	TokenIDs  []int64  `json:"token_ids"`
	Pixels    []int    `json:"pixels,omitempty"`        // shape
	PixelHash string   `json:"pixels_sha256,omitempty"` // of the values, little-endian
	Text      string   `json:"text"`                    // that the model wrote
	// IDs and OtherIDs are what the two wrote, each by itself, with --precision; SameIDs is how many
	// of IDs OtherIDs has in the same places.
	IDs       []int64         `json:"ids,omitempty"`
	OtherIDs  []int64         `json:"other_ids,omitempty"`
	SameIDs   *int            `json:"same_ids,omitempty"`
	Tolerance float64         `json:"tolerance"`
	OK        bool            `json:"ok"` // all stages are
	Stages    []VerifiedStage `json:"stages"`
	Notes     []string        `json:"notes,omitempty"` // what to know of how it was compared
}

// VerifiedStage compares an output of a graph over all its runs, as compare.Stage does. JSON has no
// infinity: the largest float64 stands for it.
type VerifiedStage struct {
	Graph    string    `json:"graph"` // file in the bundle
	Output   string    `json:"output"`
	Shape    []int     `json:"shape"` // in the last run
	Runs     int       `json:"runs"`
	MaxDiff  float64   `json:"max_diff"` // largest absolute difference
	MeanDiff float64   `json:"mean_diff"`
	Largest  float64   `json:"largest"` // absolute value
	Cosine   float64   `json:"cosine"`
	Argmax   *float64  `json:"argmax_agreement"` // share of rows; null where rows are no scores
	Millis   []float64 `json:"ms"`               // of the graph's runs on each of the engines
	OK       bool      `json:"ok"`               // within the tolerance
}

// NewVerification makes a model's line from what Verify reports.
func NewVerification(model string, r *compare.Report) Verification {
	v := Verification{
		Model: model, Engines: r.Engines[:], Prompt: r.Prompt, TokenIDs: r.TokenIDs,
		Pixels: r.Pixels, PixelHash: r.PixelHash,
		Text: r.Text, Tolerance: r.Tolerance, OK: len(r.Breaches()) == 0, Notes: r.Notes,
	}
	if r.IDs[1] != nil {
		same, _ := r.SameIDs()
		v.IDs, v.OtherIDs, v.SameIDs = r.IDs[0], r.IDs[1], &same
	}
	for _, s := range r.Stages {
		stage := VerifiedStage{
			Graph: s.Graph, Output: s.Output, Shape: s.Shape, Runs: s.Runs,
			MaxDiff: finite(s.MaxDiff), MeanDiff: finite(s.MeanDiff), Largest: finite(s.Largest),
			Cosine: finite(s.Cosine), OK: s.Within(r.Tolerance),
		}
		for _, t := range s.Times {
			stage.Millis = append(stage.Millis, milliseconds(t))
		}
		if !math.IsNaN(s.Argmax) {
			stage.Argmax = &s.Argmax
		}
		v.Stages = append(v.Stages, stage)
	}
	return v
}

// finite is v, or the largest float64 where JSON cannot hold v.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return math.MaxFloat64
	}
	return v
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
