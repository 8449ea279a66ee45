package compare

import "github.com/crossattn/xpipe/engine"

// Report is the result of comparing a model on two engines.
type Report struct {
	Engines   [2]string // names
	Prompt    string    // the text as the model reads it
	TokenIDs  []int64   // of the prompt, special tokens included
	Heard     bool      // a sound went in, no picture
	Pixels    []int     // shape of the preprocessed picture; nil where the model takes none
	PixelHash string    // SHA-256 of the pixels as little-endian float32
	Text      string    // the model's text; "" where it writes none
	// IDs are those of Text and, where the second engine wrote by itself too, those that it wrote.
	IDs       [2][]int64
	Tolerance float64 // largest difference allowed, relative to Largest where that is above 1
	Stages    []Stage
	Notes     []string // what to know of how it was compared
}

// Breaches returns the stages beyond the tolerance.
func (r *Report) Breaches() []Stage {
	var list []Stage
	for _, s := range r.Stages {
		if !s.Within(r.Tolerance) {
			list = append(list, s)
		}
	}
	return list
}

// Within reports whether the two engines agree on the stage: no value differs by more than the
// tolerance, relative to the largest where that is above 1.
func (s *Stage) Within(tolerance float64) bool {
	return s.MaxDiff <= tolerance*max(1, s.Largest)
}

// SameIDs returns how many of the first engine's ids the second wrote in the same places.
func (r *Report) SameIDs() (same, count int) {
	for i, id := range r.IDs[0] {
		if i < len(r.IDs[1]) && r.IDs[1][i] == id {
			same++
		}
	}
	return same, len(r.IDs[0])
}

// PrecisionTolerance returns the difference allowed between an engine's float32 and another
// precision. bfloat16 keeps 8 bits of a number, and layers add up what that costs; an int8 step is a
// 127th of the largest number of a row or a column.
func PrecisionTolerance(p engine.Precision) float64 {
	switch p {
	case engine.PrecisionInt8:
		return 2.5e-1
	case engine.PrecisionBFloat16:
		return 5e-2
	}
	return 1e-4
}

// Tolerance returns the difference allowed for a bundle whose weights are stored as dtype, in the
// terms of xpipe.json. Both engines compute in float32 from the same weights. int8 graphs round
// activations too, where a difference in the last bit can become one of a whole step. Graphs of
// other tools may compute in float16 themselves.
func Tolerance(dtype string) float64 {
	switch dtype {
	case "int8":
		return 5e-2
	case "float16":
		return 1e-2
	}
	return 1e-4
}
