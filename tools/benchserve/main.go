// Command benchserve measures `xpipe serve` as its clients see it: one run of `make bench-serve` starts
// the built program, and the peer beside it, and prints a table and a JSON object of what it found.
//
//	benchserve --program FILE [--model DIR] [--peer "PYTHON peer.py"] [--clip DIR] [--only PART] [--out FILE]
//
// Parts are text (batching on and off, closed loop and open), embed (pictures a second beside `xpipe
// embed`, and beside the peer), memory (20,000 mixed requests) and own (the server's share of the time).
// Ratios of one run are what counts; the machine says the rest.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"runtime"
	"slices"
)

// bench is what all parts know.
type bench struct {
	program string
	model   string // a BLIP-2 of OPT-125m's size
	peer    string
	clip    string  // a CLIP of ViT-B/32's size; "": none
	scale   float64 // of the number of requests
	report  map[string]any
}

func main() {
	log.SetFlags(0)
	b := bench{report: map[string]any{"cores": runtime.NumCPU(), "go": runtime.Version()}}
	flag.StringVar(&b.program, "program", "build/xpipe", "the built xpipe")
	flag.StringVar(&b.model, "model", "build/decode-bench", "bundle of a BLIP-2 with OPT-125m")
	flag.StringVar(&b.peer, "peer", "", "command of the peer; a bundle and its address are added")
	flag.StringVar(&b.clip, "clip", "", "bundle of a CLIP of ViT-B/32's size, for part embed")
	flag.Float64Var(&b.scale, "scale", 1, "share of the requests to make")
	only := flag.String("only", "", "one part: text, embed, memory or own")
	out := flag.String("out", "", "file for the JSON object")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	parts := []struct {
		name string
		run  func(context.Context) error
	}{{"text", b.text}, {"embed", b.embed}, {"memory", b.memory}, {"own", b.own}}
	for _, p := range parts {
		if *only != "" && *only != p.name {
			continue
		}
		if err := p.run(ctx); err != nil {
			log.Fatalf("%s: %v", p.name, err)
		}
	}
	data, err := json.MarshalIndent(b.report, "", "  ")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(data))
	if *out != "" {
		if err := os.WriteFile(*out, append(data, '\n'), 0o644); err != nil {
			log.Fatal(err)
		}
	}
}

// count scales a number of requests.
func (b *bench) count(n int) int { return max(1, int(float64(n)*b.scale)) }

// round keeps three digits behind the point.
func round(x float64) float64 { return float64(int64(x*1000+0.5)) / 1000 }

// percentile returns a percentile of numbers, which it sorts.
func percentile(list []float64, p float64) float64 {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[min(len(list)-1, int(p*float64(len(list))))]
}
