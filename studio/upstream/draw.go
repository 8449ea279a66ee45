package upstream

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Drawing asks for pictures.
type Drawing struct {
	Model  string
	Prompt string
	Size   string // such as 1024x1024; "": the service's choice
	Count  int    // 0: one
}

// mostPictures bounds an answer with pictures, in bytes.
const mostPictures = 128 << 20

// Draw asks for pictures: PNG, JPEG or WebP.
func (c *Client) Draw(ctx context.Context, d Drawing) ([]File, error) {
	body := map[string]any{"model": d.Model, "prompt": d.Prompt, "n": max(d.Count, 1)}
	if d.Size != "" {
		body["size"] = d.Size
	}
	// DALL-E gives addresses unless it is told otherwise, and its successors refuse to be told.
	if strings.Contains(strings.ToLower(d.Model), "dall-e") {
		body["response_format"] = "b64_json"
	}
	answer, err := c.do(ctx, "/images/generations", body)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var list struct {
		told
		Data []struct {
			Base64 string `json:"b64_json"`
			URL    string `json:"url"`
		} `json:"data"`
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, mostPictures)).Decode(&list); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	if len(list.Data) == 0 {
		if message := list.message(); message != "" {
			return nil, &Error{Message: shortened(message)}
		}
		return nil, fmt.Errorf("%w: it holds no picture", ErrBroken)
	}
	var files []File
	for i, one := range list.Data {
		data, err := base64.StdEncoding.DecodeString(one.Base64)
		if err == nil && len(data) == 0 {
			data, err = c.fetch(ctx, one.URL)
		}
		if err != nil {
			return files, fmt.Errorf("picture %d: %w", i+1, err)
		}
		kind := http.DetectContentType(data)
		suffix := map[string]string{"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}[kind]
		if suffix == "" {
			return files, fmt.Errorf("picture %d is no PNG, JPEG or WebP", i+1)
		}
		files = append(files, File{Name: fmt.Sprintf("picture-%d.%s", i+1, suffix), Type: kind, Data: data})
	}
	return files, nil
}

// fetch gets a picture that the service gives by its address: the service's own, which is asked with the key, or
// one elsewhere, which is not.
func (c *Client) fetch(ctx context.Context, address string) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("the service gives neither a picture nor its address")
	}
	if base, err := url.Parse(c.Base); err == nil && base.Host == u.Host && base.Scheme == u.Scheme {
		own := *c
		own.Base = u.Scheme + "://" + u.Host
		answer, err := own.once(ctx, u.RequestURI(), nil)
		if err != nil {
			return nil, err
		}
		if answer.StatusCode != http.StatusOK {
			return nil, readError(answer)
		}
		defer answer.Body.Close()
		return io.ReadAll(io.LimitReader(answer.Body, mostPictures))
	}
	if c.Fetch == nil {
		return nil, fmt.Errorf("it lies at %s, which is not asked", u.Host)
	}
	return c.Fetch(ctx, u)
}
