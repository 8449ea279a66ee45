package pipeline

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/internal/sweep"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// bad is a bundle that must fail: a good one, what is done to it, the sentinel of
// the error and a part of its message. The message is that of the Go engine; where
// ONNX Runtime is the one to complain, its words are its own.
type bad struct {
	name   string
	bundle string
	edit   edit
	err    error
	says   string
	use    func(ctx context.Context, p *Pipeline) error // nil: what the family is for
	verify bool                                         // compare the hashes
	goOnly string                                       // why ONNX Runtime may accept it
}

// The parts of bundles that the rows name most.
const (
	manifestFile   = "xpipe.json"
	tokenizerFile  = "tokenizer.json"
	generationFile = "generation_config.json"
	pixelsFile     = "preprocessor_config.json"
	weightsFile    = "projection.safetensors"
	decoderFile    = "onnx/decoder_model_merged.onnx"
	embedFile      = "onnx/embed_tokens.onnx"
	visionFile     = "onnx/vision_encoder.onnx"
	qformerFile    = "onnx/qformer.onnx"
)

var badManifests = []bad{
	{name: "no manifest", edit: all(drop(manifestFile), drop("config.json")), err: ErrBundle, says: "config.json"},
	{name: "no file at all", edit: func(_ *testing.T, f files) { clear(f) }, err: ErrBundle, says: "no usable xpipe.json"},
	{name: "empty", edit: put(manifestFile, ""), err: ErrBundle, says: "xpipe.json"},
	{name: "half", edit: cut(manifestFile, 0.5), err: ErrBundle, says: "xpipe.json"},
	{name: "binary", edit: put(manifestFile, "\x00\xff\x00\xff"), err: ErrBundle, says: "xpipe.json"},
	{name: "a list", edit: put(manifestFile, "[1,2]"), err: ErrBundle, says: "xpipe.json"},
	{name: "nested a million deep", edit: put(manifestFile, strings.Repeat(`{"a":`, 1e6)), err: ErrBundle, says: "depth"},
	{name: "format of the future", edit: set(manifestFile, 2, "format"), err: ErrBundle, says: "format 2"},
	{name: "format left out", edit: set(manifestFile, nil, "format"), err: ErrBundle, says: "format 0"},
	{name: "format overflows", edit: set(manifestFile, 1e30, "format"), err: ErrBundle, says: "xpipe.json"},
	{name: "family unknown", edit: set(manifestFile, "resnet", "family"), err: ErrBundle, says: "resnet"},
	{name: "family of another kind", edit: set(manifestFile, "lxmert", "family"), err: ErrBundle, says: `"model"`},
	{name: "family a number", edit: set(manifestFile, 7, "family"), err: ErrBundle, says: "family"},
	{name: "no graphs", edit: set(manifestFile, map[string]any{}, "graphs"), err: ErrBundle, says: "no graphs"},
	{name: "graphs a list", edit: set(manifestFile, []string{"a"}, "graphs"), err: ErrBundle, says: "graphs"},
	{name: "decoder left out", edit: set(manifestFile, nil, "graphs", "decoder"), err: ErrBundle, says: "itm_head"},
	{name: "embed_tokens left out", edit: set(manifestFile, nil, "graphs", "embed_tokens"), err: ErrBundle, says: "embed_tokens"},
	{name: "qformer left out", edit: set(manifestFile, nil, "graphs", "qformer"), err: ErrBundle, says: "qformer"},
	{name: "graph above", edit: set(manifestFile, "../decoder.onnx", "graphs", "decoder"), err: ErrBundle, says: "not a path inside"},
	{name: "graph above after below", edit: set(manifestFile, "onnx/../../x.onnx", "graphs", "decoder"), err: ErrBundle, says: "not a path inside"},
	{name: "graph absolute", edit: set(manifestFile, "/etc/passwd", "graphs", "decoder"), err: ErrBundle, says: "not a path inside"},
	{name: "graph on a drive", edit: set(manifestFile, "C:/x.onnx", "graphs", "decoder"), err: ErrBundle, says: "not a path inside"},
	{name: "graph with backslashes", edit: set(manifestFile, `..\x.onnx`, "graphs", "decoder"), err: ErrBundle, says: "not a path inside"},
	{name: "graph the bundle itself", edit: set(manifestFile, ".", "graphs", "decoder"), err: ErrBundle, says: "not a path inside"},
	{name: "graph without a name", edit: set(manifestFile, "", "graphs", "decoder"), err: ErrBundle, says: "not a path inside"},
	{name: "graph a folder", edit: set(manifestFile, "onnx", "graphs", "decoder"), err: ErrBundle, says: "is not there"},
	{name: "graph a device's name", edit: set(manifestFile, "NUL:", "graphs", "decoder"), err: ErrBundle, says: "not a path inside"},
	{name: "graph with a zero byte", edit: set(manifestFile, "a\x00b.onnx", "graphs", "decoder"), err: ErrBundle, says: "is not there"},
	{name: "graph not there", edit: set(manifestFile, "onnx/none.onnx", "graphs", "decoder"), err: ErrBundle, says: "is not there"},
	{name: "graph is the tokenizer", edit: set(manifestFile, tokenizerFile, "graphs", "decoder"), err: ErrGraph, says: "tokenizer.json"},
	{name: "graphs swapped", edit: set(manifestFile, qformerFile, "graphs", "decoder"), err: ErrBundle, says: "logits"},
	{name: "projection above", edit: set(manifestFile, "../w.safetensors", "projection"), err: ErrBundle, says: "not a path inside"},
	{name: "projection left out", edit: set(manifestFile, nil, "projection"), err: ErrBundle, says: "projection"},
	{name: "projection not there", edit: set(manifestFile, "none.safetensors", "projection"), err: ErrBundle, says: "none.safetensors"},
	{name: "hash of a file above", edit: set(manifestFile, "00", "sha256", "../x"), err: ErrBundle, says: "not a path inside"},
	{name: "hash wrong", edit: set(manifestFile, strings.Repeat("0", 64), "sha256", decoderFile), verify: true, err: ErrBundle, says: "damaged or was changed"},
	{name: "hash left out", edit: set(manifestFile, nil, "sha256", decoderFile), verify: true, err: ErrBundle, says: "no sha256"},
	{name: "hash of a file not there", edit: set(manifestFile, "00", "sha256", "none"), verify: true, err: ErrBundle, says: "none"},
	{name: "file changed", edit: cut(embedFile, 0.9), verify: true, err: ErrBundle, says: "damaged or was changed"},
	{name: "negative positions", edit: set(manifestFile, -5, "limits", "max_positions"), err: ErrBundle, says: "max_positions"},
	{name: "positions without end", edit: set(manifestFile, 1<<40, "limits", "max_positions"), err: ErrBundle, says: "max_positions"},
	{name: "positions a text", edit: set(manifestFile, "many", "limits", "max_positions"), err: ErrBundle, says: "limits"},
	{name: "no position left", edit: set(manifestFile, 3, "limits", "max_positions"), err: ErrPrompt, says: "positions"},
	{name: "query count", edit: set(manifestFile, 32, "num_query_tokens"), err: ErrBundle, says: "6 queries"},
	{name: "query count a text", edit: set(manifestFile, "six", "num_query_tokens"), err: ErrBundle, says: "num_query_tokens"},
	{name: "no prompts", edit: set(manifestFile, nil, "prompts"), err: ErrUnsupported, says: "prompt"},
	{name: "text padded without end", bundle: "siglip", edit: set(manifestFile, 1<<40, "limits", "max_text"), err: ErrBundle, says: "max_text"},
	{name: "negative text", bundle: "siglip", edit: set(manifestFile, -1, "limits", "max_text"), err: ErrBundle, says: "max_text"},
	{name: "text padded beyond the positions", bundle: "siglip", edit: set(manifestFile, 4000, "limits", "max_text"), err: ErrGraph, says: "broadcast"},
	{name: "media token unknown", bundle: "idefics", edit: set(manifestFile, "<none>", "media", "token"), err: ErrBundle, says: "<none>"},
	{name: "media token left out", bundle: "idefics", edit: set(manifestFile, nil, "media"), err: ErrBundle, says: "no token"},
	{name: "markup without a picture", bundle: "idefics", edit: set(manifestFile, "", "markup", "image"), err: ErrPrompt, says: "names 0 pictures"},
	{name: "markup with two pictures", bundle: "idefics", edit: set(manifestFile, "<image><image>", "markup", "image"), err: ErrPrompt, says: "names 2 pictures"},
	{name: "markup a list", bundle: "idefics", edit: set(manifestFile, []int{1}, "markup"), err: ErrBundle, says: "markup"},
	{name: "start token unknown", bundle: "blip-caption", edit: all(set(manifestFile, nil, "decoder_start_token_id"), set(generationFile, nil, "decoder_start_token_id")), err: ErrBundle, says: "decoder_start_token_id"},
	{name: "start token beyond the vocabulary", bundle: "blip-caption", edit: set(manifestFile, 1<<40, "decoder_start_token_id"), err: ErrGraph, says: "index"},
	{name: "start token negative", bundle: "blip-vqa", edit: set(manifestFile, -99999, "decoder_start_token_id"), err: ErrGraph, says: "index"},
	{name: "answers more than labels", bundle: "lxmert-gqa", edit: set(manifestFile, 1000, "answers"), err: ErrBundle, says: "answers"},
	{name: "labels an object", bundle: "lxmert-gqa", edit: put("labels.json", `{"a":1}`), err: ErrBundle, says: "labels.json"},
	{name: "labels cut", bundle: "lxmert-gqa", edit: cut("labels.json", 0.5), err: ErrBundle, says: "labels.json"},
}

var badTokenizers = []bad{
	{name: "none", edit: drop(tokenizerFile), err: ErrBundle, says: tokenizerFile},
	{name: "empty", edit: put(tokenizerFile, ""), err: ErrTokenizer},
	{name: "half", edit: cut(tokenizerFile, 0.5), err: ErrTokenizer},
	{name: "no object", edit: put(tokenizerFile, "[]"), err: ErrTokenizer},
	{name: "no model", edit: set(tokenizerFile, nil, "model"), err: ErrTokenizer, says: "model"},
	{name: "model unknown", edit: set(tokenizerFile, "Markov", "model", "type"), err: ErrTokenizer, says: "Markov"},
	{name: "no vocabulary", edit: set(tokenizerFile, nil, "model", "vocab"), err: ErrTokenizer, says: "vocab"},
	{name: "vocabulary of texts", edit: set(tokenizerFile, map[string]any{"a": "b"}, "model", "vocab"), err: ErrTokenizer},
	{name: "negative id", edit: set(tokenizerFile, -7, "model", "vocab", "a"), err: ErrTokenizer},
	{name: "id without end", edit: set(tokenizerFile, 1e15, "model", "vocab", "a"), err: ErrTokenizer},
	{name: "id beyond the model", edit: set(tokenizerFile, 100000, "model", "vocab", "z"), err: ErrGraph, says: "index", use: asks("zzzz")},
	{name: "merges of nothing", edit: set(tokenizerFile, []any{[]string{"qqqq", "zzzz"}}, "model", "merges"), err: ErrTokenizer},
	{name: "merges of one part", edit: set(tokenizerFile, []any{[]string{"a"}}, "model", "merges"), err: ErrTokenizer},
	{name: "merges a number", edit: set(tokenizerFile, 3, "model", "merges"), err: ErrTokenizer},
	{name: "decoder unknown", edit: set(tokenizerFile, map[string]any{"type": "Rot13"}, "decoder"), err: ErrTokenizer, says: "Rot13"},
	{name: "splitter unknown", edit: set(tokenizerFile, map[string]any{"type": "Saw"}, "pre_tokenizer"), err: ErrTokenizer, says: "Saw"},
	{name: "pattern damaged", edit: set(tokenizerFile, map[string]any{"type": "Split", "pattern": map[string]any{"Regex": "(((("}, "behavior": "Isolated", "invert": false}, "pre_tokenizer"), err: ErrTokenizer},
	{name: "pattern repeated without end", edit: set(tokenizerFile, map[string]any{"type": "Split", "pattern": map[string]any{"Regex": "((((a{1000}){1000}){1000}){1000})"}, "behavior": "Isolated", "invert": false}, "pre_tokenizer"), err: ErrTokenizer},
	{name: "normalizer unknown", edit: set(tokenizerFile, map[string]any{"type": "Iron"}, "normalizer"), err: ErrTokenizer, says: "Iron"},
	{name: "normalizers nested 5,000 deep", edit: put(tokenizerFile, `{"normalizer":`+strings.Repeat(`{"type":"Sequence","normalizers":[`, 5000)+strings.Repeat("]}", 5000)+`,"model":{"type":"BPE","vocab":{"a":0},"merges":[]}}`), err: ErrTokenizer},
	{name: "nested a million deep", edit: put(tokenizerFile, strings.Repeat(`{"normalizer":`, 1e6)), err: ErrTokenizer},
	{name: "charsmap damaged", edit: set(tokenizerFile, map[string]any{"type": "Precompiled", "precompiled_charsmap": "////"}, "normalizer"), err: ErrTokenizer},
	{name: "template names no token", edit: set(tokenizerFile, map[string]any{"type": "TemplateProcessing", "single": []any{map[string]any{"SpecialToken": map[string]any{"id": "<x>", "type_id": 0}}}, "pair": []any{}, "special_tokens": map[string]any{}}, "post_processor"), err: ErrTokenizer},
	{name: "template with an id beyond the model", edit: set(tokenizerFile, []int{1 << 30}, "post_processor", "special_tokens", "</s>", "ids"), err: ErrGraph, says: "index"},
	{name: "added token a number", edit: set(tokenizerFile, []int{5}, "added_tokens"), err: ErrTokenizer},
	{name: "instruction tokenizer none", bundle: "instructblip", edit: drop("qformer_tokenizer/tokenizer.json"), err: ErrBundle, says: "qformer_tokenizer"},
	{name: "instruction tokenizer damaged", bundle: "instructblip", edit: put("qformer_tokenizer/tokenizer.json", "{"), err: ErrTokenizer, says: "qformer_tokenizer"},
	{name: "pad token null", bundle: "clip", edit: set("tokenizer_config.json", json.RawMessage("null"), "pad_token"), err: ErrBundle, says: "pad_token"},
	{name: "pad token unknown", bundle: "clip", edit: set("tokenizer_config.json", "<none>", "pad_token"), err: ErrBundle, says: "<none>"},
	{name: "pad token a list", bundle: "clip", edit: set("tokenizer_config.json", []int{1}, "pad_token"), err: ErrBundle, says: "pad_token"},
}

var badPixels = []bad{
	{name: "none", edit: drop(pixelsFile), err: ErrBundle, says: pixelsFile},
	{name: "half", edit: cut(pixelsFile, 0.5), err: ErrBundle, says: pixelsFile},
	{name: "class unknown", edit: set(pixelsFile, "MagicImageProcessor", "image_processor_type"), err: ErrBundle, says: "Magic"},
	{name: "unknown key", edit: set(pixelsFile, true, "do_sharpen"), err: ErrBundle, says: "do_sharpen"},
	{name: "size zero", edit: set(pixelsFile, map[string]int{"height": 0, "width": 0}, "size"), err: ErrBundle, says: "size"},
	{name: "size negative", edit: set(pixelsFile, map[string]int{"height": -3, "width": 3}, "size"), err: ErrBundle, says: "size"},
	{name: "size overflows", edit: set(pixelsFile, map[string]int{"height": 1 << 40, "width": 1 << 40}, "size"), err: ErrBundle, says: "size"},
	{name: "size of 4 TB", edit: set(pixelsFile, map[string]int{"height": 1 << 20, "width": 1 << 20}, "size"), err: ErrLimit, says: "limit"},
	{name: "size of three", edit: set(pixelsFile, []int{1, 2, 3}, "size"), err: ErrBundle, says: "size"},
	{name: "size a text", edit: set(pixelsFile, "big", "size"), err: ErrBundle, says: "size"},
	{name: "size not the model's", edit: set(pixelsFile, map[string]int{"height": 64, "width": 64}, "size"), err: ErrBundle, says: "preprocessor"},
	{name: "one side not the model's", edit: set(pixelsFile, map[string]int{"height": 32, "width": 31}, "size"), err: ErrBundle, says: "preprocessor"},
	{name: "deviation zero", edit: set(pixelsFile, []float64{0, 0, 0}, "image_std"), err: ErrBundle, says: "image_std"},
	{name: "mean of two", edit: set(pixelsFile, []float64{0, 0}, "image_mean"), err: ErrBundle, says: "image_mean"},
	{name: "filter unknown", edit: set(pixelsFile, 17, "resample"), err: ErrBundle, says: "resample"},
	{name: "one channel", edit: set(pixelsFile, 1, "num_channels"), err: ErrBundle, says: "num_channels"},
	{name: "crop without end", bundle: "clip", edit: set(pixelsFile, map[string]int{"height": 1 << 19, "width": 1 << 19}, "crop_size"), err: ErrLimit, says: "limit"},
	{name: "crop not the model's", bundle: "clip", edit: set(pixelsFile, map[string]int{"height": 8, "width": 8}, "crop_size"), err: ErrBundle, says: "preprocessor"},
}

var badGenerations = []bad{
	{name: "half", edit: cut(generationFile, 0.5), err: ErrBundle, says: generationFile},
	{name: "a list", edit: put(generationFile, "[]"), err: ErrBundle, says: generationFile},
	{name: "tokens a text", edit: set(generationFile, "many", "max_new_tokens"), err: ErrBundle, says: "max_new_tokens"},
	{name: "tokens overflow", edit: set(generationFile, 1e30, "max_new_tokens"), err: ErrBundle, says: "max_new_tokens"},
	{name: "tokens negative", edit: set(generationFile, -1, "max_new_tokens"), err: ErrOption, says: "max_new_tokens"},
	{name: "beams zero", edit: set(generationFile, 0, "num_beams"), err: ErrOption, says: "num_beams"},
	{name: "beams without end", edit: set(generationFile, 1<<40, "num_beams"), err: ErrLimit, says: "num_beams"},
	{name: "texts without end", edit: all(set(generationFile, 1<<40, "num_return_sequences"), set(generationFile, true, "do_sample")), err: ErrLimit, says: "num_return_sequences"},
	{name: "texts more than beams", edit: set(generationFile, 5, "num_return_sequences"), err: ErrOption, says: "num_return_sequences"},
	{name: "temperature zero", edit: set(generationFile, 0, "temperature"), err: ErrOption, says: "temperature"},
	{name: "top_p two", edit: set(generationFile, 2, "top_p"), err: ErrOption, says: "top_p"},
	{name: "penalty zero", edit: set(generationFile, 0, "repetition_penalty"), err: ErrOption, says: "repetition_penalty"},
	{name: "end a text", edit: set(generationFile, "</s>", "eos_token_id"), err: ErrBundle, says: "eos_token_id"},
	{name: "early_stopping a number", edit: set(generationFile, 3, "early_stopping"), err: ErrBundle, says: "early_stopping"},
	{name: "bad words of nothing", edit: set(generationFile, []any{[]int{}}, "bad_words_ids"), err: ErrOption, says: "bad_words_ids"},
	{name: "bad words of texts", edit: set(generationFile, []any{[]string{"a"}}, "bad_words_ids"), err: ErrBundle, says: "bad_words_ids"},
	{name: "stop string empty", edit: set(generationFile, []string{""}, "stop_strings"), err: ErrOption, says: "stop_strings"},
}

const projectionHeader = `{"language_projection.weight":{"dtype":"F32","shape":[32,24],"data_offsets":[0,3072]},"language_projection.bias":{"dtype":"F32","shape":[32],"data_offsets":[3072,3200]}}`

func weights(header string, data []byte) edit { return put(weightsFile, weightFile(header, data)) }

func header(old, new string) string { return strings.Replace(projectionHeader, old, new, 1) }

var badWeights = []bad{
	{name: "none", edit: drop(weightsFile), err: ErrBundle, says: weightsFile},
	{name: "empty", edit: put(weightsFile, ""), err: ErrBundle, says: weightsFile},
	{name: "cut", edit: cut(weightsFile, 0.7), err: ErrBundle, says: weightsFile},
	{name: "header of 2^63 bytes", edit: put(weightsFile, "\xff\xff\xff\xff\xff\xff\xff\x7f{}"), err: ErrBundle, says: weightsFile},
	{name: "header of 5 GB", edit: put(weightsFile, "\x00\x00\x00\x40\x01\x00\x00\x00{}"), err: ErrBundle, says: weightsFile},
	{name: "header no JSON", edit: weights("{{{{", nil), err: ErrBundle, says: weightsFile},
	{name: "header nested", edit: weights(strings.Repeat("[", 1e6), nil), err: ErrBundle, says: weightsFile},
	{name: "tensor not there", edit: weights(`{"other":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, floats(1, 0)), err: ErrBundle, says: "language_projection.weight"},
	{name: "shape not the model's", edit: weights(`{"language_projection.weight":{"dtype":"F32","shape":[32,25],"data_offsets":[0,3200]}}`, floats(800, 0)), err: ErrBundle, says: "rows of 25"},
	{name: "width not the model's", edit: weights(`{"language_projection.weight":{"dtype":"F32","shape":[31,24],"data_offsets":[0,2976]}}`, floats(744, 0)), err: ErrBundle, says: "31"},
	{name: "rank", edit: weights(header("[32,24]", "[32,24,1]"), floats(800, 0)), err: ErrBundle, says: "language_projection.weight"},
	{name: "bias not the weight's", edit: weights(`{"language_projection.weight":{"dtype":"F32","shape":[32,24],"data_offsets":[0,3072]},"language_projection.bias":{"dtype":"F32","shape":[31],"data_offsets":[3072,3196]}}`, floats(799, 0)), err: ErrBundle, says: "language_projection.bias"},
	{name: "type not supported", edit: weights(`{"language_projection.weight":{"dtype":"I64","shape":[32,24],"data_offsets":[0,6144]}}`, floats(1536, 0)), err: ErrBundle, says: "language_projection.weight"},
	{name: "type unknown", edit: weights(header("F32", "F33"), floats(800, 0)), err: ErrBundle, says: weightsFile},
	{name: "5 GB declared", edit: weights(header("[32,24]", "[1342177280]"), floats(800, 0)), err: ErrBundle, says: weightsFile},
	{name: "size overflows", edit: weights(header("[32,24]", "[4294967296,4294967296]"), floats(800, 0)), err: ErrBundle, says: weightsFile},
	{name: "negative size", edit: weights(header("[32,24]", "[-32,-24]"), floats(800, 0)), err: ErrBundle, says: weightsFile},
	{name: "offsets beyond the end", edit: weights(header("[0,3072]", "[4000000,4003072]"), floats(800, 0)), err: ErrBundle, says: weightsFile},
	{name: "offsets backwards", edit: weights(header("[0,3072]", "[3072,0]"), floats(800, 0)), err: ErrBundle, says: weightsFile},
	{name: "offsets negative", edit: weights(header("[0,3072]", "[-3072,0]"), floats(800, 0)), err: ErrBundle, says: weightsFile},
	{name: "no element", edit: weights(`{"language_projection.weight":{"dtype":"F32","shape":[0,24],"data_offsets":[0,0]}}`, nil), err: ErrBundle, says: "language_projection.weight"},
	{name: "no column", edit: weights(`{"language_projection.weight":{"dtype":"F32","shape":[32,0],"data_offsets":[0,0]}}`, nil), err: ErrBundle, says: "language_projection.weight"},
	{name: "not numbers", edit: weights(projectionHeader, bytes.Repeat([]byte{0, 0, 0xc0, 0x7f}, 800)), err: ErrBundle, says: "NaN"},
	{name: "not numbers, of CLIP", bundle: "clip", edit: func(_ *testing.T, f files) {
		data := bytes.Clone(f[weightsFile])
		n := 8 + int(binary.LittleEndian.Uint64(data))
		copy(data[n+4:], bytes.Repeat([]byte{0, 0, 0xc0, 0x7f}, 480))
		f[weightsFile] = data
	}, err: ErrBundle, says: "NaN"},
	{name: "matching head of three", bundle: "blip-itm", edit: func(t *testing.T, f files) {
		data := f[weightsFile]
		n := 8 + int(binary.LittleEndian.Uint64(data))
		head := strings.Replace(string(data[8:n]), `"shape":[2,32]`, `"shape":[1,64]`, 1)
		f[weightsFile] = []byte(weightFile(head, data[n:]))
	}, err: ErrBundle, says: "itm_head"},
}

// external are damages to the largest weight of a graph that lies outside it.
var badExternal = []bad{
	{name: "above", edit: change(decoderFile, outside("../secret.bin", "", "")), err: ErrGraph, says: "outside"},
	{name: "above after below", edit: change(decoderFile, outside("a/../../../secret.bin", "", "")), err: ErrGraph, says: "outside"},
	{name: "absolute", edit: change(decoderFile, outside("/etc/passwd", "", "")), err: ErrGraph, says: "outside"},
	{name: "on a drive", edit: change(decoderFile, outside(`C:\secret.bin`, "", "")), err: ErrGraph, says: "secret.bin"},
	{name: "not there", edit: change(decoderFile, outside("none.bin", "", "")), err: ErrGraph, says: "none.bin"},
	{name: "without a name", edit: change(decoderFile, outside("", "", "")), err: ErrGraph, says: "outside"},
	{name: "a folder", edit: change(decoderFile, outside(".", "", "")), err: ErrGraph, says: "regular"},
	{name: "empty", edit: all(put("onnx/w.bin", ""), change(decoderFile, outside("w.bin", "", ""))), err: ErrGraph, says: "asked for"},
	{name: "too short", edit: all(put("onnx/w.bin", "1234"), change(decoderFile, outside("w.bin", "", ""))), err: ErrGraph, says: "asked for"},
	{name: "beyond the end", edit: all(put("onnx/w.bin", "1234"), change(decoderFile, outside("w.bin", "9223372036854775807", ""))), err: ErrGraph, says: "asked for"},
	{name: "negative offset", edit: all(put("onnx/w.bin", "1234"), change(decoderFile, outside("w.bin", "-4", ""))), err: ErrGraph, says: "asked for"},
	{name: "offset of letters", edit: all(put("onnx/w.bin", "1234"), change(decoderFile, outside("w.bin", "four", ""))), err: ErrGraph, says: "number"},
	{name: "length of 5 GB", edit: all(put("onnx/w.bin", "1234"), change(decoderFile, outside("w.bin", "", "5368709120"))), err: ErrGraph, says: "5368709120"},
	{name: "length not the tensor's", edit: all(put("onnx/w.bin", "12345678"), change(decoderFile, outside("w.bin", "", "8"))), err: ErrGraph, says: "length"},
	{name: "the graph itself", edit: change(decoderFile, outside("decoder_model_merged.onnx", "9000000", "")), err: ErrGraph, says: "asked for"},
}

func tensors(how func(w *pb.TensorProto)) func(*pb.ModelProto) {
	return func(m *pb.ModelProto) { how(weight(m)) }
}

// badGraphFiles are damages to a graph as a file, which any graph may have.
var badGraphFiles = []bad{
	{name: "none", edit: drop(decoderFile), err: ErrBundle, says: "is not there"},
	{name: "empty", edit: put(decoderFile, ""), err: ErrGraph},
	{name: "half", edit: cut(decoderFile, 0.5), err: ErrGraph},
	{name: "one byte short", edit: func(_ *testing.T, f files) { f[decoderFile] = f[decoderFile][:len(f[decoderFile])-1] }, err: ErrGraph},
	{name: "text", edit: put(decoderFile, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5000000000\n"), err: ErrGraph},
	{name: "zeros", edit: put(decoderFile, strings.Repeat("\x00", 4096)), err: ErrGraph},
	{name: "messages nested 100,000 deep", edit: put(decoderFile, strings.Repeat("\x3a\xff\xff\xff\x7f", 1e5)), err: ErrGraph},
	{name: "5 GB declared by a field", edit: put(decoderFile, "\x08\x08\x3a\x80\x80\x80\x80\x14"), err: ErrGraph},
	{name: "no graph inside", edit: change(decoderFile, func(m *pb.ModelProto) { m.Graph = nil }), err: ErrGraph},
	{name: "no nodes", edit: change(decoderFile, func(m *pb.ModelProto) { m.Graph.Node = nil }), err: ErrGraph, says: "nothing computes"},
	{name: "no weights", edit: change(decoderFile, func(m *pb.ModelProto) { m.Graph.Initializer = nil }), err: ErrGraph, says: "nothing computes"},
	{name: "one weight not there", edit: change(decoderFile, tensors(func(w *pb.TensorProto) { w.Name = proto.String("elsewhere") })), err: ErrGraph, says: "nothing computes"},
	{name: "one node not there", edit: change(decoderFile, func(m *pb.ModelProto) { m.Graph.Node = append(m.Graph.Node[:40], m.Graph.Node[41:]...) }), err: ErrGraph, says: "nothing computes"},
	{name: "operator set of the future", edit: change(decoderFile, func(m *pb.ModelProto) { m.OpsetImport[0].Version = proto.Int64(9999) }), err: ErrGraph, says: "9999"},
	{name: "no operator set", edit: change(decoderFile, func(m *pb.ModelProto) { m.OpsetImport = nil }), err: ErrGraph},
	{name: "unknown operator", edit: change(decoderFile, func(m *pb.ModelProto) { m.Graph.Node[20].OpType = proto.String("Teleport") }), err: ErrGraph, says: "Teleport"},
	{name: "operator of an unknown domain", edit: change(decoderFile, func(m *pb.ModelProto) { m.Graph.Node[20].Domain = proto.String("evil.example") }), err: ErrGraph, says: "evil.example"},
	{name: "cycle", edit: change(decoderFile, func(m *pb.ModelProto) {
		first, last := m.Graph.Node[0], m.Graph.Node[len(m.Graph.Node)-1]
		first.Input[0] = last.Output[0]
	}), err: ErrGraph},
	{name: "node of itself", edit: change(decoderFile, func(m *pb.ModelProto) {
		n := m.Graph.Node[30]
		n.Input[0] = n.Output[0]
	}), err: ErrGraph, says: "cycle"},
	{name: "name given twice", edit: change(decoderFile, func(m *pb.ModelProto) { m.Graph.Node[30].Output[0] = m.Graph.Node[31].Output[0] }), err: ErrGraph},
	{name: "output shadows input", edit: change(decoderFile, func(m *pb.ModelProto) { m.Graph.Node[30].Output[0] = graph.InputsEmbeds }), err: ErrGraph},
	{name: "subgraphs nested 300 deep", edit: change(decoderFile, nested(300)), err: ErrGraph},
	{name: "negative size", edit: change(decoderFile, tensors(func(w *pb.TensorProto) { w.Dims[0] = -w.Dims[0] })), err: ErrGraph, says: "dimension"},
	{name: "size overflows", edit: change(decoderFile, tensors(func(w *pb.TensorProto) { w.Dims = []int64{1 << 40, 1 << 40} })), err: ErrGraph},
	{name: "5 GB declared", edit: change(decoderFile, tensors(func(w *pb.TensorProto) { w.Dims = []int64{5 << 28} })), err: ErrGraph, says: "needs"},
	{name: "elements missing", edit: change(decoderFile, tensors(func(w *pb.TensorProto) { w.RawData = w.RawData[:8] })), err: ErrGraph, says: "needs"},
	{name: "type unknown", edit: change(decoderFile, tensors(func(w *pb.TensorProto) { w.DataType = proto.Int32(99) })), err: ErrGraph},
	{name: "texts for weights", edit: change(decoderFile, tensors(func(w *pb.TensorProto) { w.DataType = proto.Int32(8) })), err: ErrGraph, says: "string"},
	{name: "integers for weights", edit: change(decoderFile, tensors(func(w *pb.TensorProto) { w.DataType = proto.Int32(6) })), err: ErrGraph},
	{name: "weights of another shape", edit: change(decoderFile, tensors(func(w *pb.TensorProto) { w.Dims = []int64{int64(len(w.RawData) / 4)} })), err: ErrGraph},
	{name: "a bomb of zeros", edit: change(decoderFile, through(graph.Logits, "Expand", 0, [][]int64{{1 << 16, 1 << 16, 331}})), err: ErrGraph, says: "", goOnly: "it asks the system for the memory, and what that says differs"},
	{name: "a bomb of copies", edit: change(decoderFile, through(graph.Logits, "Tile", 0, [][]int64{{1 << 20, 1 << 20, 1}})), err: ErrGraph, says: "limit", goOnly: "it asks the system for the memory, and what that says differs"},
}

// nested adds an If in an If in an If.
func nested(depth int) func(*pb.ModelProto) {
	return func(m *pb.ModelProto) {
		body := &pb.GraphProto{Name: proto.String("b"), Node: []*pb.NodeProto{node("Identity", []string{graph.InputsEmbeds}, []string{"z"})},
			Output: []*pb.ValueInfoProto{{Name: proto.String("z")}}}
		for range depth {
			branch := func(name string) *pb.AttributeProto {
				return &pb.AttributeProto{Name: proto.String(name), Type: pb.AttributeProto_GRAPH.Enum(), G: body}
			}
			n := node("If", []string{"cond"}, []string{"z"}, branch("then_branch"))
			body = &pb.GraphProto{Name: proto.String("b"), Node: []*pb.NodeProto{n}, Output: []*pb.ValueInfoProto{{Name: proto.String("z")}}}
		}
		m.Graph.Node = append(m.Graph.Node, body.Node...)
	}
}

// shaped are damages by which a graph is sound and gives what its place in the
// family does not allow.
func shaped() (rows []bad) {
	type output struct{ bundle, file, name string }
	for _, o := range []output{
		{"blip2-opt", visionFile, "image_embeds"}, {"blip2-opt", qformerFile, "query_output"}, {"blip2-opt", embedFile, graph.InputsEmbeds},
		{"blip2-opt", decoderFile, graph.Logits}, {"blip2-opt", decoderFile, "present.0.key"},
		{"blip2-t5", "onnx/encoder_model.onnx", "present.0.encoder.key"},
		{"instructblip", qformerFile, "query_output"},
		{"blip-caption", "onnx/cross_kv.onnx", "present.0.encoder.key"}, {"blip-vqa", "onnx/question_encoder.onnx", "present.0.encoder.value"},
		{"idefics", "onnx/resampler.onnx", "latents"}, {"idefics", "onnx/cross_kv.onnx", "present.0.encoder.key"}, {"idefics", decoderFile, "present.0.decoder.value"},
		{"clip", visionFile, "pooled_output"}, {"clip", "onnx/text_model.onnx", "pooled_output"},
		{"blip-itm", "onnx/matcher.onnx", "pooled_output"}, {"blip-itm", "onnx/text_model.onnx", "pooled_output"}, {"blip2-itm", qformerFile, "query_output"},
		{"lxmert-gqa", "onnx/model.onnx", graph.Logits},
	} {
		for _, d := range []struct {
			name string
			how  func(m *pb.ModelProto)
		}{
			{"renamed", renamed(o.name, "other")}, {"flat", flat(o.name)}, {"rows twice", doubled(o.name)},
			{"no rows", noRows(o.name)}, {"no columns", emptied(o.name)}, {"integers", asInt(o.name)},
		} {
			rows = append(rows, bad{name: filepath.Base(o.file) + " " + o.name + " " + d.name, bundle: o.bundle, edit: change(o.file, d.how), err: ErrBundle, says: ""})
		}
	}
	for _, o := range []output{
		{"blip2-opt", decoderFile, graph.Logits}, {"blip2-t5", decoderFile, graph.Logits}, {"idefics", decoderFile, graph.Logits},
		{"clip", visionFile, "pooled_output"}, {"siglip", "onnx/text_model.onnx", "pooled_output"}, {"blip-itm", "onnx/matcher.onnx", "pooled_output"},
		{"lxmert-gqa", "onnx/model.onnx", graph.Logits}, {"blip2-itm", qformerFile, "query_output"},
	} {
		rows = append(rows, bad{name: filepath.Base(o.file) + " " + o.name + " no numbers", bundle: o.bundle, edit: change(o.file, notNumbers(o.name)), err: ErrBundle, says: "NaN"},
			bad{name: filepath.Base(o.file) + " weights no numbers", bundle: o.bundle, edit: change(o.file, nanWeights), err: ErrBundle, says: "NaN"})
	}
	return rows
}

var badInterfaces = []bad{
	{name: "decoder without its embeddings", edit: change(decoderFile, renamed(graph.InputsEmbeds, "embeddings")), err: ErrBundle, says: "embeddings"},
	{name: "decoder without caches", edit: change(decoderFile, renamed("past_key_values.0.key", "a"), renamed("past_key_values.0.value", "b"), renamed("past_key_values.1.key", "c"), renamed("past_key_values.1.value", "d")), err: ErrBundle, says: "cache"},
	{name: "cache taken and not given", edit: change(decoderFile, renamed("present.0.key", "gone")), err: ErrBundle, says: "present.0.key"},
	{name: "cache of three dimensions", edit: change(decoderFile, func(m *pb.ModelProto) {
		shape := m.Graph.Input[2].Type.GetTensorType().Shape
		shape.Dim = shape.Dim[:3]
	}), err: ErrBundle, says: "cache"},
	{name: "cache without fixed heads", edit: change(decoderFile, func(m *pb.ModelProto) {
		m.Graph.Input[2].Type.GetTensorType().Shape.Dim[1] = &pb.TensorShapeProto_Dimension{}
	}), err: ErrBundle, says: "fixed heads"},
	{name: "cache with other heads", edit: change(decoderFile, func(m *pb.ModelProto) {
		m.Graph.Input[2].Type.GetTensorType().Shape.Dim[1].Value = &pb.TensorShapeProto_Dimension_DimValue{DimValue: 5}
	}), err: ErrGraph},
	{name: "cache with heads without end", edit: change(decoderFile, func(m *pb.ModelProto) {
		m.Graph.Input[2].Type.GetTensorType().Shape.Dim[1].Value = &pb.TensorShapeProto_Dimension_DimValue{DimValue: 1 << 62}
	}), err: ErrBundle},
	{name: "cache of another type", edit: change(decoderFile, func(m *pb.ModelProto) { m.Graph.Input[2].Type.GetTensorType().ElemType = proto.Int32(7) }), err: ErrBundle},
	{name: "cache that does not grow", edit: change(decoderFile, through("present.0.key", "Slice", 0, [][]int64{{0}, {1}, {2}})), err: ErrBundle, says: "present.0.key"},
	{name: "cache that grows twice", edit: change(decoderFile, func(m *pb.ModelProto) {
		through("present.0.key", "Concat", 0, nil, attrInt("axis", 2))(m)
		n := m.Graph.Node[len(m.Graph.Node)-1]
		n.Input = append(n.Input, n.Input[0])
	}), err: ErrBundle, says: "present.0.key"},
	{name: "cache turned around", edit: change(decoderFile, through("present.0.key", "Transpose", 0, nil, attrInts("perm", 0, 1, 3, 2))), err: ErrBundle, says: "present.0.key"},
	{name: "pixels of another type", edit: change(visionFile, func(m *pb.ModelProto) { m.Graph.Input[0].Type.GetTensorType().ElemType = proto.Int32(7) }), err: ErrBundle, says: ""},
	{name: "input nobody knows", edit: change(visionFile, func(m *pb.ModelProto) {
		m.Graph.Input = append(m.Graph.Input, &pb.ValueInfoProto{Name: proto.String("secret"), Type: m.Graph.Input[0].Type})
	}), err: ErrBundle, says: "secret"},
	{name: "ids as floats", edit: change(embedFile, func(m *pb.ModelProto) { m.Graph.Input[0].Type.GetTensorType().ElemType = proto.Int32(1) }), err: ErrBundle, says: ""},
}

// Requests that do not fit a sound model.
var badRequests = []bad{
	{name: "prompt longer than the positions", use: asks(strings.Repeat("what is this? ", 200)), err: ErrPrompt, says: "positions"},
	{name: "prompt longer than the positions, of T5", bundle: "blip-caption", use: func(ctx context.Context, p *Pipeline) error {
		_, err := p.Generate(ctx, []Request{{Image: blankImage, Prompt: strings.Repeat("a photo of ", 300)}})
		return err
	}, err: ErrPrompt, says: "positions"},
	{name: "prompt longer than the positions, with pictures", bundle: "idefics", use: asks(strings.Repeat("what is this? ", 200)), err: ErrPrompt, says: "positions"},
	{name: "question of white space", use: asks(" \n\t"), err: ErrPrompt, says: "empty"},
	{name: "no picture", use: func(ctx context.Context, p *Pipeline) error { _, err := p.Caption(ctx, nil); return err }, err: ErrImage, says: "no picture"},
	{name: "picture without pixels", use: func(ctx context.Context, p *Pipeline) error {
		_, err := p.Caption(ctx, image.NewRGBA(image.Rect(0, 0, 0, 0)))
		return err
	}, err: ErrImage, says: "0x0"},
	{name: "more pictures than the text names", bundle: "idefics", use: parts(Part{Image: blankImage}, Part{Text: "a <image> b"}), err: ErrPrompt, says: "2 pictures"},
	{name: "text names pictures not given", bundle: "openflamingo-opt", use: parts(Part{Image: blankImage}, Part{Text: "<image><image>"}), err: ErrPrompt, says: "3 pictures"},
	{name: "nothing but text", bundle: "idefics", use: parts(Part{Text: "hello"}), err: ErrImage, says: "no picture"},
	{name: "examples for a model of one picture", use: func(ctx context.Context, p *Pipeline) error {
		_, err := p.Generate(ctx, []Request{{Image: blankImage, Shots: []Shot{{Image: blankImage, Text: "x"}}}})
		return err
	}, err: ErrUnsupported},
	{name: "match with a model that writes", use: func(ctx context.Context, p *Pipeline) error {
		_, err := p.Match(ctx, blankImage, "a")
		return err
	}, err: ErrUnsupported},
	{name: "empty text to match", bundle: "clip", use: func(ctx context.Context, p *Pipeline) error { _, err := p.Match(ctx, blankImage, ""); return err }, err: ErrPrompt},
	{name: "text longer than the positions, of BLIP", bundle: "blip-itm", use: func(ctx context.Context, p *Pipeline) error {
		_, err := p.Match(ctx, blankImage, strings.Repeat("cat ", 2000))
		return err
	}, err: ErrPrompt, says: "positions"},
	{name: "text longer than the positions, of BLIP-2", bundle: "blip2-itm", use: func(ctx context.Context, p *Pipeline) error {
		_, err := p.Match(ctx, blankImage, "a cat", strings.Repeat("cat ", 200))
		return err
	}, err: ErrPrompt, says: "positions"},
	{name: "question longer than the positions, of BLIP", bundle: "blip-vqa", use: asks(strings.Repeat("what ", 200)), err: ErrPrompt, says: "positions"},
	{name: "instruction longer than the positions", bundle: "instructblip", use: asks(strings.Repeat("what ", 70)), err: ErrPrompt, says: "positions"},
	{name: "positions a text", bundle: "blip-itm", edit: set("config.json", "many", "text_config", "max_position_embeddings"), err: ErrBundle, says: "text_config"},
	{name: "positions fewer than none", bundle: "blip-itm", edit: set("config.json", -5, "text_config", "max_position_embeddings"), use: func(ctx context.Context, p *Pipeline) error {
		_, err := p.Match(ctx, blankImage, strings.Repeat("cat ", 2000))
		return err
	}, err: ErrGraph},
	{name: "choice beyond the positions", use: func(ctx context.Context, p *Pipeline) error {
		_, err := p.Choose(ctx, Request{Image: blankImage, Question: "what?"}, "a", strings.Repeat("cat ", 500))
		return err
	}, err: ErrPrompt, says: "positions"},
	{name: "one choice", use: func(ctx context.Context, p *Pipeline) error {
		_, err := p.Choose(ctx, Request{Image: blankImage, Question: "what?"}, "a")
		return err
	}, err: ErrPrompt, says: "two"},
	{name: "no regions", bundle: "lxmert-gqa", use: regions(nil), err: ErrRegions, says: "has none"},
	{name: "features of another width", bundle: "lxmert-gqa", use: regions(&Regions{Features: zeros(36, 7), Boxes: zeros(36, 4)}), err: ErrRegions, says: "fit"},
	{name: "features of integers", bundle: "lxmert-gqa", use: regions(&Regions{Features: tensor.Must(tensor.Zeros(tensor.Int64, 36, 16)), Boxes: zeros(36, 4)}), err: ErrRegions},
	{name: "features without boxes", bundle: "lxmert-gqa", use: regions(&Regions{Features: zeros(36, 16), Boxes: zeros(2, 4)}), err: ErrRegions},
	{name: "features nil", bundle: "lxmert-gqa", use: regions(&Regions{}), err: ErrRegions},
	{name: "features not numbers", bundle: "lxmert-gqa", use: func(ctx context.Context, p *Pipeline) error {
		f := zeros(36, 16)
		tensor.Data[float32](f)[0] = float32(nan)
		return regions(&Regions{Features: f, Boxes: zeros(36, 4)})(ctx, p)
	}, err: ErrRegions, says: "NaN"},
}

var blankImage = image.NewRGBA(image.Rect(0, 0, 40, 30))

var nan = func() float64 { z := 0.0; return z / z }()

func zeros(shape ...int) *tensor.Tensor { return tensor.Must(tensor.Zeros(tensor.Float32, shape...)) }

func asks(question string) func(context.Context, *Pipeline) error {
	return func(ctx context.Context, p *Pipeline) error {
		_, err := p.Answer(ctx, blankImage, question)
		return err
	}
}

func parts(parts ...Part) func(context.Context, *Pipeline) error {
	return func(ctx context.Context, p *Pipeline) error {
		_, err := p.Generate(ctx, []Request{{Parts: parts}})
		return err
	}
}

func regions(r *Regions) func(context.Context, *Pipeline) error {
	return func(ctx context.Context, p *Pipeline) error {
		_, err := p.Generate(ctx, []Request{{Question: "what?", Regions: r}})
		return err
	}
}

// useModel does what the model is for.
func useModel(ctx context.Context, p *Pipeline) error {
	switch p.model.(type) {
	case family.Answerer:
		return regions(&Regions{Features: zeros(36, 16), Boxes: zeros(36, 4)})(ctx, p)
	case family.Writer:
		var requests []Request
		for task, question := range map[string]string{"caption": "", "answer": "what is it?"} {
			if _, ok := p.bundle.Prompts[task]; ok {
				requests = append(requests, Request{Image: blankImage, Question: question})
			}
		}
		if len(requests) == 0 {
			requests = []Request{{Image: blankImage}}
		}
		_, err := p.Generate(ctx, requests, func(g *Generation) { g.EOS = nil })
		return err
	}
	_, err := p.Match(ctx, blankImage, "a cat", "two of them")
	return err
}

// hostileRows is the whole corpus over bundles and graphs, each name once.
func hostileRows() (rows []bad) {
	for _, g := range []struct {
		name string
		rows []bad
	}{
		{"manifest", badManifests}, {"tokenizer", badTokenizers}, {"pixels", badPixels}, {"generation", badGenerations}, {"weights", badWeights},
		{"external", badExternal}, {"file", badGraphFiles}, {"interface", badInterfaces}, {"shaped", shaped()}, {"request", badRequests},
	} {
		for _, row := range g.rows {
			row.name = g.name + ": " + row.name
			if row.bundle == "" {
				row.bundle = "blip2-opt"
			}
			if row.use == nil {
				row.use = useModel
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// mostMemory is what a bad file may cost beyond its own size.
const mostMemory = 64 << 20

// leastRows keeps the corpus from shrinking unseen.
const leastRows = 200

// Every bad bundle and request fails with its documented error, on both engines, without a panic, and
// before it has cost much; make test-full has all rows, go test ./... a sample. Rows run one after
// another, because what the whole process allocates is counted for each.
func TestHostileBundles(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	rows := hostileRows()
	if len(rows) < leastRows {
		t.Errorf("%d rows, not the %d that there were at least", len(rows), leastRows)
	}
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		shared := &sharedGraphs{Engine: eng, opened: map[string]engine.Session{}}
		defer shared.close(t)
		var worst int64 // above the files' size, and of which row
		var worstRow string
		measured := true
		left := 0
		defer func() {
			if left > 0 {
				t.Logf("%d rows are left to make test-full", left)
			}
			if measured {
				t.Logf("at most %.1f MB resident above the files' size, by %q", float64(worst)/1e6, worstRow)
			} else {
				t.Log("this system does not tell the peak of resident memory")
			}
		}()
		for i, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				if row.goOnly != "" && eng.Name() != "go" {
					t.Logf("not asked of %s: %s", eng.Name(), row.goOnly)
					return
				}
				// What fails before a graph fails alike on both, and to open a graph costs ONNX Runtime
				// more than all the rest of a row.
				if !sweep.Keeps(i, 5) || eng.Name() != "go" && !sweep.Keeps(i/5, 6) {
					left++
					return
				}
				f := goodFiles(t, row.bundle)
				if row.edit != nil {
					row.edit(t, f)
				}
				fsys, size := f.fs()
				shared.bundle = row.bundle
				opts := []Option{WithEngine(shared), WithEngineOptions(engine.Options{Threads: 1})}
				if !row.verify {
					opts = append(opts, WithoutVerification())
				}
				resident, before := markResident(), allocatedBytes()
				err := attempt(func() error {
					p, err := OpenFS(t.Context(), fsys, opts...)
					if err != nil {
						return err
					}
					defer p.Close()
					return row.use(t.Context(), p)
				})
				used, peak := allocatedBytes()-before, resident.peak()-int64(size)
				if measured = measured && resident.ok; peak > worst {
					worst, worstRow = peak, row.name
				}
				says, right := row.says, errors.Is(err, row.err)
				// ONNX Runtime infers shapes when it opens a graph and checks some inputs
				// only when it runs: it may blame the graph for what the pipeline would
				// have blamed the bundle for, or the other way round, in its own words.
				if eng.Name() != "go" && (row.err == ErrGraph || row.err == ErrBundle) {
					if errors.Is(err, ErrGraph) || row.err == ErrGraph {
						says = ""
					}
					right = errors.Is(err, ErrGraph) || errors.Is(err, ErrBundle)
				}
				if !right || !strings.Contains(err.Error(), says) {
					t.Errorf("error %v, want %v with %q", err, row.err, says)
				}
				if err != nil && strings.Contains(err.Error(), "bug in the Go engine") {
					t.Errorf("a panic was caught: %v", err)
				}
				if used > mostMemory+uint64(size) {
					t.Errorf("took %d MB before it failed", used>>20)
				}
				if resident.ok && peak > mostMemory {
					t.Errorf("%d MB were resident above the files' %d bytes before it failed", peak>>20, size)
				}
			})
		}
	})
	for name, f := range goodBundles { // which rows share
		fsys, _ := f.fs()
		if _, err := models.OpenFS(fsys); err != nil {
			t.Errorf("a row has changed %s for the others: %v", name, err)
		}
	}
}

// attempt turns a panic into an error that no row expects.
func attempt(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("PANIC: %v\n%s", r, debug.Stack())
		}
	}()
	return f()
}

// allocatedBytes is all that was ever allocated, so that what a collection has
// freed since counts, too.
func allocatedBytes() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.TotalAlloc
}
