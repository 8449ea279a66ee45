package decode

import (
	"cmp"
	"encoding/json"

	"github.com/crossattn/xpipe/models"
)

// cacheSides are the heads and their width in the caches of self-attention and of cross-attention,
// -1 where they are unknown.
type cacheSides struct{ self, cross [2]int }

// decoderConfig is what transformers' configurations call the sizes of a decoder.
type decoderConfig struct {
	DecoderHeads int `json:"decoder_attention_heads"`
	Heads        int `json:"num_attention_heads"`
	GPTHeads     int `json:"n_head"`
	KeyHeads     int `json:"num_key_value_heads"`
	HeadDim      int `json:"head_dim"`
	HeadSize     int `json:"head_size"` // genai_config.json's name
	Model        int `json:"d_model"`
	Hidden       int `json:"hidden_size"`
	GPTWidth     int `json:"n_embd"`
}

func (c decoderConfig) sides() cacheSides {
	heads := cmp.Or(c.DecoderHeads, c.Heads, c.GPTHeads)
	width := cmp.Or(c.Model, c.Hidden, c.GPTWidth)
	dim := cmp.Or(c.HeadDim, c.HeadSize)
	if dim <= 0 && heads > 0 {
		dim = width / heads
	}
	if heads <= 0 || dim <= 0 {
		return cacheSides{[2]int{-1, -1}, [2]int{-1, -1}}
	}
	self := heads
	if c.KeyHeads > 0 {
		self = c.KeyHeads
	}
	return cacheSides{[2]int{self, dim}, [2]int{heads, dim}}
}

// configSides reads the sides of the cache from config.json, for graphs that declare them with
// names instead of numbers: from the decoder's section where the file has one, or from
// genai_config.json in a folder without config.json. They are unknown
// where it says nothing of the kind, and for xpipe's own bundles, whose graphs have the numbers.
func configSides(bundle *models.Bundle) cacheSides {
	unknown := decoderConfig{}.sides()
	var file map[string]json.RawMessage
	if bundle.Layout == "" {
		return unknown
	}
	if bundle.JSON("config.json", &file) != nil {
		var genAI struct {
			Model struct {
				Decoder decoderConfig `json:"decoder"`
			} `json:"model"`
		}
		if bundle.JSON("genai_config.json", &genAI) != nil {
			return unknown
		}
		return genAI.Model.Decoder.sides()
	}
	for _, section := range []string{"decoder", "text_config", "language_config"} {
		var part decoderConfig
		if raw := file[section]; raw != nil && json.Unmarshal(raw, &part) == nil {
			if s := part.sides(); s != unknown {
				return s
			}
		}
	}
	var whole decoderConfig
	if bundle.JSON("config.json", &whole) != nil {
		return unknown
	}
	return whole.sides()
}
