// Package family holds the model families: one file each, and a table with one row each, which all
// code that depends on a family reads. A family knows its graphs, how text and pictures make its
// prompt, and how its graphs follow one another. Package decode decodes, package attend draws
// attention, package pipeline takes requests and sets limits.
package family

import (
	"context"
	"encoding/json"
	"fmt"
	"image"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/attend"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/pipeline/reading"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
)

// Family is one row of a table of families.
type Family struct {
	// Name is what xpipe.json calls the family.
	Name models.Family
	// Layouts describe the directories without xpipe.json that are a model of the family, by
	// config.json's model_type: the roles of a whole model, and the keys of its xpipe.json.
	Layouts []models.Layout
	// Open opens a model's graphs. The Opener closes them. Errors wrap graph.ErrBundle or are those
	// of the engine.
	Open func(*graph.Opener, *Config) (Model, error)
	// Wordless models have no texts, and no tokenizer.
	Wordless bool
	// TextOnly models read text alone.
	TextOnly bool
}

// Table is a list of families. A program that wants only some of them opens its Pipeline with
// pipeline.WithFamilies.
type Table []Family

// Find returns the row of a family; the error wraps graph.ErrUnsupported.
func (t Table) Find(name models.Family) (*Family, error) {
	for i := range t {
		if t[i].Name == name {
			return &t[i], nil
		}
	}
	return nil, fmt.Errorf("%w: no pipeline for family %s", graph.ErrUnsupported, name)
}

// Known returns the option that gives package models the families' names, for manifests, and
// their layouts, for directories without a manifest.
func (t Table) Known() models.Option {
	known := models.Known{}
	for _, f := range t {
		known.Families = append(known.Families, f.Name)
		known.Layouts = append(known.Layouts, f.Layouts...)
	}
	return models.WithKnown(known)
}

// Config holds the parts of a model beside its graphs.
type Config struct {
	Texts   Texts
	Options decode.Options // of generation_config.json
	// Preparer returns the front end of a kind of media, as the bundle configures it.
	Preparer func(media.Kind) (media.Preparer, error)
	// ItemsAlone says that only items will be embedded: an encoder of texts that is a graph of its own is
	// not opened.
	ItemsAlone bool
}

// Model is an opened model of a family. It is safe for concurrent use. Its tasks are the other
// interfaces of this package that it implements.
type Model interface {
	// Media lists the kinds of media that a request may hold.
	Media() []media.Kind
}

// Part is a piece of a prompt: an item, or text where Item is nil.
type Part struct {
	Text string
	Item media.Item
	// Role makes the part one of a conversation, for a Chatter: "system", "user" or "assistant".
	// Neighbouring parts of one role are one message, but for those that begin one.
	Role string
	// Begins says that the part begins a message, though the one before has the same role.
	Begins bool
	// Extra is a JSON object of what the part's message has for the template beside its content.
	Extra json.RawMessage
	// Variables are what the template is given beside the messages, in JSON; any part may have them.
	Variables map[string]json.RawMessage
}

// Encoded is the output of a model's encoder for one item: [1,N,D] float32 patches, queries or
// latents, which the decoder reads. Any number of prompts may use it.
type Encoded struct {
	States *tensor.Tensor
	// Kind is that of the item for models that take several; "" stands for the only one.
	Kind media.Kind
	// Amid is States of an item that is one of several in a prompt, for models to which that matters;
	// else nil.
	Amid *tensor.Tensor
	// Grid has the columns and rows of tiles, or of patches, that the item was cut into, and Tiles
	// is how many there are with the whole picture; zero for models that do not cut.
	Grid  image.Point
	Tiles int
	// Each has the rows of each tile, for models whose tiles differ; else nil.
	Each []int
	// Keys are the keys and values that the decoder's cross-attention reads of States, [1,heads,N,dim] by
	// the decoder's names, where a KeyMaker has made them ahead; else nil, and Begin makes them.
	Keys map[string]*tensor.Tensor
}

// Segment is a piece of a composed prompt: text, or an item's rows.
type Segment struct {
	Text string  // the text that IDs encode
	IDs  []int64 // of text
	// Embeds are the rows [1,N,D] of an item, which replace it in the prompt or which
	// cross-attention reads; nil for text.
	Embeds *tensor.Tensor
	Media  int                       // the item's index among those of the prompt
	Kind   media.Kind                // that of Encoded
	Grid   image.Point               // that of Encoded
	Keys   map[string]*tensor.Tensor // those of Encoded
}

// Writer is a model that writes text.
type Writer interface {
	Model
	// Encode runs the encoder over prepared items and returns one Encoded for each. A caller may
	// keep the results.
	Encode(ctx context.Context, prepared media.Prepared) ([]Encoded, error)
	// Compose lays out one prompt; encoded belong to the parts that are items, in their order.
	Compose(parts []Part, encoded []Encoded) ([]Segment, error)
	// Begin starts one sequence for each composed prompt.
	Begin(ctx context.Context, prompts [][]Segment) (decode.Sequences, error)
	// StartsAfresh reports whether the decoder's text starts from one token, because an encoder
	// has read the prompt. Otherwise the text continues the prompt.
	StartsAfresh() bool
}

// Converser is a Writer whose prompts have any number of items with text in between, such as
// examples. Other Writers take one item, with text behind it.
type Converser interface {
	Writer
	// Write returns the text of a prompt, with markup in the place of items.
	Write(parts []Part) string
	// ExampleEnd returns the text that closes an example of a few-shot prompt.
	ExampleEnd() string
}

// Answerer answers from regions by picking one of a fixed list.
type Answerer interface {
	Model
	// Answer returns the logits [B,A] over the answers.
	Answer(
		ctx context.Context, regions []*vision.Regions, questions []string,
	) (*tensor.Tensor, error)
	// Label returns the text of an answer.
	Label(answer int) string
	// FeatureWidth returns the width F of the regions' features [R,F]; 0 where the graph does not
	// say.
	FeatureWidth() int
}

// Picker answers about whole pictures by picking one of a fixed list.
type Picker interface {
	Model
	// Pick returns the logits [B,A] over the answers to questions, of which question i is about the
	// prepared item which[i].
	Pick(
		ctx context.Context, prepared media.Prepared, which []int, questions []string,
	) (*tensor.Tensor, error)
	// Label returns the text of an answer.
	Label(answer int) string
}

// RegionEncoder makes a picture's regions for an Answerer.
type RegionEncoder interface {
	// Regions cuts boxes out of a picture, those that it finds where none are given, and encodes
	// them. prepare is the front end.
	Regions(
		ctx context.Context, img image.Image, boxes []image.Rectangle,
		prepare func(context.Context, []media.Item) (media.Prepared, error),
	) (*vision.Regions, error)
	// FindsRegions reports whether the bundle has the graph that Regions needs.
	FindsRegions() bool
}

// Match says how well a text fits a picture. In JSON it is a MatchJSON.
type Match struct {
	Text string
	// Probability is that the two belong together. BLIP and BLIP-2 judge each text for itself
	// (their ITM head), as SigLIP does; CLIP only compares, so that its probabilities sum to 1
	// over the texts given. It is 0 where Unscaled is true.
	Probability float64
	// Similarity is the cosine between the picture's and the text's embeddings, from -1 to 1; the
	// largest over the queries for BLIP-2 (its ITC score).
	Similarity float64
	// Unscaled says that the model's files lack the trained scale of its scores, without which
	// there are similarities and no probabilities.
	Unscaled bool
}

// MatchJSON is a Match in JSON. The lines of the command are made of it, too.
type MatchJSON struct {
	Text        string   `json:"text"`
	Probability *float64 `json:"probability"` // nil where there is none
	Similarity  float64  `json:"similarity"`
	Score       string   `json:"score,omitempty"` // BySimilarity where there is no probability
}

// BySimilarity is what "score" says of results that similarities rank, for want of probabilities.
const BySimilarity = "similarity"

// JSON returns what MarshalJSON writes.
func (m Match) JSON() MatchJSON {
	j := MatchJSON{Text: m.Text, Probability: &m.Probability, Similarity: m.Similarity}
	if m.Unscaled {
		j.Probability, j.Score = nil, BySimilarity
	}
	return j
}

// MarshalJSON writes the match as a MatchJSON.
func (m Match) MarshalJSON() ([]byte, error) { return json.Marshal(m.JSON()) }

// UnmarshalJSON reads what MarshalJSON writes.
func (m *Match) UnmarshalJSON(data []byte) error {
	var j MatchJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	*m = Match{Text: j.Text, Similarity: j.Similarity, Unscaled: j.Probability == nil}
	if j.Probability != nil {
		m.Probability = *j.Probability
	}
	return nil
}

// Matcher compares pictures with texts.
type Matcher interface {
	Model
	// Match judges texts against one item.
	Match(ctx context.Context, prepared media.Prepared, texts []string) ([]Match, error)
}

// BatchMatcher is a Matcher that judges the same texts against several items at once.
type BatchMatcher interface {
	Matcher
	// MatchAll returns one list of matches for each item.
	MatchAll(ctx context.Context, prepared media.Prepared, texts []string) ([][]Match, error)
}

// MatchEach judges the same texts against several items, one by one.
func MatchEach(ctx context.Context, m Matcher, prepared media.Prepared, texts []string) ([][]Match, error) {
	matches := make([][]Match, prepared.Items())
	for i := range matches {
		one, err := prepared.Item(i)
		if err != nil {
			return nil, err
		}
		if matches[i], err = m.Match(ctx, one, texts); err != nil {
			return nil, err
		}
	}
	return matches, nil
}

// Embedder has one space for media and texts.
type Embedder interface {
	Model
	// EmbedMedia and EmbedTexts return L2-normalised rows [B,E].
	EmbedMedia(ctx context.Context, prepared media.Prepared) (*tensor.Tensor, error)
	EmbedTexts(ctx context.Context, texts []string) (*tensor.Tensor, error)
}

// TextReader is a model that does not read texts as the tokenizer alone does.
type TextReader interface {
	Model
	// ReadText returns the ids of a text as the graphs get them, without padding.
	ReadText(text string) ([]int64, error)
}

// Classifier tells the classes of its own that it was trained on.
type Classifier interface {
	Model
	// Classes returns their names; the error wraps graph.ErrUnsupported where they are not known,
	// or there are none.
	Classes() ([]string, error)
	// Embeds reports whether the model can embed pictures, as its methods of an Embedder do.
	Embeds() bool
	// Scores returns the logits [N,C] of the classes; the error wraps graph.ErrUnsupported where
	// there are none.
	Scores(ctx context.Context, prepared media.Prepared) (*tensor.Tensor, error)
}

// Attender is a model whose attention leads to the picture.
type Attender interface {
	Model
	// Watched lists the roles of the graphs whose attention leads to the picture.
	Watched() []string
	// Attend joins the attention that w recorded to stages in a. The first has a row for each
	// token, the last a column for each of the picture's tokens or cells. It sets a.Tokens where
	// a.Text has none.
	Attend(ctx context.Context, a *attend.Attention, w *attend.Watch) error
}

// PageReader is a model that reads the text of pages, and where it stands.
type PageReader interface {
	Model
	// ReadPage reads a picture of a page.
	ReadPage(ctx context.Context, img *vision.RGB, o reading.Options) (*reading.Page, error)
}

// PageScribe is a Writer that may write pages down with the places of what stands on them.
type PageScribe interface {
	Writer
	// PageQuestion returns what the model is asked for that, "" where it does it unasked; ok is false where
	// it does not.
	PageQuestion() (question string, ok bool)
	// PageOf makes a page of what it wrote, about a picture of width by height pixels. prompt is the
	// caller's in the place of the model's own, else "".
	PageOf(prompt, written string, width, height int) *reading.Page
}

// LineScribe is a Writer of text without places: of one line of text, or, where it is a PageScribe, of a
// whole page.
type LineScribe interface {
	Writer
	// WritesLines reports whether it writes down a picture of one line.
	WritesLines() bool
}

// onePicture is the base of models that take pictures alone.
type onePicture struct{}

func (onePicture) Media() []media.Kind { return []media.Kind{media.Pictures} }

// single returns the item's states and the text of a prompt about exactly one item. The text has to
// stand behind the item.
func single(parts []Part, encoded []Encoded) (states *tensor.Tensor, text string, err error) {
	if len(encoded) != 1 {
		return nil, "", fmt.Errorf(
			"%w: this model takes one picture for each text; the request has %d",
			graph.ErrPrompt, len(encoded))
	}
	for i, p := range parts {
		if p.Item != nil && i > 0 {
			return nil, "", fmt.Errorf(
				"%w: this model takes text behind the picture, not before it", graph.ErrPrompt)
		}
		text += p.Text
	}
	return encoded[0].States, text, nil
}

// encodeEach splits states [N,...] into one Encoded for each item.
func encodeEach(states *tensor.Tensor, err error) ([]Encoded, error) {
	if err != nil {
		return nil, err
	}
	rows, err := graph.Split(states)
	if err != nil {
		return nil, err
	}
	encoded := make([]Encoded, len(rows))
	for i, r := range rows {
		encoded[i] = Encoded{States: r}
	}
	return encoded, nil
}

// stackStates joins the states of prompts about one item each: [B,N,D].
func stackStates(prompts [][]Segment) (*tensor.Tensor, error) {
	rows := make([]*tensor.Tensor, len(prompts))
	for i, p := range prompts {
		rows[i] = p[0].Embeds
	}
	return graph.Stack(rows)
}

// textIDs returns the ids of each prompt's text.
func textIDs(prompts [][]Segment) [][]int64 {
	ids := make([][]int64, len(prompts))
	for i, p := range prompts {
		for _, s := range p {
			ids[i] = append(ids[i], s.IDs...)
		}
	}
	return ids
}
