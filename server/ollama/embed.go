package ollama

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"time"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// embedRequest is the body of /api/embed. Images are ours: Ollama takes texts alone.
type embedRequest struct {
	named
	Input      json.RawMessage `json:"input"`  // a text or a list of texts
	Images     []string        `json:"images"` // base64
	Truncate   *bool           `json:"truncate"`
	Dimensions int             `json:"dimensions"`
	KeepAlive  keepAlive       `json:"keep_alive"`
}

// embedded is the answer of /api/embed: a row for each text and behind them one for each picture.
type embedded struct {
	Model           string        `json:"model"`
	Embeddings      [][]float32   `json:"embeddings"`
	TotalDuration   time.Duration `json:"total_duration"`
	LoadDuration    time.Duration `json:"load_duration"`
	PromptEvalCount int           `json:"prompt_eval_count"`
}

// texts reads the input.
func (e *embedRequest) texts() ([]string, error) {
	input := bytes.TrimSpace(e.Input)
	if len(input) == 0 || string(input) == "null" {
		return nil, nil
	}
	var one string
	if json.Unmarshal(input, &one) == nil {
		if one == "" {
			return nil, nil // as Ollama, which gives no row then
		}
		return []string{one}, nil
	}
	var several []*string
	if err := json.Unmarshal(input, &several); err != nil {
		return nil, web.Badf("invalid input type: input should be a text or a list of texts")
	}
	texts := make([]string, len(several))
	for i, text := range several {
		if text == nil {
			return nil, web.Badf("invalid input type: input[%d] is null", i)
		}
		texts[i] = *text
	}
	return texts, nil
}

func (h handlers) embed(w http.ResponseWriter, r *http.Request) error {
	var e embedRequest
	if err := readNamed(r, &e, &e.named); err != nil {
		return err
	}
	texts, err := e.texts()
	if err != nil {
		return err
	}
	if e.Truncate != nil && !*e.Truncate {
		return web.Badf("truncate false is not done here: texts are cut at the model's length; leave it out")
	}
	if e.Dimensions < 0 {
		return web.Badf("dimensions must be 0 or more")
	}
	start := time.Now()
	m, release, err := h.service.Use(r.Context(), e.Model)
	if err != nil {
		return notFound(e.Model, err)
	}
	defer release()
	h.keep(e.Model, e.KeepAlive)
	a := embedded{Model: e.Model, Embeddings: [][]float32{}, LoadDuration: time.Since(start)}
	if len(texts) > 0 {
		if a.Embeddings, err = m.EmbedTexts(r.Context(), texts...); err != nil {
			return err
		}
		if a.PromptEvalCount, err = countTokens(r, m, texts); err != nil {
			return err
		}
	}
	if len(e.Images) > 0 {
		rows, err := embedPictures(r, m, e.Images)
		if err != nil {
			return err
		}
		a.Embeddings = append(a.Embeddings, rows...)
	}
	for i, row := range a.Embeddings {
		a.Embeddings[i] = shortened(row, e.Dimensions)
	}
	a.TotalDuration = time.Since(start)
	return web.WriteJSON(w, http.StatusOK, a)
}

// countTokens returns how many tokens the model reads of some texts.
func countTokens(r *http.Request, m *serving.Model, texts []string) (n int, err error) {
	for _, text := range texts {
		inputs, err := m.P.Inputs(r.Context(), pipeline.Request{Prompt: text})
		if err != nil {
			return 0, err
		}
		n += len(inputs.TokenIDs)
	}
	return n, nil
}

func embedPictures(r *http.Request, m *serving.Model, images []string) ([][]float32, error) {
	files := make([][]byte, len(images))
	for i, text := range images {
		var err error
		if files[i], err = picture(text); err != nil {
			return nil, web.Badf("images[%d]: %w", i, err)
		}
	}
	return m.EmbedPictures(r.Context(), files...)
}

// shortened keeps the first n numbers of a row, as models are trained for whose rows can be cut
// (2205.13147), and scales them to length 1 again; all where n is 0 or more than there are.
func shortened(row []float32, n int) []float32 {
	if n == 0 || n >= len(row) {
		return row
	}
	var sum float64
	for _, v := range row[:n] {
		sum += float64(v) * float64(v)
	}
	cut := make([]float32, n)
	if sum > 0 {
		for i, v := range row[:n] {
			cut[i] = float32(float64(v) / math.Sqrt(sum))
		}
	}
	return cut
}

// embeddings is the older route, for one text.
func (h handlers) embeddings(w http.ResponseWriter, r *http.Request) error {
	var e struct {
		named
		Prompt    string    `json:"prompt"`
		KeepAlive keepAlive `json:"keep_alive"`
	}
	if err := readNamed(r, &e, &e.named); err != nil {
		return err
	}
	m, release, err := h.service.Use(r.Context(), e.Model)
	if err != nil {
		return notFound(e.Model, err)
	}
	defer release()
	h.keep(e.Model, e.KeepAlive)
	row := []float32{}
	if e.Prompt != "" {
		rows, err := m.EmbedTexts(r.Context(), e.Prompt)
		if err != nil {
			return err
		}
		row = rows[0]
	}
	return web.WriteJSON(w, http.StatusOK, map[string][]float32{"embedding": row})
}
