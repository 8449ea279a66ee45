package openai

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// embeddingRequest is the body of /v1/embeddings. Messages are vLLM's way to send pictures.
type embeddingRequest struct {
	Model      string          `json:"model"`
	Input      json.RawMessage `json:"input"`
	Messages   []message       `json:"messages"`
	Dimensions *int            `json:"dimensions"`
	Encoding   string          `json:"encoding_format"`
}

// mostInputs is how many inputs OpenAI's API takes at once.
const mostInputs = 2048

type embedding struct {
	Object    string `json:"object"`
	Index     int    `json:"index"`
	Embedding any    `json:"embedding"` // numbers, or base64 of little-endian float32
}

type embeddingUsage struct {
	PromptTokens int `json:"prompt_tokens"`
	TotalTokens  int `json:"total_tokens"`
}

// embeddings embeds texts, or the texts and pictures of messages: a vector each, of length 1. Those of
// texts and of pictures are of one space.
func (h handlers) embeddings(w http.ResponseWriter, r *http.Request) error {
	var body embeddingRequest
	if err := readBody(r, &body); err != nil {
		return err
	}
	if body.Encoding != "" && body.Encoding != "float" && body.Encoding != "base64" {
		return badParam("encoding_format", invalidValue, `"encoding_format" is float or base64`)
	}
	m, release, err := h.service.Use(r.Context(), h.modelName(body.Model, "embed"))
	if err != nil {
		return err
	}
	defer release()
	if !m.Can.Embed {
		return aboutParam("model", fmt.Errorf("%w: model %s embeds nothing; /v1/models says what each model does",
			pipeline.ErrUnsupported, m.Name))
	}
	var rows [][]float32
	var used int
	if len(body.Messages) > 0 {
		if !isNull(body.Input) {
			return badParam("input", invalidValue, `there are "input" and "messages"; send one of them`)
		}
		rows, used, err = h.embedMessages(r, m, body.Messages)
	} else {
		rows, used, err = embedInput(r, m, body.Input)
	}
	if err != nil {
		return err
	}
	if d := body.Dimensions; d != nil && *d != len(rows[0]) {
		return badParam("dimensions", unsupported, "vectors of model %s have %d dimensions, and no other number",
			m.Name, len(rows[0]))
	}
	data := []embedding{}
	for i, row := range rows {
		one := embedding{"embedding", i, row}
		if body.Encoding == "base64" {
			one.Embedding = base64Floats(row)
		}
		data = append(data, one)
	}
	return web.WriteJSON(w, http.StatusOK, map[string]any{
		"object": "list", "data": data, "model": m.Name, "usage": embeddingUsage{used, used},
	})
}

// base64Floats is a vector as little-endian float32 in base64.
func base64Floats(row []float32) string {
	data := make([]byte, 0, 4*len(row))
	for _, x := range row {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(data)
}

// embedInput embeds a text or a list of texts, and counts their tokens.
func embedInput(r *http.Request, m *serving.Model, input json.RawMessage) (rows [][]float32, used int, err error) {
	list, err := texts("input", input)
	if err != nil {
		return nil, 0, err
	}
	if len(list) > mostInputs {
		return nil, 0, badParam("input", invalidValue, `"input" has %d texts; %d are the most`, len(list), mostInputs)
	}
	rows, err = m.EmbedTexts(r.Context(), list...)
	if err != nil {
		return nil, 0, aboutParam("input", err)
	}
	used, err = countTokens(r, m, list)
	return rows, used, err
}

// countTokens counts the tokens that a model reads of texts.
func countTokens(r *http.Request, m *serving.Model, texts []string) (n int, err error) {
	for _, text := range texts {
		in, err := m.P.Inputs(r.Context(), pipeline.Request{Prompt: text})
		if err != nil {
			return 0, err
		}
		n += len(in.TokenIDs)
	}
	return n, nil
}

// embedMessages embeds each text and each picture of messages, in their order.
func (h handlers) embedMessages(
	r *http.Request, m *serving.Model, messages []message,
) (rows [][]float32, used int, err error) {
	turns, err := h.readMessages(r.Context(), messages)
	if err != nil {
		return nil, 0, err
	}
	for i, t := range turns {
		for k, p := range t.parts {
			var row [][]float32
			if p.kind == "" {
				var n int
				if row, err = m.EmbedTexts(r.Context(), p.text); err == nil {
					n, err = countTokens(r, m, []string{p.text})
				}
				used += n
			} else {
				row, err = m.EmbedPictures(r.Context(), p.data)
			}
			if err != nil {
				return nil, 0, aboutParam(fmt.Sprintf("messages[%d].content[%d]", i, k), err)
			}
			rows = append(rows, row...)
		}
	}
	if len(rows) == 0 {
		return nil, 0, badParam("messages", missing, `"messages" have nothing to embed`)
	}
	return rows, used, nil
}
