package models

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// ManifestName is the file that makes a directory an xpipe bundle.
const ManifestName = "xpipe.json"

// The format version this package reads.
const manifestFormat = 1

// maxLimit is more positions than any model of these families has. A manifest's limits become sizes
// of tensors.
const maxLimit = 1 << 20

// Family names how the graphs of a bundle fit together; BUNDLE.md lists them. Package
// pipeline/family runs them.
type Family string

// Manifest is the content of xpipe.json; see BUNDLE.md for its fields.
type Manifest struct {
	Format int    `json:"format"`
	Name   string `json:"name"`
	Family Family `json:"family"`
	// Tasks lists what the model was made for, such as "caption" and "answer"; empty where nobody
	// said.
	Tasks []string `json:"tasks,omitempty"`
	// Graphs gives the file of each role, such as "qformer": "onnx/qformer.onnx".
	Graphs map[string]string `json:"graphs"`
	// Projection is a safetensors file of weights that are applied in Go; "" if there are none.
	Projection string `json:"projection,omitempty"`
	// DType is how weights are stored: "fp32", "fp16" or "int8"; "float16" where arithmetic is
	// float16, too.
	DType string `json:"dtype,omitempty"`
	// Prompts gives the text around what the user says, by task: "caption", "answer". {} stands for
	// the user's text.
	Prompts map[string]string `json:"prompts,omitempty"`
	// KeepSpecialTokens leaves special tokens in the texts that are written, where they are what
	// the model has to say: tags of a document, places in a picture. The end is never part of it.
	KeepSpecialTokens bool `json:"keep_special_tokens,omitempty"`
	// Limits bound what the model can take, such as "max_positions".
	Limits map[string]int `json:"limits,omitempty"`
	// Calibration says, by task, how likely a text is to be right; only "caption" is used.
	Calibration map[string]Calibration `json:"calibration,omitempty"`
	// Provenance says what made the bundle; it is shown, not used.
	Provenance json.RawMessage `json:"provenance,omitempty"`
	// SHA256 gives the lower-case hexadecimal hash of every other file.
	SHA256 map[string]string `json:"sha256,omitempty"`
}

// Calibration turns the mean log-probability m of a text's tokens into the probability 1 / (1 +
// exp(-(Slope*m + Intercept))) that it is right. A text below Threshold is better doubted.
type Calibration struct {
	Slope     float64 `json:"slope"`
	Intercept float64 `json:"intercept"`
	Threshold float64 `json:"threshold"`
}

func parseManifest(data []byte, known *Known) (Manifest, error) {
	var m Manifest
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&m); err != nil {
		return m, fmt.Errorf("%w: %s: %w", ErrBundle, ManifestName, err)
	}
	if m.Format != manifestFormat {
		return m, fmt.Errorf("%w: %s: format %d is unknown; this xpipe reads format %d",
			ErrBundle, ManifestName, m.Format, manifestFormat)
	}
	if known != nil && !slices.Contains(known.Families, m.Family) {
		return m, fmt.Errorf("%w: %s: family %q is unknown; it is one of %s",
			ErrBundle, ManifestName, m.Family, join(known.Families))
	}
	if len(m.Graphs) == 0 {
		return m, fmt.Errorf("%w: %s names no graphs", ErrBundle, ManifestName)
	}
	for role, file := range m.Graphs {
		if err := checkName(ManifestName, file); err != nil {
			return m, fmt.Errorf("%w (graph %q)", err, role)
		}
	}
	if m.Projection != "" {
		if err := checkName(ManifestName, m.Projection); err != nil {
			return m, err
		}
	}
	for name, n := range m.Limits {
		if n < 0 || n > maxLimit {
			return m, fmt.Errorf("%w: %s: limit %q is %d, not from 0 to %d",
				ErrBundle, ManifestName, name, n, maxLimit)
		}
	}
	for task, c := range m.Calibration {
		if c.Threshold < 0 || c.Threshold > 1 {
			return m, fmt.Errorf("%w: %s: calibration of %q: the threshold %v is not from 0 to 1",
				ErrBundle, ManifestName, task, c.Threshold)
		}
	}
	for file := range m.SHA256 {
		if err := checkName(ManifestName, file); err != nil {
			return m, err
		}
	}
	return m, nil
}

func join(families []Family) string {
	names := make([]string, len(families))
	for i, f := range families {
		names[i] = string(f)
	}
	return strings.Join(names, ", ")
}

// checkName refuses names, written in a file of the bundle, that could leave it.
func checkName(in, name string) error {
	if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, `\:`) {
		return fmt.Errorf("%w: %s: %q is not a path inside the bundle", ErrBundle, in, name)
	}
	return nil
}
