package family

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/tokenize"
)

// dualTexts turns texts into the inputs of a dual encoder's text tower.
type dualTexts struct {
	texts   Texts
	clean   string
	padTo   int   // tokens that every text is padded to; 0: the longest of a batch
	pad     int64 // the id that pads texts
	noPad   error // why there is no such id; nil where there is one
	left    bool  // pad in front
	masked  bool  // padding must be hidden from the model
	alone   bool  // texts of different lengths are no batch: the graph would read the padding
	sees    bool  // the model attends to padding, as SigLIP was trained to
	maxText int   // tokens that longer texts are cut to; 0: none is cut
}

// How Immich cleans texts before they are tokenized: clean_text of its machine-learning service.
const (
	cleanSpaces    = "spaces"       // white space becomes single spaces
	cleanCanonical = "canonicalize" // then ASCII punctuation goes, and capitals
)

// maxModelLength is where transformers' model_max_length means that no length is known.
const maxModelLength = 1 << 20

func openDualTexts(bundle *models.Bundle, texts Texts, sigmoid bool) (d dualTexts, err error) {
	var manifest struct {
		TextPadding  string `json:"text_padding"`  // longest, max_length or masked
		TextCleaning string `json:"text_cleaning"` // "", spaces or canonicalize
	}
	if err := bundle.JSON(models.ManifestName, &manifest); err != nil {
		return d, err
	}
	config := tokenizerConfig{Class: "CLIPTokenizer"}
	if sigmoid {
		config.Class = "SiglipTokenizer"
	}
	switch err := bundle.JSON(tokenizerConfigName, &config); {
	case ignoreMissing(err) != nil:
		return d, err
	case err != nil && sigmoid && isGemmas(texts):
		// Nothing says that this is SigLIP 2 but its vocabulary; its checkpoints pad behind.
		config.Class, config.Side = "GemmaTokenizer", "right"
	}
	if !slices.Contains([]string{"", "left", "right"}, config.Side) {
		return d, fmt.Errorf("%w: %s: padding_side is %q, neither left nor right",
			graph.ErrBundle, tokenizerConfigName, config.Side)
	}
	class := strings.TrimSuffix(config.Class, "Fast")
	d = dualTexts{texts: texts, clean: manifest.TextCleaning, maxText: bundle.Limits["max_text"]}
	// Siglip2Tokenizer of transformers 5 is Gemma's behind lower case. Checkpoints of SigLIP 2 name
	// Gemma's.
	isGemma := class == "GemmaTokenizer" && (sigmoid || config.Lower)
	if d.clean == "" && (class == "Siglip2Tokenizer" || isGemma) {
		d.texts = texts.With(texts.Lowercased())
	}
	if d.maxText == 0 && config.MaxLength > 0 && config.MaxLength <= maxModelLength {
		d.maxText = int(config.MaxLength)
	}
	d.masked = manifest.TextPadding == "masked"
	if manifest.TextPadding == "max_length" {
		d.padTo = d.maxText
	}
	d.sees = sigmoid && !slices.Contains(config.Inputs, graph.AttentionMask)
	// Immich always pads behind; Gemma's classes pad in front unless they are told otherwise.
	d.left = d.clean == "" && (config.Side == "left" ||
		config.Side == "" && (class == "Siglip2Tokenizer" || isGemma))
	d.pad, d.noPad, err = padID(bundle, texts, config)
	return d, err
}

// isGemmas reports whether a vocabulary has the marks of Gemma's, and not that which SigLIP pads with.
func isGemmas(texts Texts) bool {
	_, pads := texts.TokenToID(classPads["SiglipTokenizer"])
	_, begins := texts.TokenToID("<bos>")
	_, ends := texts.TokenToID("<eos>")
	return !pads && begins && ends
}

// fit pads texts to the length that a graph's input_ids have, where it is fixed. A graph that needs
// a mask of the padding and takes none gets texts one by one.
func (d *dualTexts) fit(g *graph.Graph) {
	d.alone = d.masked && !g.HasInput(graph.AttentionMask)
	for _, in := range g.Inputs() {
		if in.Name == graph.InputIDs && len(in.Shape) == 2 && in.Shape[1] > 0 {
			d.padTo = in.Shape[1]
			if d.maxText == 0 || d.maxText > d.padTo {
				d.maxText = d.padTo
			}
		}
	}
}

const tokenizerConfigName = "tokenizer_config.json"

// tokenizerConfig is what of tokenizer_config.json is read.
type tokenizerConfig struct {
	Class     string          `json:"tokenizer_class"`
	Pad       json.RawMessage `json:"pad_token"` // the token, or an object with its content
	Added     json.RawMessage `json:"added_tokens_decoder"`
	Side      string          `json:"padding_side"`
	Lower     bool            `json:"do_lower_case"`
	MaxLength float64         `json:"model_max_length"`
	Inputs    []string        `json:"model_input_names"`
}

// padID returns the id of the token that pads texts, by transformers' rules: special_tokens_map.json
// names it, where it is read, else tokenizer_config.json; where neither says anything, the class of
// the tokenizer does, or for one of no class of its own the padding of tokenizer.json. none says
// why there is no such token, for texts that need it.
func padID(
	bundle *models.Bundle, texts Texts, config tokenizerConfig,
) (id int64, none, err error) {
	const mapName = "special_tokens_map.json"
	pad, source := config.Pad, tokenizerConfigName
	if config.Added == nil {
		var special struct {
			Pad json.RawMessage `json:"pad_token"`
		}
		if err := bundle.JSON(mapName, &special); ignoreMissing(err) != nil {
			return 0, nil, err
		}
		if special.Pad != nil {
			pad, source = special.Pad, mapName
		}
	}
	var token string
	switch {
	case pad == nil:
		source = "the class " + config.Class
		if token = classPads[strings.TrimSuffix(config.Class, "Fast")]; token == "" {
			var file struct {
				Padding struct {
					Token string `json:"pad_token"`
				} `json:"padding"`
			}
			source = "tokenizer.json"
			if err := bundle.JSON(source, &file); err != nil {
				return 0, nil, err
			}
			token = file.Padding.Token
		}
	case string(pad) == "null":
	case json.Unmarshal(pad, &token) != nil:
		var object struct {
			Content string `json:"content"`
		}
		if err := json.Unmarshal(pad, &object); err != nil {
			return 0, nil, fmt.Errorf("%w: %s has no usable pad_token", graph.ErrBundle, source)
		}
		token = object.Content
	}
	if token == "" {
		return 0, fmt.Errorf("%w: %s names no pad_token, and texts of different lengths need one",
			graph.ErrBundle, source), nil
	}
	id, ok := texts.TokenToID(token)
	if !ok {
		return 0, fmt.Errorf("%w: tokenizer.json has no token %q, which %s pads with",
			graph.ErrBundle, token, source), nil
	}
	return id, nil, nil
}

// classPads are the tokens that tokenizers of transformers pad with where no file says so.
var classPads = map[string]string{
	"CLIPTokenizer": "<|endoftext|>", "SiglipTokenizer": "</s>", "GemmaTokenizer": "<pad>",
	"Siglip2Tokenizer": "<pad>", "NllbTokenizer": "<pad>", "T5Tokenizer": "<pad>",
	"XLMRobertaTokenizer": "<pad>", "RobertaTokenizer": "<pad>", "BertTokenizer": "[PAD]",
}

// inputs returns the graph's inputs for texts: input_ids [B,T] and, where it takes them,
// attention_mask [B,T] and token_type_ids [B,T] of zeros.
func (d *dualTexts) inputs(g *graph.Graph, texts []string) (map[string]*tensor.Tensor, error) {
	ids, mask, err := d.tokens(texts)
	if err != nil {
		return nil, err
	}
	in := map[string]*tensor.Tensor{graph.InputIDs: ids, graph.AttentionMask: mask}
	const types = "token_type_ids"
	if g.HasInput(types) {
		in[types], err = tensor.Zeros(tensor.Int64, ids.Shape()...)
	}
	return in, err
}

// tokens returns padded ids [B,T], and the mask [B,T] of the tokens to attend to: all of them,
// padding included, where the model was trained so. Texts longer than the model's positions lose
// their end, as in the reference.
func (d *dualTexts) tokens(texts []string) (ids, mask *tensor.Tensor, err error) {
	longest := d.padTo
	rows := make([][]int64, len(texts))
	for i, text := range texts {
		if rows[i], err = d.read(text); err != nil {
			return nil, nil, err
		}
		longest = max(longest, len(rows[i]))
	}
	padded := make([]int64, 0, len(texts)*longest)
	attended := make([]int64, 0, len(texts)*longest)
	for _, row := range rows {
		lacking := longest - len(row)
		if lacking > 0 && d.noPad != nil {
			return nil, nil, d.noPad
		}
		text, there := row, slices.Repeat([]int64{1}, len(row))
		pads, absent := slices.Repeat([]int64{d.pad}, lacking), make([]int64, lacking)
		if d.sees {
			absent = slices.Repeat([]int64{1}, lacking)
		}
		if d.left {
			text, pads, there, absent = pads, text, absent, there
		}
		padded = append(append(padded, text...), pads...)
		attended = append(append(attended, there...), absent...)
	}
	if ids, err = tensor.New([]int{len(texts), longest}, padded); err != nil {
		return nil, nil, err
	}
	mask, err = tensor.New([]int{len(texts), longest}, attended)
	return ids, mask, err
}

// read returns the ids of a text, cut where it is too long; there is at least one.
func (d *dualTexts) read(text string) ([]int64, error) {
	options := append(truncated(d.maxText), tokenize.WithPadding(nil))
	ids, err := d.texts.Read(d.cleaned(text), options...)
	if err == nil && len(ids) == 0 {
		err = fmt.Errorf("%w: nothing of %q is left after tokenizing", graph.ErrPrompt, text)
	}
	return ids, err
}

// punctuation drops what Python's string.punctuation lists.
var punctuation = strings.NewReplacer(drop("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")...)

func drop(letters string) (pairs []string) {
	for _, r := range letters {
		pairs = append(pairs, string(r), "")
	}
	return pairs
}

// cleaned returns a text as Immich gives it to the tokenizer.
func (d *dualTexts) cleaned(text string) string {
	if d.clean == "" {
		return text
	}
	text = strings.Join(strings.Fields(text), " ")
	if d.clean == cleanCanonical {
		text = strings.ToLower(punctuation.Replace(text))
	}
	return text
}
