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

// manifestFormat is the format version that this package reads.
const manifestFormat = 1

// maxLimit bounds a manifest's limits, which become sizes of tensors. No model of these families
// has as many positions.
const maxLimit = 1 << 20

// Family is the name of a model family; BUNDLE.md lists them. Package pipeline/family runs them.
type Family string

// Manifest is the content of xpipe.json; see BUNDLE.md for its fields.
type Manifest struct {
	Format int    `json:"format"`
	Name   string `json:"name"`
	Family Family `json:"family"`
	// Layout is config.json's model_type where the manifest was derived from another tool's layout;
	// "" in an xpipe.json that the directory has.
	Layout string `json:"layout,omitempty"`
	// Tasks lists the tasks that the model was made for, such as "caption" and "answer"; empty
	// where they are unknown.
	Tasks []string `json:"tasks,omitempty"`
	// Graphs gives the file of each role, such as "qformer": "onnx/qformer.onnx".
	Graphs map[string]string `json:"graphs"`
	// Folders are where other files than graphs are looked for that are not at the root: Immich's
	// "textual" has the tokenizer.
	Folders []string `json:"folders,omitempty"`
	// Projection is a safetensors file of weights that are applied in Go; "" if there are none.
	Projection string `json:"projection,omitempty"`
	// DType is the storage type of the weights: "fp32", "fp16" or "int8"; "float16" where the
	// arithmetic is float16, too.
	DType string `json:"dtype,omitempty"`
	// Prompts gives the template of the prompt by task: "caption", "answer". {} stands for the
	// user's text.
	Prompts map[string]string `json:"prompts,omitempty"`
	// KeepSpecialTokens keeps special tokens in generated texts, for models that express their
	// output with them, such as tags of a document or positions in a picture. The end token is
	// always dropped.
	KeepSpecialTokens bool `json:"keep_special_tokens,omitempty"`
	// Limits bound the model's inputs, such as "max_positions".
	Limits map[string]int `json:"limits,omitempty"`
	// Calibration gives the probability that a text is right, by task; only "caption" is used.
	Calibration map[string]Calibration `json:"calibration,omitempty"`
	// Provenance describes how the bundle was made; it is shown, not used.
	Provenance json.RawMessage `json:"provenance,omitempty"`
	// SHA256 gives the lower-case hexadecimal hash of every other file.
	SHA256 map[string]string `json:"sha256,omitempty"`
}

// Calibration turns the mean log-probability m of a text's tokens into the probability 1 / (1 +
// exp(-(Slope*m + Intercept))) that it is right. Texts below Threshold count as unsure.
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
	for _, folder := range m.Folders {
		if err := checkName(ManifestName, folder); err != nil {
			return m, err
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

// checkName refuses a path, written in a file of the bundle, that leads out of the bundle.
func checkName(in, name string) error {
	if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, `\:`) {
		return fmt.Errorf("%w: %s: %q is not a path inside the bundle", ErrBundle, in, name)
	}
	return nil
}
