package family

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/crossattn/xpipe/pipeline/graph"
)

// phi3vKinds are Phi-3-vision and Phi-3.5-vision (2404.14219), as onnxruntime-genai packs them and
// as transformers.js lays them out: each text between pictures is tokenized for itself, and its
// special tokens with it.
var phi3vKinds = []imageKind{
	{types: []string{"phi3v"}, mark: "<|image_1|>", around: "%s\n", apart: true},
	{
		types: []string{"phi3_v"}, mark: "<|image_1|>", around: "%s\n", apart: true, unpacked: true,
		roles: map[string]string{"prepare_inputs_embeds": graph.EmbedTokens, "model": graph.Decoder},
	},
}

// noToken is the id of pictures' rows where the vocabulary has none.
const noToken = -1

var numbered = regexp.MustCompile(`<\|image_(\d+)\|>`)

// composeApart lays out a prompt whose pictures are numbered, in order. Source: PhiImageProcessor of
// onnxruntime-genai 0.18, and processing_phi3_v.py of the checkpoints.
func (m *imageTokens) composeApart(prompt string, encoded []Encoded) ([]Segment, error) {
	places := numbered.FindAllStringIndex(prompt, -1)
	if len(places) != len(encoded) {
		return nil, fmt.Errorf("%w: the prompt has %d places for pictures, such as %q, for %d pictures",
			graph.ErrPrompt, len(places), m.placeholder, len(encoded))
	}
	var ids []int64
	from := 0
	for i := range len(places) + 1 {
		to := len(prompt)
		if i < len(places) {
			to = places[i][0]
		}
		if text := prompt[from:to]; text != "" || i == 0 {
			read, err := m.texts.Read(text)
			if err != nil {
				return nil, err
			}
			ids = append(ids, read...)
		}
		if i < len(places) {
			ids = append(ids, slices.Repeat([]int64{m.token}, encoded[i].States.Dim(1))...)
			from = places[i][1]
		}
	}
	return withPictures(prompt, ids, encoded), nil
}
