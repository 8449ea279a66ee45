// Command transcribe writes down what is said in a sound, as it is heard: WAV, FLAC, MP3, Ogg Vorbis or
// Ogg Opus.
//
//	go run ./examples/transcribe testdata/speech/jfk.flac
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"

	_ "github.com/crossattn/xpipe/audio/codecs" // FLAC, MP3, Vorbis, Opus
	whispermini "github.com/crossattn/xpipe/models/mini/whisper-mini"
	"github.com/crossattn/xpipe/pipeline"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: transcribe FILE")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	p, err := pipeline.OpenFS(ctx, whispermini.FS())
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	_, err = p.TranscribeFile(ctx, os.Args[1], func(t *pipeline.Transcription) {
		t.Emit = func(s pipeline.Segment) bool {
			fmt.Printf("%5.1f to %5.1f s: %s\n", s.Start, s.End, s.Text)
			return true
		}
	})
	if err != nil {
		log.Fatal(err)
	}
}
