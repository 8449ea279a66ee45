package pipeline_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"image"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/sweep"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/tokenize"
	"github.com/crossattn/xpipe/vision"
)

// What PyTorch makes of the pictures of testdata/images with the weights of the
// embedded models: tools/train/xpipe_train/clip_golden.py, flamingo_golden.py. The
// cases of single graphs in the same files are the engines' own tests.

// maxDifference bounds how far embeddings, probabilities and log-probabilities may
// be from PyTorch's.
const maxDifference = 1e-4

func near(got, want float64) bool { return math.Abs(got-want) <= maxDifference }

// goldenPicture is a picture of testdata/images.
type goldenPicture struct {
	Image         string
	PixelsSHA256  string `json:"pixels_sha256"` // of the float32 values that transformers makes of it
	Embedding     []float32
	Probabilities []float64 // of each text
}

func readMiniGolden(t *testing.T, model string, golden any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../testdata/golden", model, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, golden); err != nil {
		t.Fatal(err)
	}
}

func decodePicture(t *testing.T, name string) image.Image {
	t.Helper()
	img, err := vision.DecodeFile(filepath.Join(images, name))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// checkPixels compares what the bundle's preprocessor makes of the pictures with
// what transformers makes of them, bit for bit.
func checkPixels(t *testing.T, p *pipeline.Pipeline, pictures []goldenPicture) {
	t.Helper()
	config, err := p.Bundle().File("preprocessor_config.json")
	if err != nil {
		t.Fatal(err)
	}
	preprocessor, err := vision.ParseConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range pictures {
		pixels, err := preprocessor.Preprocess(t.Context(), decodePicture(t, want.Image))
		if err != nil {
			t.Fatal(err)
		}
		var little bytes.Buffer
		if err := binary.Write(&little, binary.LittleEndian, pixels.Float32s()); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(little.Bytes())
		if got := hex.EncodeToString(sum[:]); got != want.PixelsSHA256 {
			t.Errorf("%s: the pixels are not those of transformers", want.Image)
		}
	}
}

func bundleTokenizer(t *testing.T, p *pipeline.Pipeline) *tokenize.Tokenizer {
	t.Helper()
	data, err := p.Bundle().File("tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	tokenizer, err := tokenize.New(data)
	if err != nil {
		t.Fatal(err)
	}
	return tokenizer
}

// checkIDs compares the ids of a text, special tokens included, with those of the
// tokenizers library.
func checkIDs(t *testing.T, tokenizer *tokenize.Tokenizer, text string, want []int64) {
	t.Helper()
	encoding, err := tokenizer.Encode(text)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(encoding.IDs, want) {
		t.Errorf("%q: ids %v, want %v", text, encoding.IDs, want)
	}
}

func checkVector(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", what, len(got), len(want))
		return
	}
	for i := range want {
		if !near(float64(got[i]), float64(want[i])) {
			t.Errorf("%s: value %d is %v, want %v", what, i, got[i], want[i])
			return
		}
	}
}

// Pixels, ids, embeddings and probabilities of clip-mini, on both engines.
func TestCLIPMiniIsPyTorchs(t *testing.T) {
	t.Parallel()
	var golden struct {
		Images []goldenPicture
		Texts  []struct {
			Text      string
			IDs       []int64
			Embedding []float32
		}
	}
	readMiniGolden(t, "clip-mini", &golden)
	if len(golden.Images) < 10 || len(golden.Texts) < 9 {
		t.Fatalf("%d pictures and %d texts", len(golden.Images), len(golden.Texts))
	}
	var pictures []image.Image
	for _, want := range golden.Images {
		pictures = append(pictures, decodePicture(t, want.Image))
	}
	var texts []string
	for _, want := range golden.Texts {
		texts = append(texts, want.Text)
	}
	pipeline.MostlyGo(t, func(t *testing.T, eng engine.Engine) {
		p := pipeline.SharedEmbedded(t, mini.CLIP, eng)
		checkPixels(t, p, golden.Images)
		tokenizer := bundleTokenizer(t, p)
		got, err := p.EmbedImages(t.Context(), pictures...)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range golden.Images {
			checkVector(t, eng.Name()+": "+want.Image, got[i], want.Embedding)
		}
		if got, err = p.EmbedTexts(t.Context(), texts...); err != nil {
			t.Fatal(err)
		}
		for i, want := range golden.Texts {
			checkIDs(t, tokenizer, want.Text, want.IDs)
			checkVector(t, eng.Name()+": "+want.Text, got[i], want.Embedding)
		}
		for i, want := range golden.Images {
			if i > 0 && !sweep.Keeps(i, 4) { // they are the products of the embeddings above
				continue
			}
			matches, err := p.Match(t.Context(), pictures[i], texts...)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range matches {
				p := want.Probabilities[slices.Index(texts, m.Text)]
				if !near(m.Probability, p) {
					t.Errorf("%s: %s and %q: probability %v, want %v",
						eng.Name(), want.Image, m.Text, m.Probability, p)
				}
			}
		}
	})
}

// Pixels, the prompt's ids, the ids written and their log-probabilities of
// flamingo-mini with examples before the question, on both engines; one by one and in a
// batch.
func TestFlamingoMiniIsPyTorchs(t *testing.T) {
	t.Parallel()
	var golden struct {
		Images   []goldenPicture
		Episodes []struct {
			Shots           []struct{ Image, Text string }
			Image, Question string
			PromptIDs       []int64 `json:"prompt_ids"`
			IDs             []int64
			LogProbs        []float64 // of each id
			Text            string
		}
	}
	readMiniGolden(t, "flamingo-mini", &golden)
	if len(golden.Episodes) < 5 {
		t.Fatalf("%d episodes", len(golden.Episodes))
	}
	pipeline.MostlyGo(t, func(t *testing.T, eng engine.Engine) {
		p := pipeline.SharedEmbedded(t, mini.Flamingo, eng)
		checkPixels(t, p, golden.Images)
		tokenizer := bundleTokenizer(t, p)
		var requests []pipeline.Request
		for _, episode := range golden.Episodes {
			request := pipeline.Request{Image: decodePicture(t, episode.Image), Question: episode.Question}
			ask, prompt := "<image>Question: "+episode.Question+" Answer:", ""
			for _, shot := range episode.Shots {
				request.Shots = append(request.Shots,
					pipeline.Shot{Image: decodePicture(t, shot.Image), Text: shot.Text})
				prompt += ask + " " + shot.Text + "<|endofchunk|>"
			}
			checkIDs(t, tokenizer, prompt+ask, episode.PromptIDs)
			requests = append(requests, request)
		}
		batch, err := p.AnswerBatch(t.Context(), requests)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range golden.Episodes {
			texts := map[string]*pipeline.Text{"in a batch": batch[i]}
			if i == 0 || sweep.Keeps(i, 3) {
				alone, err := p.AnswerBatch(t.Context(), requests[i:i+1])
				if err != nil {
					t.Fatal(err)
				}
				texts["alone"] = alone[0]
			}
			for how, got := range texts {
				var ids []int64
				for _, token := range got.Tokens {
					ids = append(ids, token.ID)
				}
				if !slices.Equal(ids, want.IDs) || got.Text != want.Text {
					t.Errorf("%s: episode %d %s: %q %v, want %q %v",
						eng.Name(), i, how, got.Text, ids, want.Text, want.IDs)
					continue
				}
				for step, token := range got.Tokens {
					if !near(token.LogProb, want.LogProbs[step]) {
						t.Errorf("%s: episode %d %s: token %d has log-probability %v, want %v",
							eng.Name(), i, how, step, token.LogProb, want.LogProbs[step])
					}
				}
			}
		}
	})
}
