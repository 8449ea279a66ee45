package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// text asks 32 clients' questions of 32 tokens each, with batching and without.
func (b *bench) text(ctx context.Context) error {
	name := filepath.Base(b.model)
	pictures := make([][]byte, 64)
	for i := range pictures {
		pictures[i] = picture(i, 256, 256)
	}
	part := map[string]any{}
	b.report["text"] = part
	var rates []float64
	for _, rows := range []int{64, 1} {
		p, err := b.serve(ctx, "--model", b.model, "--batch-rows", strconv.Itoa(rows))
		if err != nil {
			return err
		}
		send := func(i int) result {
			return chat(ctx, p.address, name, fmt.Sprintf("what is it, and how many are there? %d", i), pictures[i%len(pictures)], 32)
		}
		if r := send(0); r.err != nil {
			p.stop()
			return r.err
		}
		n := b.count(128)
		if rows == 1 {
			n = b.count(64)
		}
		l := closed(32, n, send)
		rates = append(rates, l.Tokens)
		part["closed_rows_"+strconv.Itoa(rows)] = l
		fmt.Fprintf(os.Stderr, "text: --batch-rows %d: first token in %.0f ms, of 99 %% in %.0f ms\n", rows, l.FirstP50, l.FirstP99)
		if rows > 1 { // at half of what it can do
			part["open_rows_"+strconv.Itoa(rows)] = open(l.PerSecond/2, n, send)
		}
		part["rss_mib_rows_"+strconv.Itoa(rows)] = round(p.status("VmHWM"))
		p.stop()
	}
	part["batching_gains"] = round(rates[0] / rates[1])
	fmt.Fprintf(os.Stderr, "text: %.1f tokens a second in batches, %.1f without: %.2f times\n", rates[0], rates[1], rates[0]/rates[1])
	return nil
}

// memory sends 20,000 mixed requests and compares the resident memory on the way.
func (b *bench) memory(ctx context.Context) error {
	p, err := b.serve(ctx)
	if err != nil {
		return err
	}
	defer p.stop()
	pictures := make([][]byte, 200)
	for i := range pictures {
		pictures[i] = picture(i, 320, 240)
	}
	send := func(i int) result {
		img := pictures[i*7919%len(pictures)]
		switch i % 4 {
		case 0:
			return caption(ctx, p.address, img)
		case 1:
			return chat(ctx, p.address, "blip2-mini", "", img, 16)
		case 2:
			return chat(ctx, p.address, "blip2-mini", fmt.Sprintf("what color is number %d?", i), img, 8)
		}
		return wrong(ctx, p.address, i)
	}
	n := b.count(20_000)
	var rss []float64
	part := map[string]any{}
	b.report["memory"] = part
	failed := 0
	for range 10 {
		l := closed(16, n/10, send)
		failed += l.Failed
		if l.Failed > 0 {
			part["first_failure"] = l.FirstFailed
		}
		rss = append(rss, round(p.status("VmRSS")))
	}
	part["rss_mib"], part["most_mib"], part["failed"] = rss, round(p.status("VmHWM")), failed
	part["growth"] = round(rss[9] / rss[1])
	fmt.Fprintf(os.Stderr, "memory: %v MiB, at most %.0f; %d failed\n", rss, p.status("VmHWM"), failed)
	return nil
}

// caption asks for a caption in PhotoPrism's dialect.
func caption(ctx context.Context, address string, jpeg []byte) result {
	start := time.Now()
	body := []byte(`{"model":"blip2-mini","images":["data:image/jpeg;base64,` + base64.StdEncoding.EncodeToString(jpeg) + `"]}`)
	answer, err := post(ctx, address+"/api/v1/vision/caption", "application/json", body)
	if err != nil {
		return result{err: err}
	}
	defer answer.Close()
	io.Copy(io.Discard, answer)
	return result{whole: time.Since(start)}
}

// wrong sends a request that has to be refused.
func wrong(ctx context.Context, address string, i int) result {
	bodies := []string{`{`, `{"model":"none","messages":[]}`, `{"model":"blip2-mini"}`, `[]`}
	start := time.Now()
	answer, err := post(ctx, address+"/v1/chat/completions", "application/json", []byte(bodies[i/4%len(bodies)]))
	if err == nil {
		answer.Close()
		return result{err: errors.New("what is wrong was answered")}
	}
	if !strings.HasPrefix(err.Error(), "status 4") {
		return result{err: err}
	}
	return result{whole: time.Since(start)}
}

// own measures which share of the processor's time the server itself takes: all but decoding of files,
// preprocessing, graphs and the choice of tokens.
func (b *bench) own(ctx context.Context) error {
	profiles, err := freePort()
	if err != nil {
		return err
	}
	p, err := b.serve(ctx, "--model", b.model, "--pprof", profiles)
	if err != nil {
		return err
	}
	defer p.stop()
	name := filepath.Base(b.model)
	stop := make(chan load)
	go func() {
		stop <- closed(32, b.count(160), func(i int) result {
			return chat(ctx, p.address, name, fmt.Sprintf("what is it? %d", i), picture(i%40, 256, 256), 32)
		})
	}()
	file, err := os.CreateTemp("", "benchserve*.pprof")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	time.Sleep(2 * time.Second)
	answer, err := http.Get("http://" + profiles + "/debug/pprof/profile?seconds=15")
	if err != nil {
		return err
	}
	io.Copy(file, answer.Body)
	answer.Body.Close()
	file.Close()
	<-stop
	share, err := focused(file.Name())
	if err != nil {
		return err
	}
	b.report["own"] = map[string]any{"share_of_processor_time": share}
	fmt.Fprintf(os.Stderr, "own: the server takes %.2f %% of the processor's time\n", 100*share)
	return nil
}

// focused returns the share of a profile's samples that are in the server or in HTTP and JSON, and not
// below a pipeline.
func focused(profile string) (float64, error) {
	out, err := exec.Command("go", "tool", "pprof", "-top", "-nodecount=100000", "-nodefraction=0",
		"-focus=net/http|xpipe/server|encoding/json|internal/poll",
		"-ignore=xpipe/pipeline|xpipe/vision|xpipe/fallback|xpipe/internal/kernel", profile).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%w: %s", err, out)
	}
	// Showing nodes accounting for 0.52s, 3.1% of 16.78s total
	found := regexp.MustCompile(`accounting for ([0-9.]+)(ms|s)?, .* of ([0-9.]+)(ms|s) total`).FindSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("no total in %.300s", out)
	}
	return round(secondsOf(found[1:3]) / secondsOf(found[3:5])), nil
}

// secondsOf reads a number and its unit.
func secondsOf(match [][]byte) float64 {
	x, _ := strconv.ParseFloat(string(match[0]), 64)
	if string(match[1]) == "ms" {
		x /= 1000
	}
	return x
}
