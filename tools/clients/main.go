// Command clients is xpipe's side of clients.py and bench.py, which run other tools on the same
// folders. It reads a JSON object a line from standard input and answers each with one.
//
//	clients pixels                         {"model","image","width","height","out"} -> {}
//	clients texts --model DIR [--engine go|ort] [--ort-lib FILE] [--threads N] [--prompt TEXT]
//	              [--profile FILE]         {"image","tokens"} -> {"seconds","ids"}
//	clients transcripts, with texts' flags {"sound"} -> {"seconds","text","windows"}
//
// pixels writes what the model's front end makes of the picture, or of its upper left part, to OUT,
// an .npz of the graphs' inputs, and grids [pictures,2], the rows and columns of tiles or patches. texts opens the model once; each answer is a text of just so many
// tokens, from the file's bytes to the text. transcripts does that for what is said in a sound file.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/draw"
	"io"
	"log"
	"os"
	"runtime/pprof"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: clients pixels|texts|transcripts")
	}
	run := map[string]func([]string) error{"pixels": pixels, "texts": texts, "transcripts": transcripts}[os.Args[1]]
	if run == nil {
		log.Fatalf("clients %s: there are pixels, texts and transcripts", os.Args[1])
	}
	if err := run(os.Args[2:]); err != nil {
		log.Fatal(err)
	}
}

// answer reads requests until the input ends.
func answer[Request, Answer any](make func(Request) (Answer, error)) error {
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	for {
		var r Request
		if err := in.Decode(&r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		a, err := make(r)
		if err != nil {
			return fmt.Errorf("%+v: %w", r, err)
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

type pixelsRequest struct {
	Model         string `json:"model"`
	Image         string `json:"image"`
	Width, Height int    // 0: the whole picture
	Out           string `json:"out"`
}

func pixels([]string) error {
	return answer(func(r pixelsRequest) (struct{}, error) {
		var none struct{}
		front, _, err := api.OpenPreprocessor(r.Model)
		if err != nil {
			return none, err
		}
		var picture image.Image
		if picture, err = vision.DecodeFile(r.Image); err != nil {
			return none, err
		}
		if r.Width > 0 {
			part := image.NewNRGBA(image.Rect(0, 0, r.Width, r.Height))
			draw.Draw(part, part.Bounds(), picture, image.Point{}, draw.Src)
			picture = part
		}
		made, err := front.Prepare(context.Background(), []media.Item{media.Picture{Image: picture}})
		if err != nil {
			return none, err
		}
		if grids := made.Grids; grids != nil {
			var sides []int64
			for _, g := range grids {
				sides = append(sides, int64(g.Y), int64(g.X))
			}
			made.Tensors["grids"] = tensor.Must(tensor.New([]int{len(grids), 2}, sides))
		}
		var b bytes.Buffer
		if err := tensor.WriteNpz(&b, made.Tensors); err != nil {
			return none, err
		}
		return none, os.WriteFile(r.Out, b.Bytes(), 0o666)
	})
}

type textRequest struct {
	Image  string `json:"image"`
	Tokens int    `json:"tokens"`
}

type textAnswer struct {
	Seconds float64 `json:"seconds"`
	IDs     []int64 `json:"ids"`
}

// serve opens a model as flags say and has run answer requests about it. prompt is as the model reads
// it.
func serve(args []string, run func(ctx context.Context, p *pipeline.Pipeline, prompt string) error) error {
	flags := flag.NewFlagSet("clients "+os.Args[1], flag.ExitOnError)
	model := flags.String("model", "", "the folder")
	name := flags.String("engine", "go", "go or ort")
	library := flags.String("ort-lib", "", "ONNX Runtime's library")
	threads := flags.Int("threads", 0, "cores to use; 0: all")
	prompt := flags.String("prompt", "", "the prompt, as the model reads it")
	profile := flags.String("profile", "", "file for a profile of the processor")
	flags.Parse(args)
	ctx := context.Background()
	choice, err := api.SelectEngine(*name, api.EngineConfig{Libraries: map[string]string{*name: *library}})
	if err != nil {
		return err
	}
	p, err := pipeline.Open(ctx, *model, pipeline.WithEngine(choice.Engine),
		pipeline.WithEngineOptions(engine.Options{Threads: *threads}))
	if err != nil {
		return err
	}
	defer p.Close()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	return run(ctx, p, *prompt)
}

func texts(args []string) error {
	return serve(args, func(ctx context.Context, p *pipeline.Pipeline, prompt string) error {
		return answer(func(r textRequest) (textAnswer, error) {
			start := time.Now()
			picture, err := p.DecodeFile(r.Image)
			if err != nil {
				return textAnswer{}, err
			}
			request := []pipeline.Request{{Image: picture, Prompt: prompt}}
			made, err := p.Generate(ctx, request, func(g *pipeline.Generation) {
				g.MaxNewTokens, g.MinNewTokens, g.NumBeams, g.DoSample = r.Tokens, r.Tokens, 1, false
				g.NoRepeatNgramSize, g.ForcedEOS = 0, nil
			})
			if err != nil {
				return textAnswer{}, err
			}
			return textAnswer{time.Since(start).Seconds(), made[0][0].IDs}, nil
		})
	})
}

type transcriptAnswer struct {
	Seconds float64 `json:"seconds"`
	Text    string  `json:"text"`
	Windows int     `json:"windows"`
}

func transcripts(args []string) error {
	return serve(args, func(ctx context.Context, p *pipeline.Pipeline, _ string) error {
		return answer(func(r struct{ Sound string }) (transcriptAnswer, error) {
			start := time.Now()
			t, err := p.TranscribeFile(ctx, r.Sound)
			if err != nil {
				return transcriptAnswer{}, err
			}
			return transcriptAnswer{time.Since(start).Seconds(), t.Text, len(t.Segments)}, nil
		})
	})
}
