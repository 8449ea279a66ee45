package family

import (
	"fmt"

	"github.com/crossattn/xpipe/pipeline/graph"
)

// gitKinds are GIT (Wang et al., 2205.14100): the rows of one picture, the token that begins texts,
// and the text. No other tool's folders are read: tools/export makes its bundles.
var gitKinds = []imageKind{{types: []string{"git"}, ahead: true, own: true}}

// composeAhead lays out the rows of one picture and a text behind them, without the token that would
// end the text.
func (m *imageTokens) composeAhead(prompt string, encoded []Encoded) ([]Segment, error) {
	if len(encoded) != 1 {
		return nil, fmt.Errorf("%w: there are %d pictures, and the model reads one",
			graph.ErrPrompt, len(encoded))
	}
	read, err := m.texts.Read(prompt)
	if err != nil {
		return nil, err
	}
	if len(read) < 2 {
		return nil, fmt.Errorf("%w: the tokenizer sets no text between a first and a last token, as "+
			"GIT's does", graph.ErrBundle)
	}
	ids := make([]int64, encoded[0].States.Dim(1), encoded[0].States.Dim(1)+len(read))
	for i := range ids {
		ids[i] = m.token
	}
	return withPictures(prompt, append(ids, read[:len(read)-1]...), encoded), nil
}
