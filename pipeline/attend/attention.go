// Package attend makes maps of attention: it records the attention of a model's graphs while they
// run, as an engine around the engine, joins it to stages that lead from tokens to the picture, and
// draws maps of them. Each family in package family says which graphs lead where.
package attend

import (
	"fmt"
	"image"
	"strings"

	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
)

// Attention is where a model looked. Map and WordMap give a map of the picture for a token or a
// word; Overlay draws one. Stages has what they are made of: the attention probabilities of every
// layer and head.
//
// Attention shows which parts of the picture were read, not which ones decided. `make
// eval-attention` measures, model by model, how faithful the maps are.
type Attention struct {
	// Text is the model's text or answer; nil where it writes nothing.
	Text *decode.Text
	// Tokens are the texts that have a map. They are the tokens that the model wrote. For LXMERT
	// they are those of the question. For CLIP there is one, the request's question; its map shows
	// the picture as a whole, unless the encoder is convolutional.
	Tokens []string
	// Stages are matrices that lead from the tokens to the picture. The rows of the first are the
	// tokens, and the rows of each later one are the columns of the one before. The columns of the
	// last are cells of the picture, or LXMERT's regions. Their product is the map of every token.
	//
	//	BLIP-2    tokens over queries, queries over patches; then patches over cells, where the
	//	          encoder's tokens are not cells of the picture
	//	Flamingo  tokens over latents, latents over patches; one stage without a resampler
	//	LXMERT    words over regions
	//	CLIP      the class token over patches; the text over cells, where the encoder is
	//	          convolutional
	Stages []Stage
	// Reverse is LXMERT's other direction, regions over words; else nil.
	Reverse *Stage
	// Image is the picture the maps lie on (the last of several), turned where the model sees it
	// turned (vision.Preprocessor.Turn); nil where only regions were given.
	Image image.Image
	// Seen is the part of Image that the model saw and the maps cover.
	Seen vision.Region
	// Boxes are the regions of LXMERT, one for each column of a map; else nil.
	Boxes []vision.Region

	columns []cell // of the last stage
	rows    int    // of a map
	cols    int
}

// Stage is the attention of one module, such as a decoder's cross-attention: the probabilities after
// the softmax, for every layer and head.
//
// Two kinds of stage are no attention. They have one layer and one head, and their Rollout equals
// their map. "patches over cells" says which cells of the picture the encoder's tokens come from.
// Class activation says how much each cell of a convolutional encoder adds to the similarity (Zhou
// et al., 1512.04150).
type Stage struct {
	Name          string // its rows and columns, such as "tokens over queries"
	Layers, Heads int
	// Maps are [layers,heads,rows,columns] float32. Columns outside the picture (text, padding) are
	// left out, so rows sum to 1 or less.
	Maps *tensor.Tensor
	// Rollout [rows,columns] estimates how much of each column reaches each row through all layers,
	// residual connections included (Abnar and Zuidema, 2005.00928). Of every layer, the mean over
	// heads M becomes 0.5*M + 0.5*I, and the layers are multiplied. Where the module has
	// cross-attention, its columns are what that reads. It is nil where the engine showed only part
	// of the layers, for BLIP's words over patches, and for the words over queries of a BLIP-2 with
	// a text encoder (T5).
	Rollout *tensor.Tensor
}

// Pick chooses the layer and head of a stage. The zero value is the mean over all layers and heads.
type Pick struct {
	Layer, Head int  // from 1; 0 is the mean over all
	Rollout     bool // the rollout in place of both
}

// Map is where a token looked: Rows*Cols weights that sum to 1, row by row from the top left of
// Attention.Seen. For LXMERT it is one row, a column a region.
type Map struct {
	Rows    int       `json:"rows"`
	Cols    int       `json:"cols"`
	Weights []float32 `json:"weights"`
	// Share is the part of the token's attention, from 0 to 1, that went to cells of the picture at
	// all; the rest went to text, to a class token or to tokens without a cell. Weights are scaled to
	// a sum of 1 whatever it is; where it is 0, all are equal.
	Share float64 `json:"share"`
}

// Map returns where a token looked: its row of the first stage, multiplied by the stages after it.
// picks choose a layer and a head for each stage, in order; stages without a pick use the mean. A
// token, layer or head that does not exist gives an error that wraps graph.ErrOption.
func (a *Attention) Map(token int, picks ...Pick) (Map, error) {
	m := Map{Rows: a.rows, Cols: a.cols, Weights: make([]float32, a.rows*a.cols)}
	if token < 0 || token >= len(a.Tokens) {
		return m, fmt.Errorf("%w: there is no token %d among %d",
			graph.ErrOption, token, len(a.Tokens))
	}
	var row []float64
	for i := range a.Stages {
		var pick Pick
		if i < len(picks) {
			pick = picks[i]
		}
		matrix, cols, err := a.Stages[i].matrix(pick)
		if err != nil {
			return m, err
		}
		if i == 0 {
			row = matrix[token*cols : (token+1)*cols]
			continue
		}
		next := make([]float64, cols)
		for r, w := range row {
			for c := range next {
				next[c] += w * matrix[r*cols+c]
			}
		}
		row = next
	}
	fine := make([]float64, len(m.Weights))
	for c, w := range row {
		m.Share += a.columns[c].spread(fine, a.rows, a.cols, w)
	}
	for i := range fine {
		if m.Share > 0 {
			m.Weights[i] = float32(fine[i] / m.Share)
		} else {
			m.Weights[i] = 1 / float32(len(fine))
		}
	}
	return m, nil
}

// matrix returns the stage as [rows,columns] for a pick.
func (s *Stage) matrix(p Pick) (m []float64, cols int, err error) {
	rows, cols := s.Maps.Dim(2), s.Maps.Dim(3)
	size := rows * cols
	m = make([]float64, size)
	switch {
	case p.Rollout && s.Rollout == nil:
		return nil, 0, fmt.Errorf("%w: there is no rollout of %s", graph.ErrOption, s.Name)
	case p.Layer < 0 || p.Layer > s.Layers || p.Head < 0 || p.Head > s.Heads:
		return nil, 0, fmt.Errorf("%w: layer %d, head %d of %s, which has %d layers and %d heads",
			graph.ErrOption, p.Layer, p.Head, s.Name, s.Layers, s.Heads)
	case p.Rollout:
		for i, v := range tensor.Data[float32](s.Rollout) {
			m[i] = float64(v)
		}
		return m, cols, nil
	}
	values := tensor.Data[float32](s.Maps)
	n := 0.0
	for l := range s.Layers {
		for h := range s.Heads {
			if (p.Layer == 0 || p.Layer == l+1) && (p.Head == 0 || p.Head == h+1) {
				n++
				for i, v := range values[(l*s.Heads+h)*size:][:size] {
					m[i] += float64(v)
				}
			}
		}
	}
	for i := range m {
		m[i] /= n
	}
	return m, cols, nil
}

// Places says where in the picture the columns of the last stage lie. Each entry has the row and the
// column of a cell, then the number of rows and of columns of its grid over Seen. It is all zeros for
// a column that is no cell, such as a class token. A model may have several grids; a Map has the
// finest, so that a cell of another covers several of its cells.
func (a *Attention) Places() [][4]int {
	list := make([][4]int, len(a.columns))
	for i, p := range a.columns {
		list[i] = [4]int{p.row, p.col, p.rows, p.cols}
	}
	return list
}

// Word is a run of tokens that make one word.
type Word struct {
	Text  string `json:"text"`
	First int    `json:"first"` // token
	Last  int    `json:"last"`
}

// Words groups the tokens into words. A token starts a word if it begins with a space, or follows
// one that ends with a space. A token of a question (LXMERT) starts a word unless it begins with
// BERT's "##".
func (a *Attention) Words() []Word {
	var words []Word
	for i, t := range a.Tokens {
		begins := strings.HasPrefix(t, " ") || i > 0 && strings.HasSuffix(a.Tokens[i-1], " ")
		if a.Boxes != nil {
			var continues bool
			t, continues = strings.CutPrefix(t, "##")
			begins = !continues
		}
		if i == 0 || begins {
			words = append(words, Word{First: i})
		}
		w := &words[len(words)-1]
		w.Text += t
		w.Last = i
	}
	for i := range words {
		words[i].Text = strings.TrimSpace(words[i].Text)
	}
	return words
}

// WordMap returns the mean of the maps of a word's tokens. Errors are those of Map.
func (a *Attention) WordMap(w Word, picks ...Pick) (Map, error) {
	var mean Map
	n := float32(w.Last - w.First + 1)
	for t := w.First; t <= w.Last; t++ {
		m, err := a.Map(t, picks...)
		if err != nil {
			return m, err
		}
		if mean.Weights == nil {
			mean = Map{Rows: m.Rows, Cols: m.Cols, Weights: make([]float32, len(m.Weights))}
		}
		for i, v := range m.Weights {
			mean.Weights[i] += v / n
		}
		mean.Share += m.Share / float64(n)
	}
	return mean, nil
}
