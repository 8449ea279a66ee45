// Command handler is an HTTP server that captions the picture in the body of a POST.
//
//	go run ./examples/handler localhost:8080
//	curl --data-binary @testdata/images/apple.png localhost:8080/caption
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"
	"time"

	blip2mini "github.com/crossattn/xpipe/models/mini/blip2-mini"
	"github.com/crossattn/xpipe/pipeline"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: handler ADDRESS")
	}
	limits := pipeline.Limits{ImageBytes: 20 << 20, ImagePixels: 50e6, Time: 10 * time.Second}
	p, err := pipeline.OpenFS(context.Background(), blip2mini.FS(), pipeline.WithLimits(limits))
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("POST /caption", captions(p))
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}

// captions answers with the caption as JSON, or with the status of an error.
func captions(p *pipeline.Pipeline) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		img, err := p.Decode(r.Body)
		var caption *pipeline.Text
		if err == nil {
			caption, err = p.Caption(r.Context(), img)
		}
		switch {
		case err == nil:
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(caption)
		case errors.Is(err, context.DeadlineExceeded): // Limits.Time, too
			http.Error(w, err.Error(), http.StatusGatewayTimeout)
		case errors.Is(err, pipeline.ErrLimit):
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		case errors.Is(err, pipeline.ErrImage):
			http.Error(w, err.Error(), http.StatusBadRequest)
		default:
			http.Error(w, "the model failed", http.StatusInternalServerError)
			log.Print(err)
		}
	}
}
