package api

import (
	"context"
	"fmt"
	"image"
	"io/fs"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/klauspost/cpuid/v2"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/ort"
	"github.com/crossattn/xpipe/pipeline"
)

// Diagnosis is what doctor prints: what the program found on this machine.
type Diagnosis struct {
	XPipe   string                 `json:"xpipe"` // version
	Go      string                 `json:"go"`    // version that built the program
	OS      string                 `json:"os"`
	Arch    string                 `json:"arch"`
	CPU     CPUInfo                `json:"cpu"`
	Engine  string                 `json:"engine"`  // the one that "auto" takes
	Engines map[string]EngineState `json:"engines"` // all, by name
	Model   ModelState             `json:"model"`
	Tools   []Tool                 `json:"tools"`
	Advice  []engine.Advice        `json:"advice"`
	OK      bool                   `json:"ok"` // an engine can caption a picture
	// Config is the path of the configuration file, and Settings what it and variables set.
	Config   string    `json:"config,omitempty"`
	Settings []Setting `json:"settings,omitempty"`
	// Server is what serve would find; nil where nobody looked.
	Server *ServerState `json:"server,omitempty"`
}

// ServerState says what a server would find on this machine.
type ServerState struct {
	Listen  string   `json:"listen"`            // where it would listen
	Free    bool     `json:"free"`              // whether it could
	Problem string   `json:"problem,omitempty"` // why not
	Auth    string   `json:"auth"`              // who might ask: "loopback", "token", "anybody", or "refused": it would not start
	Models  []string `json:"models"`            // that requests may name: embedded, in the hub's cache, in folders
	Dir     string   `json:"dir,omitempty"`     // the folder of --models, where one is set
	Advice  []string `json:"advice"`
}

// Setting is the value of a flag that was not on the command line.
type Setting struct {
	Name  string `json:"name"` // of the flag
	Value string `json:"value"`
	From  string `json:"from"` // a variable, or a file and its line

	Problem string `json:"problem,omitempty"` // why the flag does not take it
}

// CPUInfo describes the processor.
type CPUInfo struct {
	Name     string   `json:"name"`
	Threads  int      `json:"threads"`  // that Go uses
	Features []string `json:"features"` // that matter to the engines
}

// EngineState is what an engine found, as engine.Description says it, and whether it works.
type EngineState struct {
	Built     bool            `json:"built"`   // into this program
	Kernels   []string        `json:"kernels"` // features that its assembly needs; null without any
	Library   *engine.Library `json:"library,omitempty"`
	Providers []string        `json:"providers,omitempty"`
	Trial     CaptionTrial    `json:"trial"`
	Looked    []string        `json:"looked,omitempty"` // where a search came to nothing, and why

	Summary string `json:"-"` // one line for people; "" where nothing was found
}

// CaptionTrial says how captioning a picture with the default model went.
type CaptionTrial struct {
	OK      bool    `json:"ok"`
	Seconds float64 `json:"seconds"` // opening the model included
	Problem string  `json:"problem,omitempty"`
}

// ModelState describes an embedded model.
type ModelState struct {
	Name    string        `json:"name"`
	Family  models.Family `json:"family,omitempty"`
	Files   int           `json:"files"`
	Bytes   int64         `json:"bytes"`
	OK      bool          `json:"ok"` // every file has its sha256
	Problem string        `json:"problem,omitempty"`
}

// Tool is another program that some uses need.
type Tool struct {
	Name string `json:"name"`
	For  string `json:"for"`
	Path string `json:"path,omitempty"` // "" where it is not found
}

// Diagnose examines the machine and has each engine caption a picture; version is the program's.
func Diagnose(ctx context.Context, version string, config EngineConfig) Diagnosis {
	d := Diagnosis{
		XPipe: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH,
		CPU: examineCPU(), Model: examineModel(mini.Default), Engines: map[string]EngineState{},
		Tools: []Tool{
			{Name: "python3",
				For: "the onnxruntime package of Python, and runtime install --from pip"},
			{Name: "ffmpeg", For: "frames of videos"},
		},
	}
	for _, row := range PreferredEngines() {
		e, found, err := config.Open(row)
		state := EngineState{
			Built: found.Built, Kernels: found.Kernels, Library: found.Library,
			Providers: found.Providers, Trial: CaptionTrial{Problem: found.Problem},
			Looked: found.Looked, Summary: found.Summary,
		}
		if err == nil {
			state.Trial = tryCaption(ctx, e)
			if d.Engine == "" {
				d.Engine = row.Name
			}
		}
		d.OK = d.OK || state.Trial.OK
		d.Engines[row.Name] = state
		d.Advice = append(d.Advice, found.Advice...)
	}
	if d.Engines[ort.Name].Trial.OK && lacksVNNI() {
		d.Advice = append(d.Advice, engine.Advice{
			Missing: "VNNI instructions",
			Do: saturation + ": for int8 models take --engine go, " +
				"or quantize their weights to 7 bits (reduce_range)",
		})
	}
	if !d.Model.OK {
		d.Advice = append(d.Advice, engine.Advice{
			Missing: "default model",
			Do: "build xpipe again from an unchanged checkout, " +
				"or give another bundle with --model",
		})
	}
	for i := range d.Tools {
		if path, err := exec.LookPath(d.Tools[i].Name); err == nil {
			d.Tools[i].Path = path
		}
	}
	return d
}

// Err is nil where a picture can be captioned. Otherwise it says why not, and wraps
// models.ErrBundle or engine.ErrEngine.
func (d Diagnosis) Err() error {
	switch {
	case !d.Model.OK:
		return fmt.Errorf("%w: the default model is not usable: %s",
			models.ErrBundle, d.Model.Problem)
	case !d.OK:
		problem := d.Engines[Engines[0].Name].Trial.Problem
		return fmt.Errorf("%w: no engine can caption a picture: %s", engine.ErrEngine, problem)
	}
	return nil
}

// MarshalJSON adds keys from before there was "engines", such as go_engine.
func (d Diagnosis) MarshalJSON() ([]byte, error) {
	type plain Diagnosis
	var more namedKeys
	for _, name := range namedEngines() {
		more = append(more, namedKey{name + "_engine", d.Engines[name]})
	}
	return marshalWith(plain(d), more)
}

func examineCPU() CPUInfo {
	c := CPUInfo{Name: cpuid.CPU.BrandName, Threads: runtime.GOMAXPROCS(0), Features: []string{}}
	if c.Name == "" {
		c.Name = "unknown " + runtime.GOARCH
	}
	for _, f := range []cpuid.FeatureID{
		cpuid.SSE4, cpuid.AVX, cpuid.F16C, cpuid.FMA3, cpuid.AVX2, cpuid.AVXVNNI,
		cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512VNNI, cpuid.AVX512BF16, cpuid.AVX512FP16,
		cpuid.AMXTILE, cpuid.AMXINT8, cpuid.AMXBF16,
		cpuid.ASIMD, cpuid.ASIMDDP, cpuid.FPHP, cpuid.SVE,
	} {
		if cpuid.CPU.Supports(f) {
			c.Features = append(c.Features, strings.ToLower(f.String()))
		}
	}
	return c
}

// tryCaption captions a picture with the default model.
func tryCaption(ctx context.Context, e engine.Engine) CaptionTrial {
	start := time.Now()
	err := func() error {
		p, err := Open(ctx, mini.Default, pipeline.WithEngine(e), pipeline.WithoutVerification())
		if err != nil {
			return err
		}
		defer p.Close()
		_, err = p.Caption(ctx, image.NewRGBA(image.Rect(0, 0, 64, 64)))
		return err
	}()
	if err != nil {
		return CaptionTrial{Problem: err.Error()}
	}
	return CaptionTrial{OK: true, Seconds: time.Since(start).Seconds()}
}

// examineModel reads an embedded model and compares its files with their sha256.
func examineModel(name string) ModelState {
	m := ModelState{Name: name}
	if err := m.examine(); err != nil {
		m.Problem = err.Error()
		return m
	}
	m.OK = true
	return m
}

func (m *ModelState) examine() error {
	fsys, err := mini.FS(m.Name)
	if err != nil {
		return err
	}
	err = fs.WalkDir(fsys, ".", func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			m.Files++
			m.Bytes += info.Size()
		}
		return err
	})
	if err != nil {
		return err
	}
	b, err := models.OpenFS(fsys)
	if err != nil {
		return err
	}
	m.Family = b.Family
	return b.Close()
}
