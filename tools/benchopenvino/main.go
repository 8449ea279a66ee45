// Command benchopenvino times graphs of `xpipe bench builtin:NAME` on the Go engine and on OpenVINO, in
// turns, both in the same precision: one run of `make bench-openvino` writes the graphs, starts the peer
// for each, and prints a table.
//
//	benchopenvino --peer "PYTHON peer.py" [--precision bf16] [--threads N] [--runs N] NAME...
package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/internal/enginebench"
	"github.com/crossattn/xpipe/tensor"
)

type options struct {
	peer, precision string
	threads, runs   int
}

func main() {
	log.SetFlags(0)
	var o options
	flag.StringVar(&o.peer, "peer", "", "command of the peer; a graph, threads, precision and sizes are added")
	flag.StringVar(&o.precision, "precision", "bf16", "of both: float32 or bf16")
	flag.IntVar(&o.threads, "threads", 1, "of both")
	flag.IntVar(&o.runs, "runs", 10, "pairs that count")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if o.peer == "" || flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	fmt.Println("| graph | threads | go ms | openvino ms | go/openvino |\n|---|---|---|---|---|")
	for _, name := range flag.Args() {
		if err := o.compare(ctx, name); err != nil {
			log.Fatalf("%s: %v", name, err)
		}
	}
}

// compare times one graph and prints its row.
func (o *options) compare(ctx context.Context, name string) error {
	graphs := enginebench.Graphs()
	i := slices.IndexFunc(graphs, func(g enginebench.Graph) bool { return g.Name == name })
	if i < 0 {
		return fmt.Errorf("xpipe bench has no such graph; `xpipe bench --help` lists them")
	}
	model := graphs[i].Build()
	engines := fallback.New()
	s, err := engines.Open(ctx, model.Source(), engine.Options{
		Threads: o.threads, Precision: engine.Precision(o.precision),
	})
	if err != nil {
		return err
	}
	defer s.Close()
	in, err := enginebench.Inputs(s.Inputs(), graphs[i].Dims)
	if err != nil {
		return err
	}
	p, err := o.start(ctx, model, in)
	if err != nil {
		return err
	}
	defer p.stop()
	var here, there []time.Duration
	for i := range 3 + o.runs {
		var took [2]time.Duration
		for range 2 { // the first wakes the threads of whose turn it is
			start := time.Now()
			if _, err := s.Run(ctx, in); err != nil {
				return err
			}
			took[0] = time.Since(start)
		}
		for range 2 {
			if took[1], err = p.run(); err != nil {
				return err
			}
		}
		if i >= 3 {
			here, there = append(here, took[0]), append(there, took[1])
		}
	}
	median, low, high := enginebench.Ratio(here, there)
	fmt.Printf("| %s | %d | %.1f | %.1f | %.2f (%.2f-%.2f) |\n", name, o.threads,
		enginebench.Median(here), enginebench.Median(there), median, low, high)
	return nil
}

// peer is a process that runs a graph whenever it reads a line, and answers with the milliseconds.
type peer struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	folder string
}

// start writes the graph and starts a peer on it.
func (o *options) start(ctx context.Context, model *enginebench.Model, in map[string]*tensor.Tensor) (*peer, error) {
	folder, err := os.MkdirTemp("", "benchopenvino")
	if err != nil {
		return nil, err
	}
	p := &peer{folder: folder}
	if err := p.begin(ctx, o, model, in); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func (p *peer) begin(ctx context.Context, o *options, model *enginebench.Model, in map[string]*tensor.Tensor) error {
	data, err := model.Bytes()
	if err != nil {
		return err
	}
	file := filepath.Join(p.folder, "graph.onnx")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return err
	}
	sizes := map[string][]int{}
	for name, t := range in {
		sizes[name] = t.Shape()
	}
	shapes, err := json.Marshal(sizes)
	if err != nil {
		return err
	}
	command := append(strings.Fields(o.peer), file, strconv.Itoa(o.threads), o.precision, string(shapes))
	p.cmd = exec.CommandContext(ctx, command[0], command[1:]...)
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	p.out = bufio.NewReader(out)
	return p.cmd.Start()
}

// run has the peer run its graph once.
func (p *peer) run() (time.Duration, error) {
	_, writeErr := io.WriteString(p.in, "\n")
	line, err := p.out.ReadString('\n')
	if err := cmp.Or(writeErr, err); err != nil {
		return 0, fmt.Errorf("the peer ended: %w", err)
	}
	ms, err := strconv.ParseFloat(strings.TrimSpace(line), 64)
	return time.Duration(ms * float64(time.Millisecond)), err
}

// stop ends the peer and removes what it read.
func (p *peer) stop() {
	if p.in != nil {
		p.in.Close()
	}
	if p.cmd != nil && p.cmd.Process != nil {
		p.cmd.Wait()
	}
	os.RemoveAll(p.folder)
}
