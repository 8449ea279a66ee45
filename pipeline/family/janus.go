package family

import (
	"fmt"
	"strings"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// janusKinds are Janus and Janus-Pro (2410.13848), which understand pictures here, and make none.
var janusKinds = []imageKind{{
	types: []string{"multi_modality"}, token: "<image_placeholder>", around: "%s\n", unpacked: true, bare: true,
	inEmbeddings: true,
	roles:        map[string]string{"prepare_inputs_embeds": graph.EmbedTokens, "language_model": graph.Decoder},
	markup: func(token string, e Encoded) string {
		return "<begin_of_image>" + strings.Repeat(token, e.States.Dim(1)) + "<end_of_image>"
	},
}}

// seeByEmbeddings has the graph of embeddings make pictures' rows. How many a picture has is what the
// graph declares, or what the processor's configuration says.
func (m *imageTokens) seeByEmbeddings(bundle *models.Bundle) error {
	m.vision, m.output = m.decoder.EmbedGraph(), graph.InputsEmbeds
	if m.vision == nil || !m.vision.HasInput(graph.PixelValues) || !m.vision.HasInput(graph.SeenPlaces) {
		return fmt.Errorf("%w: the graph %s takes no %s and %s", graph.ErrBundle, graph.EmbedTokens, graph.PixelValues, graph.SeenPlaces)
	}
	for _, in := range m.vision.Inputs() {
		if in.Name == graph.SeenRows && len(in.Shape) == 3 && in.Shape[2] > 0 {
			m.rows = in.Shape[2]
			return nil
		}
	}
	var config struct {
		Rows int `json:"num_image_tokens"`
	}
	if err := ignoreMissing(bundle.JSON("processor_config.json", &config)); err != nil {
		return err
	}
	if m.rows = config.Rows; m.rows < 1 || m.rows > maxPositionLimit {
		return fmt.Errorf("%w: neither processor_config.json's num_image_tokens nor the graph %s says how many rows a "+
			"picture has", graph.ErrBundle, graph.EmbedTokens)
	}
	return nil
}

// addPlaces adds a prompt of a picture's rows alone to its pixels.
func (m *imageTokens) addPlaces(own map[string]*tensor.Tensor) (err error) {
	set := make([]bool, m.rows)
	for i := range set {
		set[i] = true
	}
	if own[graph.SeenPlaces], err = tensor.New([]int{1, m.rows}, set); err != nil {
		return err
	}
	if own[graph.SeenRows], err = tensor.New([]int{1, 1, m.rows}, set); err != nil {
		return err
	}
	own[graph.InputIDs], err = tensor.New([]int{1, m.rows}, make([]int64, m.rows))
	return err
}
