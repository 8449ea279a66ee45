package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 512}}

// result is what came of one request.
type result struct {
	first, whole time.Duration // until the first token, and the end
	tokens       int
	err          error
}

// load is what came of many.
type load struct {
	Requests    int     `json:"requests"`
	Failed      int     `json:"failed"`
	Seconds     float64 `json:"seconds"`
	PerSecond   float64 `json:"requests_per_second"`
	Tokens      float64 `json:"tokens_per_second,omitempty"`
	FirstP50    float64 `json:"first_token_p50_ms,omitempty"`
	FirstP99    float64 `json:"first_token_p99_ms,omitempty"`
	LatencyP50  float64 `json:"latency_p50_ms"`
	LatencyP99  float64 `json:"latency_p99_ms"`
	FirstFailed string  `json:"first_failure,omitempty"`
}

// closed has some clients send requests one after another, n in all.
func closed(clients, n int, send func(i int) result) load {
	var next atomic.Int64
	results := make([]result, n)
	start := time.Now()
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				results[i] = send(i)
			}
		})
	}
	all.Wait()
	return summary(results, time.Since(start))
}

// open sends n requests at a rate a second, whether or not those before are answered, with the pauses of
// independent clients (a Poisson process, seeded).
func open(rate float64, n int, send func(i int) result) load {
	r := rand.New(rand.NewPCG(1, 2))
	results := make([]result, n)
	start := time.Now()
	at := start
	var all sync.WaitGroup
	for i := range n {
		at = at.Add(time.Duration(r.ExpFloat64() / rate * float64(time.Second)))
		time.Sleep(time.Until(at))
		all.Go(func() { results[i] = send(i) })
	}
	all.Wait()
	return summary(results, time.Since(start))
}

func summary(results []result, took time.Duration) load {
	l := load{Requests: len(results), Seconds: round(took.Seconds())}
	var first, whole []float64
	tokens := 0
	for _, r := range results {
		if r.err != nil {
			if l.Failed++; l.Failed == 1 {
				l.FirstFailed = r.err.Error()
			}
			continue
		}
		tokens += r.tokens
		whole = append(whole, r.whole.Seconds()*1000)
		if r.first > 0 {
			first = append(first, r.first.Seconds()*1000)
		}
	}
	l.PerSecond = round(float64(len(whole)) / took.Seconds())
	l.Tokens = round(float64(tokens) / took.Seconds())
	l.FirstP50, l.FirstP99 = round(percentile(first, .5)), round(percentile(first, .99))
	l.LatencyP50, l.LatencyP99 = round(percentile(whole, .5)), round(percentile(whole, .99))
	return l
}

// picture makes a JPEG of blocks of colour, another for each seed.
func picture(seed, width, height int) []byte {
	r := rand.New(rand.NewPCG(uint64(seed), 5))
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	const block = 16
	for y := 0; y < height; y += block {
		for x := 0; x < width; x += block {
			c := color.RGBA{uint8(r.Uint32()), uint8(r.Uint32()), uint8(r.Uint32()), 255}
			for dy := range min(block, height-y) {
				for dx := range min(block, width-x) {
					img.SetRGBA(x+dx, y+dy, c)
				}
			}
		}
	}
	var b bytes.Buffer
	jpeg.Encode(&b, img, &jpeg.Options{Quality: 90})
	return b.Bytes()
}

// chat asks about a picture and reads the streamed answer.
func chat(ctx context.Context, address, model, question string, jpeg []byte, tokens int) (r result) {
	body, _ := json.Marshal(map[string]any{
		"model": model, "max_tokens": tokens, "stream": true, "logprobs": true, "stream_options": map[string]any{"include_usage": true},
		"messages": []any{map[string]any{"role": "user", "content": []any{
			map[string]any{"type": "text", "text": question},
			map[string]any{"type": "image_url", "image_url": map[string]any{
				"url": "data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(jpeg)}},
		}}},
	})
	start := time.Now()
	answer, err := post(ctx, address+"/v1/chat/completions", "application/json", body)
	if err != nil {
		return result{err: err}
	}
	defer answer.Close()
	for lines := bufio.NewScanner(answer); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		var chunk struct {
			Choices []struct {
				Logprobs *struct { // there is one for each token, also for those without a text
					Content []any `json:"content"`
				} `json:"logprobs"`
			} `json:"choices"`
			Usage struct {
				Completion int `json:"completion_tokens"`
			} `json:"usage"`
			Error any `json:"error"`
		}
		if err := json.Unmarshal([]byte(data), &chunk); err != nil || chunk.Error != nil {
			return result{err: fmt.Errorf("%v: %s", err, data)}
		}
		if len(chunk.Choices) > 0 && chunk.Choices[0].Logprobs != nil && r.first == 0 {
			r.first = time.Since(start)
		}
		r.tokens += chunk.Usage.Completion
	}
	r.whole = time.Since(start)
	return r
}

// post sends a body and returns that of the answer.
func post(ctx context.Context, url, kind string, body []byte) (io.ReadCloser, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	q.Header.Set("Content-Type", kind)
	answer, err := client.Do(q)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		data, _ := io.ReadAll(io.LimitReader(answer.Body, 500))
		answer.Body.Close()
		return nil, fmt.Errorf("status %d: %s", answer.StatusCode, data)
	}
	return answer.Body, nil
}
