// Package upstreamtest has stubs of services with OpenAI's API, for tests: each has the marks by which clients
// tell the real ones apart, in its streams, errors and lists.
package upstreamtest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Key is the key that the stubs take.
const Key = "sk-test-key"

// Service is a stub. The zero value behaves like OpenAI's service.
type Service struct {
	// Like is whose service it behaves like: "openai", "anthropic" or "gemini".
	Like string
	// Slow is how long it takes from word to word.
	Slow time.Duration
	// Busy is how many requests are refused for now, before others are answered.
	Busy int
	// RetryAfter is what refused requests are told.
	RetryAfter string
	// Break ends streams after so many words: "cut" by the connection, "error" with an error in the stream,
	// "silent" without a word more until the client is gone, "garbled" by what is no JSON, "short" in good
	// order but before the end.
	Break string

	mu       sync.Mutex
	requests []map[string]any
}

// Requests are the bodies of the requests for texts and pictures that came.
func (s *Service) Requests() []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// Fail answers an error in the service's shape.
func (s *Service) fail(w http.ResponseWriter, status int, kind, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(s.failure(status, kind, message))
}

func (s *Service) failure(status int, kind, message string) any {
	switch s.Like {
	case "anthropic":
		return map[string]any{"type": "error", "error": map[string]any{"type": kind, "message": message}}
	case "gemini":
		return []any{map[string]any{"error": map[string]any{"code": status, "message": message, "status": strings.ToUpper(kind)}}}
	}
	return map[string]any{"error": map[string]any{"message": message, "type": kind, "param": nil, "code": nil}}
}

func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+Key {
		s.fail(w, http.StatusUnauthorized, "authentication_error", "Incorrect API key provided.")
		return
	}
	if strings.HasSuffix(r.URL.Path, "/drawn.png") {
		w.Write(Picture())
		return
	}
	if strings.HasSuffix(r.URL.Path, "/models") {
		s.models(w)
		return
	}
	var body map[string]any
	if json.NewDecoder(r.Body).Decode(&body) != nil {
		s.fail(w, http.StatusBadRequest, "invalid_request_error", "We could not parse the JSON body of your request.")
		return
	}
	s.mu.Lock()
	s.requests = append(s.requests, body)
	busy := s.Busy > 0
	s.Busy--
	s.mu.Unlock()
	switch {
	case busy:
		status, kind := http.StatusTooManyRequests, "rate_limit_exceeded"
		if s.Like == "anthropic" {
			status, kind = 529, "overloaded_error"
		}
		if s.RetryAfter != "" {
			w.Header().Set("Retry-After", s.RetryAfter)
		}
		s.fail(w, status, kind, "Rate limit reached for requests.")
	case strings.HasSuffix(r.URL.Path, "/chat/completions"):
		s.chat(w, r, body)
	case strings.HasSuffix(r.URL.Path, "/images/generations"):
		s.draw(w, r, body)
	default:
		s.fail(w, http.StatusNotFound, "not_found_error", "Unknown request URL.")
	}
}

// models lists models by names as the service has them.
func (s *Service) models(w http.ResponseWriter) {
	names := map[string][]string{
		"":          {"gpt-5.2", "gpt-image-1"},
		"anthropic": {"claude-opus-4-5"},
		"gemini":    {"models/gemini-3-flash"},
	}[strings.TrimPrefix(s.Like, "openai")]
	var data []any
	for _, name := range names {
		data = append(data, map[string]any{"id": name, "object": "model"})
	}
	json.NewEncoder(w).Encode(map[string]any{"object": "list", "data": data})
}

// Said is what the stubs answer to a last message's text and number of files.
func Said(text string, files int) string {
	if files > 0 {
		return fmt.Sprintf("You sent %d file(s) and said: %s", files, text)
	}
	return "You said: " + text
}

// last reads a request's last message.
func last(body map[string]any) (text string, files int) {
	messages, _ := body["messages"].([]any)
	if len(messages) == 0 {
		return "", 0
	}
	message, _ := messages[len(messages)-1].(map[string]any)
	if text, ok := message["content"].(string); ok {
		return text, 0
	}
	parts, _ := message["content"].([]any)
	for _, p := range parts {
		part, _ := p.(map[string]any)
		if part["type"] == "text" {
			text, _ = part["text"].(string)
		} else {
			files++
		}
	}
	return text, files
}

func (s *Service) chat(w http.ResponseWriter, r *http.Request, body map[string]any) {
	model, _ := body["model"].(string)
	if strings.HasPrefix(model, "gpt-5") && body["max_tokens"] != nil {
		s.fail(w, http.StatusBadRequest, "invalid_request_error",
			"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.")
		return
	}
	if model == "no-such-model" {
		s.fail(w, http.StatusNotFound, "not_found_error", "The model `no-such-model` does not exist")
		return
	}
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	send := func(v any) {
		data, _ := json.Marshal(v)
		fmt.Fprintf(w, "data: %s\n\n", data)
		http.NewResponseController(w).Flush()
	}
	piece := func(delta map[string]any, finish any) {
		send(map[string]any{"id": "1", "object": "chat.completion.chunk", "model": model,
			"choices": []any{map[string]any{"index": 0, "delta": delta, "finish_reason": finish}}})
	}
	text, files := last(body)
	words := strings.SplitAfter(Said(text, files), " ")
	if s.Like == "" || s.Like == "openai" {
		piece(map[string]any{"role": "assistant", "content": "", "refusal": nil}, nil)
	} else {
		fmt.Fprint(w, ": PROCESSING\r\n\r\n")
	}
	for i, word := range words {
		if i == len(words)/2 && s.Break != "" {
			s.breakOff(w, r, send)
			return
		}
		select {
		case <-time.After(s.Slow):
		case <-r.Context().Done():
			return
		}
		var finish any
		if i == len(words)-1 && s.Like == "gemini" { // which says so with the last word
			finish = "stop"
		}
		piece(map[string]any{"role": "assistant", "content": word}, finish)
	}
	if s.Like != "gemini" {
		piece(map[string]any{}, "stop")
	}
	send(map[string]any{"model": model, "choices": []any{}, "usage": map[string]any{
		"prompt_tokens": 7, "completion_tokens": len(words), "total_tokens": 7 + len(words)}})
	if s.Like != "anthropic" {
		fmt.Fprint(w, "data: [DONE]\n\n")
	}
}

// breakOff ends a stream as Break says.
func (s *Service) breakOff(w http.ResponseWriter, r *http.Request, send func(any)) {
	switch s.Break {
	case "cut":
		panic(http.ErrAbortHandler)
	case "error":
		send(s.failure(500, "server_error", "The server had an error while processing your request."))
	case "silent":
		<-r.Context().Done()
	case "garbled":
		fmt.Fprint(w, "data: {\"choices\": [{\n\n")
	}
}

func (s *Service) draw(w http.ResponseWriter, r *http.Request, body map[string]any) {
	model, _ := body["model"].(string)
	prompt, _ := body["prompt"].(string)
	if strings.Contains(prompt, "forbidden") {
		s.fail(w, http.StatusBadRequest, "image_generation_user_error", "Your request was rejected by our safety system.")
		return
	}
	if strings.HasPrefix(model, "gpt-image") && body["response_format"] != nil {
		s.fail(w, http.StatusBadRequest, "invalid_request_error", "Unknown parameter: 'response_format'.")
		return
	}
	one := map[string]any{"b64_json": base64.StdEncoding.EncodeToString(Picture())}
	if strings.HasPrefix(model, "flux") && body["response_format"] == nil {
		one = map[string]any{"url": "http://" + r.Host + "/files/drawn.png"}
	}
	if strings.HasPrefix(model, "ideogram") {
		one = map[string]any{"url": "https://elsewhere.example/drawn.png"}
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"created": 1, "data": []any{one}})
}

// Picture is a PNG file: a red square on blue.
func Picture() []byte {
	img := image.NewRGBA(image.Rect(0, 0, 64, 64))
	for y := range 64 {
		for x := range 64 {
			c := color.RGBA{40, 80, 200, 255}
			if x > 16 && x < 48 && y > 16 && y < 48 {
				c = color.RGBA{220, 40, 40, 255}
			}
			img.Set(x, y, c)
		}
	}
	var b bytes.Buffer
	png.Encode(&b, img)
	return b.Bytes()
}
