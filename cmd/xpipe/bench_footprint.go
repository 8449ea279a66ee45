package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/enginebench"
)

// Runs and openings in the process that measures an engine's footprint.
const footprintRuns, footprintOpens = 3, 5

// printFootprint measures one engine in this process, which does nothing else: bench --footprint
// starts it.
func (o *benchOptions) printFootprint(
	ctx context.Context, env *environment, e timedEngine, g benchGraph,
) error {
	source, _, err := g.source()
	if err != nil {
		return err
	}
	f, err := enginebench.MeasureFootprint(
		ctx, e.Engine, source, o.optionsFor(e), g.dims, footprintRuns, footprintOpens)
	if err != nil {
		return err
	}
	return env.printJSON(f)
}

// footprints measures each engine in a process of its own.
func (o *benchOptions) footprints(
	ctx context.Context, engines []timedEngine, g benchGraph, source engine.Source,
) ([]enginebench.Footprint, error) {
	path, ok := source.Path()
	if !ok { // a process of its own needs a file
		var err error
		if path, err = temporaryGraph(source); err != nil {
			return nil, err
		}
		defer os.Remove(path)
	}
	var footprints []enginebench.Footprint
	for _, e := range engines {
		f, err := o.footprint(ctx, e, path, g.dims)
		if err != nil {
			return nil, fmt.Errorf("the footprint of engine %s: %w", e.Name(), err)
		}
		footprints = append(footprints, f)
	}
	return footprints, nil
}

// footprint runs this program for one engine and one graph file.
func (o *benchOptions) footprint(
	ctx context.Context, e timedEngine, path string, dims map[string]int,
) (f enginebench.Footprint, err error) {
	self, err := os.Executable()
	if err != nil {
		return f, err
	}
	args := []string{"bench", path, "--footprint-only", "--engine", e.Name(),
		"--precision", string(cmp.Or(o.optionsFor(e).Precision, engine.PrecisionAuto)),
		"--threads", strconv.Itoa(o.threads), "--no-fusion=" + strconv.FormatBool(o.noFusion)}
	for name, library := range o.libraries {
		args = append(args, "--"+libraryFlagName(name), library)
	}
	for name, n := range dims {
		args = append(args, "--dim", name+"="+strconv.Itoa(n))
	}
	cmd := exec.CommandContext(ctx, self, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return f, fmt.Errorf("%w: %s", err, bytes.TrimSpace(errs.Bytes()))
	}
	return f, json.Unmarshal(out.Bytes(), &f)
}

// temporaryGraph writes a graph that lies in memory to a file.
func temporaryGraph(source engine.Source) (path string, err error) {
	in, err := source.FS.Open(source.Name)
	if err != nil {
		return "", err
	}
	defer in.Close()
	out, err := os.CreateTemp("", "xpipe-bench-*.onnx")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, in)
	if closed := out.Close(); err == nil {
		err = closed
	}
	if err != nil {
		os.Remove(out.Name())
		return "", err
	}
	return out.Name(), nil
}
