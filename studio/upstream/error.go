package upstream

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ErrBroken is the error of an answer that ended before its end.
var ErrBroken = errors.New("the service's answer broke off")

// Error is what a service answers in the place of what was asked.
type Error struct {
	Status     int    // of HTTP; 0 in a stream that had begun
	Message    string // the service's
	RetryAfter time.Duration
}

func (e *Error) Error() string {
	switch {
	case e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden:
		return "the service refuses the key: " + e.Message
	case e.Busy() && e.RetryAfter > 0:
		return fmt.Sprintf("the service asks to wait %s: %s", e.RetryAfter.Round(time.Second), e.Message)
	case e.Status == http.StatusTooManyRequests:
		return "the service takes no more for now: " + e.Message
	case e.Busy():
		return "the service is busy: " + e.Message
	}
	return "the service says: " + e.Message
}

// statusOverloaded is Anthropic's status of a service that is overloaded.
const statusOverloaded = 529

// Busy reports whether the same request may succeed later.
func (e *Error) Busy() bool {
	switch e.Status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, statusOverloaded:
		return true
	}
	return false
}

// told is an error in the shapes that services give it.
type told struct {
	Error json.RawMessage `json:"error"`
	// Message and Detail stand in its place with some.
	Message string          `json:"message"`
	Detail  json.RawMessage `json:"detail"`
}

// message is what an error says in words; "" where it is none.
func (t told) message() string {
	var inner struct {
		Message string `json:"message"`
		Type    string `json:"type"`
		Status  string `json:"status"`
	}
	var text string
	switch {
	case json.Unmarshal(t.Error, &inner) == nil && string(t.Error) != "null" && len(t.Error) > 0:
		return cmp.Or(inner.Message, inner.Type, inner.Status, "an error without words")
	case json.Unmarshal(t.Error, &text) == nil && text != "":
		return text
	case json.Unmarshal(t.Detail, &text) == nil && text != "":
		return text
	}
	return t.Message
}

// readMessage finds what an error says: OpenAI's object, Google's list of one, Ollama's text, or the body as it
// is where that is short and no page.
func readMessage(data []byte) string {
	var one told
	var list []told
	if json.Unmarshal(data, &one) == nil {
		if said := one.message(); said != "" {
			return said
		}
	} else if json.Unmarshal(data, &list) == nil && len(list) > 0 {
		if said := list[0].message(); said != "" {
			return said
		}
	}
	text := strings.TrimSpace(strings.ToValidUTF8(string(data), "?"))
	if text == "" || strings.HasPrefix(text, "<") || len(text) > 500 {
		return ""
	}
	return text
}

// readError makes an error of an answer, and closes it.
func readError(answer *http.Response) *Error {
	defer answer.Body.Close()
	data, _ := io.ReadAll(io.LimitReader(answer.Body, mostError)) // half an error is one, too
	return &Error{
		Status:     answer.StatusCode,
		Message:    shortened(cmp.Or(readMessage(data), answer.Status)),
		RetryAfter: retryAfter(answer.Header, time.Now()),
	}
}

// retryAfter is how long a service asks to wait: seconds or a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil && ms > 0 && ms < 1e9 {
		return time.Duration(ms * float64(time.Millisecond))
	}
	if s, err := strconv.ParseFloat(text, 64); err == nil && s > 0 && s < 1e6 {
		return time.Duration(s * float64(time.Second))
	}
	if at, err := http.ParseTime(text); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

// shortened is the beginning of a text that may be long, on one line.
func shortened(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 300 {
		s = string(r[:300]) + "..."
	}
	return s
}
