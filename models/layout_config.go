package models

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Types of configurations that have no model_type: open_clip's, which Immich writes, and timm's, as
// transformers calls it. CausalLMType stands for every type of language model without a layout of its own.
const (
	OpenCLIPType = "open_clip"
	TimmType     = "timm_wrapper"
	CausalLMType = "causal_lm"
)

// Config is the part of config.json that layouts read.
type Config struct {
	ModelType     string   `json:"model_type"`
	Architectures []string `json:"architectures"` // classes of transformers
	MaxPositions  int      `json:"max_position_embeddings"`
	GPTPositions  int      `json:"n_positions"`
	// TargetPositions are the decoder's of a Whisper.
	TargetPositions int `json:"max_target_positions"`
	TextConfig      struct {
		MaxPositions int `json:"max_position_embeddings"`
	} `json:"text_config"`
	LanguageConfig struct { // Janus
		MaxPositions int `json:"max_position_embeddings"`
	} `json:"language_config"`
	PhiConfig struct { // Moondream 2
		MaxPositions int `json:"max_position_embeddings"`
	} `json:"phi_config"`
	Answers int `json:"num_qa_labels"` // LXMERT
	// Encoder and Decoder are the parts of a VisionEncoderDecoderModel.
	Encoder struct {
		ModelType string `json:"model_type"`
	} `json:"encoder"`
	Decoder struct {
		ModelType    string `json:"model_type"`
		MaxPositions int    `json:"max_position_embeddings"`
		Positions    int    `json:"n_positions"` // GPT-2
	} `json:"decoder"`
	OpenCLIP

	Architecture  string          `json:"architecture"` // timm
	PretrainedCfg json.RawMessage `json:"pretrained_cfg"`

	TransformersJS json.RawMessage `json:"transformers.js_config"`

	folders []string // where files lie that are not at the root
}

// preferred returns the variant that config.json wants of a graph where none is asked for; "" where
// it does not say. transformers.js reads it there, as one for all graphs or one by the name of each,
// and calls the variants so (src/utils/dtypes.js, 4.2).
func (c *Config) preferred(stem string) string {
	// What does not parse is for other tools, and says nothing here.
	var file struct {
		DType json.RawMessage `json:"dtype"`
	}
	json.Unmarshal(c.TransformersJS, &file)
	var one string
	if json.Unmarshal(file.DType, &one) != nil {
		var each map[string]string
		json.Unmarshal(file.DType, &each)
		one = each[stem]
	}
	if one == "q8" {
		return "quantized"
	}
	return one
}

// isCausalLM says whether the class is a language model's, as transformers names them.
func (c *Config) isCausalLM() bool {
	return slices.ContainsFunc(c.Architectures, func(class string) bool {
		return strings.HasSuffix(class, "ForCausalLM") || strings.HasSuffix(class, "LMHeadModel")
	})
}

// OpenCLIP is open_clip's configuration of a model.
type OpenCLIP struct {
	VisionCfg json.RawMessage `json:"vision_cfg"`
	TextCfg   json.RawMessage `json:"text_cfg"`
	Text      struct {        // what TextCfg holds
		ContextLength   int `json:"context_length"`
		TokenizerKwargs struct {
			Clean string `json:"clean"`
		} `json:"tokenizer_kwargs"`
	} `json:"-"`
	InitLogitBias *float64 `json:"init_logit_bias"` // SigLIP
}

// read reads config.json, or what stands in its place: open_clip_config.json, or the config.json of
// the part that sentence-transformers' modules.json names. ok is false where there is none.
func (c *Config) read(d directory) (ok bool, err error) {
	parse := func(data []byte) error { return json.Unmarshal(data, c) }
	if ok, err = readJSON(d, "config.json", parse); err != nil {
		return false, err
	}
	if !ok {
		ok, err = readJSON(d, "open_clip_config.json", func(data []byte) error {
			var file struct {
				Model *OpenCLIP `json:"model_cfg"`
			}
			err := json.Unmarshal(data, &file)
			if file.Model != nil {
				c.OpenCLIP = *file.Model
			}
			return err
		})
	}
	if !ok && err == nil {
		ok, err = c.readModule(d)
	}
	switch {
	case err != nil:
	case c.ModelType == "" && c.TextCfg != nil && c.VisionCfg != nil:
		c.ModelType = OpenCLIPType
		if err = json.Unmarshal(c.TextCfg, &c.Text); err != nil {
			err = fmt.Errorf("%w: text_cfg of open_clip's configuration: %w", ErrBundle, err)
		}
	case c.ModelType == "" && c.PretrainedCfg != nil:
		c.ModelType = TimmType
	}
	return ok, err
}

// readModule reads the configuration of sentence-transformers' module for pictures and texts, which
// lies in a folder of its own.
func (c *Config) readModule(d directory) (ok bool, err error) {
	var folder string
	_, err = readJSON(d, "modules.json", func(data []byte) error {
		var modules []struct{ Path, Type string }
		if err := json.Unmarshal(data, &modules); err != nil {
			return err
		}
		for _, m := range modules {
			if strings.HasSuffix(m.Type, ".CLIPModel") && m.Path != "" {
				folder = m.Path
			}
		}
		return checkNameIfAny("modules.json", folder)
	})
	if err != nil || folder == "" {
		return false, err
	}
	c.folders = append(c.folders, folder)
	return readJSON(d, path.Join(folder, "config.json"), func(data []byte) error {
		return json.Unmarshal(data, c)
	})
}

func checkNameIfAny(in, name string) error {
	if name == "" {
		return nil
	}
	return checkName(in, name)
}
