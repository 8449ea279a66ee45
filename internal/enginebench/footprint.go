package enginebench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/crossattn/xpipe/engine"
)

// Footprint is the time and memory that an open graph takes, measured in a process that does
// nothing else.
type Footprint struct {
	// OpenMS is the median of several openings, in milliseconds; the file lies in the system's
	// cache for all but, perhaps, the first.
	OpenMS float64 `json:"open_ms"`
	// PeakMB is the most memory the process had resident from its start until the graph had been
	// opened once and run, in MB of 1e6 bytes; 0 where the system does not tell.
	PeakMB float64 `json:"peak_mb"`
	// HeldMB is what it had after those runs.
	HeldMB float64 `json:"held_mb"`
}

// MeasureFootprint opens a graph, runs it, and opens it again several times. Its memory figures
// mean something only in a fresh process.
func MeasureFootprint(
	ctx context.Context, e engine.Engine, source engine.Source, opts engine.Options,
	dims map[string]int, runs, opens int,
) (Footprint, error) {
	var f Footprint
	var times []time.Duration
	open := func() (engine.Session, error) {
		start := time.Now()
		s, err := e.Open(ctx, source, opts)
		times = append(times, time.Since(start))
		return s, err
	}
	s, err := open()
	if err != nil {
		return f, err
	}
	in, err := Inputs(s.Inputs(), dims)
	for range runs {
		if err == nil {
			_, err = s.Run(ctx, in)
		}
	}
	if err != nil {
		s.Close()
		return f, err
	}
	f.PeakMB, f.HeldMB = resident("VmHWM"), resident("VmRSS")
	if err := s.Close(); err != nil {
		return f, err
	}
	for range opens - 1 {
		s, err := open()
		if err != nil {
			return f, err
		}
		if err := s.Close(); err != nil {
			return f, err
		}
	}
	f.OpenMS = Median(times)
	return f, nil
}

// resident reads a field of Linux's account of this process's memory, in MB.
func resident(field string) float64 {
	file, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), field+":"); ok {
			var kb float64
			fmt.Sscanf(strings.TrimSpace(value), "%f", &kb)
			return kb * 1024 / 1e6
		}
	}
	return 0
}
