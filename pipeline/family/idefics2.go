package family

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// idefics2Kinds are Idefics2 (Laurençon et al., 2405.02246): pictures in their own shape and their
// quarters, of which a perceiver resampler makes equal numbers of rows. No other tool's folders are
// read: tools/export makes its bundles.
var idefics2Kinds = []imageKind{{
	types: []string{"idefics2"}, around: "%s", markup: framedMarkup, finish: joinFrames, masked: true, own: true,
}}

// framed is the token on both sides of a part of a picture.
const framed = "<fake_token_around_image>"

// framedMarkup sets a token around the rows of each part of a picture.
func framedMarkup(token string, e Encoded) string {
	parts := max(e.Tiles, 1)
	return strings.Repeat(framed+strings.Repeat(token, e.States.Dim(1)/parts)+framed, parts)
}

// joinFrames leaves one token between parts (processing_idefics2.py, transformers 4.57.6). Texts right
// behind a picture begin with a space in transformers 5, whose tokenizers do not begin them so.
func joinFrames(m *imageTokens, prompt string) string {
	prompt = strings.ReplaceAll(prompt, framed+framed, framed)
	if !m.newer {
		return prompt
	}
	texts := strings.Split(prompt, framed)
	for i, text := range texts[1:] {
		first, _ := utf8.DecodeRuneInString(text)
		if text != "" && first != '<' && !unicode.IsSpace(first) {
			texts[i+1] = " " + text
		}
	}
	return strings.Join(texts, framed)
}

// readsLike5 reports whether a bundle's texts are read as transformers 5 reads them.
func readsLike5(bundle *models.Bundle) (bool, error) {
	var manifest struct {
		Follows string `json:"tokenizer_follows"`
	}
	err := ignoreMissing(bundle.JSON(models.ManifestName, &manifest))
	return strings.HasPrefix(manifest.Follows, "transformers 5."), err
}

// pixelAttentionMask is [N,H,W] bool: which pixels of pictures that are padded to one size are theirs.
const pixelAttentionMask = "pixel_attention_mask"

// cropToMask takes off what is padding in all parts of a picture, pixel_values [N,3,H,W].
func cropToMask(own map[string]*tensor.Tensor) error {
	mask, pixels := own[pixelAttentionMask], own[graph.PixelValues]
	if mask == nil || pixels == nil || mask.Rank() != 3 || mask.DType() != tensor.Bool || pixels.Rank() != 4 {
		return nil
	}
	height, width := mask.Dim(1), mask.Dim(2)
	h, w := 1, 1
	for i, seen := range tensor.Data[bool](mask) {
		if seen {
			h, w = max(h, i/width%height+1), max(w, i%width+1)
		}
	}
	var err error
	if own[pixelAttentionMask], err = topLeft(mask, h, w); err == nil {
		own[graph.PixelValues], err = topLeft(pixels, h, w)
	}
	return err
}
