// Package upstream asks services that have OpenAI's API - OpenAI's own, Anthropic's and Google's compatible
// endpoints, routers, other servers in the house - for texts and pictures.
//
// They agree on /chat/completions, /images/generations and /models, and differ around them: in the shape of
// errors, in how a stream ends, in the names of parameters. What differs is taken by what it looks like,
// never by whose address it is.
package upstream

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Client asks one service. The zero value of its other fields suits. It is safe for concurrent use.
type Client struct {
	// Base is the address that paths are put behind, such as https://api.openai.com/v1.
	Base string
	// Key is sent as a bearer token; "": none is.
	Key string
	// HTTP makes the requests; nil: a client that follows no redirection.
	HTTP *http.Client
	// Fetch gets the pictures that a service gives by an address elsewhere; nil: they are errors.
	Fetch func(ctx context.Context, u *url.URL) ([]byte, error)
	// Silence is how long a service may say nothing; 0 stands for 2 minutes.
	Silence time.Duration
	// Patience bounds the wait that a service may ask for before it is asked again; 0 stands for 20 s.
	Patience time.Duration
	// Wait waits; nil: by the clock.
	Wait func(ctx context.Context, d time.Duration) error
}

// CheckBase says what is wrong with the address of a service.
func CheckBase(base string) error {
	u, err := url.Parse(base)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return errors.New("the address should be like https://api.openai.com/v1")
	case u.User != nil:
		return errors.New("the address should hold no name or password; give the key beside it")
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("the address should end with its path, such as /v1")
	}
	return nil
}

// ErrUnreachable is the error of a service that does not answer.
var ErrUnreachable = errors.New("the service cannot be reached")

// errRedirected is the error of a service that sends its callers elsewhere: they would take the key along.
var errRedirected = fmt.Errorf("%w: it redirects to another address; give that one", ErrUnreachable)

// plain is the client of those that give none.
var plain = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirected },
}

// attempts is how often a service that is busy is asked.
const attempts = 3

// mostError bounds what is read of an error.
const mostError = 64 << 10

// do sends a request, and sends it again where the service is busy and says for how long. body is JSON; nil:
// the method is GET. Errors are *Error or those of the connection, without the key.
func (c *Client) do(ctx context.Context, path string, body any) (*http.Response, error) {
	if err := CheckBase(c.Base); err != nil {
		return nil, err
	}
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	for attempt := 1; ; attempt++ {
		answer, err := c.once(ctx, path, data)
		if err != nil {
			return nil, err
		}
		if answer.StatusCode/100 == 2 {
			return answer, nil
		}
		failed := readError(answer)
		wait := cmp.Or(failed.RetryAfter, time.Duration(attempt)*time.Second)
		if !failed.Busy() || attempt == attempts || wait > cmp.Or(c.Patience, 20*time.Second) {
			return nil, failed
		}
		if err := c.wait(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// once sends a request.
func (c *Client) once(ctx context.Context, path string, data []byte) (*http.Response, error) {
	method := http.MethodGet
	var body io.Reader
	if data != nil {
		method, body = http.MethodPost, bytes.NewReader(data)
	}
	q, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.Base, "/")+path, body)
	if err != nil {
		return nil, err
	}
	q.Header.Set("Accept", "application/json, text/event-stream")
	if data != nil {
		q.Header.Set("Content-Type", "application/json")
	}
	if c.Key != "" {
		q.Header.Set("Authorization", "Bearer "+c.Key)
		// Anthropic's list of models takes its own headers alone; others pass them over.
		q.Header.Set("X-Api-Key", c.Key)
		q.Header.Set("Anthropic-Version", "2023-06-01")
	}
	answer, err := cmp.Or(c.HTTP, plain).Do(q)
	if err == nil {
		return answer, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if errors.Is(err, errRedirected) {
		return nil, errRedirected
	}
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err
	}
	return nil, fmt.Errorf("%w at %s: %w", ErrUnreachable, q.URL.Host, err)
}

func (c *Client) wait(ctx context.Context, d time.Duration) error {
	if c.Wait != nil {
		return c.Wait(ctx, d)
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// mostList bounds a list of models, and an answer that is no stream, in bytes.
const mostList = 16 << 20

// Models lists the models of a service by name.
func (c *Client) Models(ctx context.Context) ([]string, error) {
	answer, err := c.do(ctx, "/models", nil)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var list struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, mostList)).Decode(&list); err != nil {
		return nil, fmt.Errorf("the list of models is no JSON as wanted: %w", err)
	}
	names := []string{}
	for _, m := range list.Data {
		if m.ID != "" {
			names = append(names, strings.TrimPrefix(m.ID, "models/")) // as Google's list has them
		}
	}
	return names, nil
}
