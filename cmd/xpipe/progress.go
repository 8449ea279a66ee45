package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/crossattn/xpipe/api"
)

const (
	// tellEvery is how often a run tells how far it is where nobody watches.
	tellEvery = 10 * time.Second
	// drawEvery is how often the line on a terminal is drawn anew.
	drawEvery = 200 * time.Millisecond
)

// progress tells on stderr how far a run is: on a terminal by a line that changes, elsewhere by one
// every ten seconds, and in the end by a summary.
type progress struct {
	env      *environment
	out      string
	terminal bool
	start    time.Time
	stop     chan struct{}
	stopped  sync.WaitGroup
	texts    int  // that embed embedded beside pictures
	whole    bool // the file is written at the end, and --resume does nothing

	mu     sync.Mutex
	counts api.Counts
	drawn  int // columns of the line on the terminal
}

// newProgress begins to tell of a run over so many pictures, -1 where that is not known.
func newProgress(env *environment, out string, total int) *progress {
	p := &progress{
		env: env, out: out, terminal: isTerminal(env.stderr) && !env.json, start: time.Now(),
		stop: make(chan struct{}),
	}
	p.counts.Total = max(0, total)
	every := tellEvery
	if p.terminal {
		every = drawEvery
	}
	p.stopped.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.tell()
			case <-p.stop:
				return
			}
		}
	})
	return p
}

// before counts a picture of an earlier run.
func (p *progress) before() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.Done++
	p.counts.Before++
}

// add counts a picture of this run.
func (p *progress) add(failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if failed {
		p.counts.Failed++
	} else {
		p.counts.Done++
	}
}

// hear says how many seconds of sound are heard in all.
func (p *progress) hear(seconds float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.AudioSeconds = seconds
}

// now is the counts at this time.
func (p *progress) now() api.Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.counts
	c.Seconds = time.Since(p.start).Seconds()
	if n := c.Done - c.Before + c.Failed; n > 0 {
		c.Rate = float64(n) / c.Seconds
	}
	return c
}

// tell writes how far the run is.
func (p *progress) tell() {
	c := p.now()
	if p.env.json {
		json.NewEncoder(p.env.stderr).Encode(api.Progress{Progress: c})
		return
	}
	line := done(c) + speed(c)
	if left := c.Total - c.Done - c.Failed; c.Rate > 0 && c.Total > 0 {
		seconds := time.Duration(float64(left) / c.Rate * float64(time.Second))
		line += fmt.Sprintf(", about %v left", seconds.Round(time.Second))
	}
	if p.terminal {
		p.draw(line)
	} else {
		fmt.Fprintln(p.env.stderr, "xpipe: "+line)
	}
}

// draw replaces the line on the terminal.
func (p *progress) draw(line string) {
	line = line[:min(len(line), max(0, terminalWidth(p.env.stderr)-1))]
	p.mu.Lock()
	defer p.mu.Unlock()
	io.WriteString(p.env.stderr, "\r"+line+strings.Repeat(" ", max(0, p.drawn-len(line))))
	p.drawn = len(line)
}

// end stops telling, and writes the summary.
func (p *progress) end(skips *api.Skips, unfinished bool) {
	close(p.stop)
	p.stopped.Wait()
	c := p.now()
	if p.env.json {
		json.NewEncoder(p.env.stderr).Encode(api.Summary{
			Summary: c, Skipped: skips.Counts(), Unfinished: unfinished})
		return
	}
	if p.drawn > 0 {
		p.draw("")
		io.WriteString(p.env.stderr, "\r")
	}
	line := done(c)
	if p.texts > 0 {
		texts := fmt.Sprintf("texts embedded: %d", p.texts)
		if line = texts; c.Done+c.Failed > 0 {
			line = done(c) + ", " + texts
		}
	}
	if c.Before > 0 {
		line += fmt.Sprintf(" (%d before)", c.Before)
	}
	if n := skips.Total(); n > 0 {
		line += fmt.Sprintf(", %d skipped: %v", n, skips)
	}
	line += fmt.Sprintf(", in %.1f s%s", c.Seconds, speed(c))
	switch {
	case p.whole:
	case unfinished:
		line += "; --resume goes on"
	case c.Failed > 0:
		line += "; --resume tries again what failed"
	}
	fmt.Fprintln(p.env.stderr, "xpipe: "+api.Visible(p.out+": "+line))
}

// done says how many pictures are done and failed.
func done(c api.Counts) string {
	of := ""
	if c.Total > 0 {
		of = fmt.Sprintf(" of %d", c.Total)
	}
	return fmt.Sprintf("%d%s done, %d failed", c.Done, of, c.Failed)
}

// speed says how fast pictures are worked on, once some are done, and sounds, once some is heard.
func speed(c api.Counts) string {
	if c.AudioSeconds > 0 {
		heard := time.Duration(c.AudioSeconds * float64(time.Second)).Round(time.Second)
		return fmt.Sprintf(", %v heard, %.1f times as fast as it lasts",
			heard, c.AudioSeconds/c.Seconds)
	}
	if c.Rate == 0 {
		return ""
	}
	return fmt.Sprintf(", %.1f pictures/s", c.Rate)
}
