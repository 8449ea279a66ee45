package main

import (
	"context"
	"fmt"
	"image"
	"io/fs"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/klauspost/cpuid/v2"
	"github.com/spf13/cobra"
)

type doctorOptions struct {
	libraries libraries
}

// doctorReport is what doctor --json prints.
type doctorReport struct {
	XPipe   string                  `json:"xpipe"`
	Go      string                  `json:"go"`
	OS      string                  `json:"os"`
	Arch    string                  `json:"arch"`
	CPU     cpuReport               `json:"cpu"`
	Engine  string                  `json:"engine"`  // that "auto" takes
	Engines map[string]engineReport `json:"engines"` // all, by name
	Model   modelReport             `json:"model"`
	Tools   []toolReport            `json:"tools"`
	Advice  []engine.Advice         `json:"advice"`
	OK      bool                    `json:"ok"` // a picture can be captioned
}

type cpuReport struct {
	Name     string   `json:"name"`
	Threads  int      `json:"threads"`  // that Go uses
	Features []string `json:"features"` // that matter to the engines
}

// engineReport says what an engine found: see engine.Description.
type engineReport struct {
	Built     bool            `json:"built"`   // into this program
	Kernels   []string        `json:"kernels"` // features that its assembly needs; null without any
	Library   *engine.Library `json:"library,omitempty"`
	Providers []string        `json:"providers,omitempty"`
	Trial     trialReport     `json:"trial"`
	Looked    []string        `json:"looked,omitempty"` // where a search came to nothing, and why

	summary string
}

// MarshalJSON adds the keys that were there before "engines", such as go_engine.
func (r doctorReport) MarshalJSON() ([]byte, error) {
	type plain doctorReport
	var more namedKeys
	for _, name := range namedEngines() {
		more = append(more, namedKey{name + "_engine", r.Engines[name]})
	}
	return marshalWith(plain(r), more)
}

// trialReport says how captioning a picture with the default model went.
type trialReport struct {
	OK      bool    `json:"ok"`
	Seconds float64 `json:"seconds"` // opening the model included
	Problem string  `json:"problem,omitempty"`
}

type modelReport struct {
	Name    string        `json:"name"`
	Family  models.Family `json:"family,omitempty"`
	Files   int           `json:"files"`
	Bytes   int64         `json:"bytes"`
	OK      bool          `json:"ok"` // every file has its sha256
	Problem string        `json:"problem,omitempty"`
}

type toolReport struct {
	Name string `json:"name"`
	For  string `json:"for"`
	Path string `json:"path,omitempty"` // "" if it is not there
}

func newDoctorCommand(env *environment) *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Show what xpipe found on this machine, and what to do about what is missing",
		Long: `Shows versions, the processor, what each engine found, the default model, and
helpers that some inputs need. For each thing missing it says what to do. It
has each engine caption a picture, and exits with 0 if one of them can.

` + exitHelp,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDoctor(cmd.Context(), env, o)
		},
	}
	o.libraries.addFlags(cmd, "searched for")
	return cmd
}

func runDoctor(ctx context.Context, env *environment, o doctorOptions) error {
	r := examine(ctx, env, o)
	print := r.print
	if env.json {
		print = func(env *environment) error { return env.printJSON(r) }
	}
	if err := print(env); err != nil {
		return err
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !r.Model.OK:
		return fmt.Errorf("%w: the default model is not usable: %s", models.ErrBundle, r.Model.Problem)
	case !r.OK:
		problem := r.Engines[api.Engines[0].Name].Trial.Problem
		return fmt.Errorf("%w: no engine can caption a picture: %s", engine.ErrEngine, problem)
	}
	return nil
}

// examine gathers the report. Each engine has to caption a picture.
func examine(ctx context.Context, env *environment, o doctorOptions) doctorReport {
	r := doctorReport{
		XPipe: version(), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH,
		CPU: examineCPU(), Model: examineModel(mini.Default), Engines: map[string]engineReport{},
		Tools: []toolReport{
			{Name: "python3", For: "the onnxruntime package of Python, and runtime install --from pip"},
			{Name: "ffmpeg", For: "frames of videos"},
		},
	}
	advise := func(missing, do string) {
		r.Advice = append(r.Advice, engine.Advice{Missing: missing, Do: do})
	}
	for _, row := range api.PreferredEngines() {
		e, found, err := o.libraries.config(env).Open(row)
		report := engineReport{
			Built: found.Built, Kernels: found.Kernels, Library: found.Library, Providers: found.Providers,
			Trial: trialReport{Problem: found.Problem}, Looked: found.Looked, summary: found.Summary,
		}
		if err == nil {
			report.Trial = try(ctx, e)
			if r.Engine == "" {
				r.Engine = row.Name
			}
		}
		r.OK = r.OK || report.Trial.OK
		r.Engines[row.Name] = report
		r.Advice = append(r.Advice, found.Advice...)
	}
	if !r.Model.OK {
		advise("default model", "build xpipe again from an unchanged checkout, or give another bundle with --model")
	}
	for i := range r.Tools {
		tool := &r.Tools[i]
		if path, err := exec.LookPath(tool.Name); err == nil {
			tool.Path = path
		} else if tool.Name == "ffmpeg" {
			advise(tool.Name, "install it and put it on PATH if you want "+tool.For)
		}
	}
	return r
}

func examineCPU() cpuReport {
	r := cpuReport{Name: cpuid.CPU.BrandName, Threads: runtime.GOMAXPROCS(0), Features: []string{}}
	if r.Name == "" {
		r.Name = "unknown " + runtime.GOARCH
	}
	for _, f := range []cpuid.FeatureID{
		cpuid.SSE4, cpuid.AVX, cpuid.F16C, cpuid.FMA3, cpuid.AVX2, cpuid.AVXVNNI,
		cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512VNNI, cpuid.AVX512BF16, cpuid.AVX512FP16,
		cpuid.AMXTILE, cpuid.AMXINT8, cpuid.AMXBF16, cpuid.ASIMD, cpuid.ASIMDDP, cpuid.FPHP, cpuid.SVE,
	} {
		if cpuid.CPU.Supports(f) {
			r.Features = append(r.Features, strings.ToLower(f.String()))
		}
	}
	return r
}

// try captions a picture with the default model.
func try(ctx context.Context, e engine.Engine) trialReport {
	start := time.Now()
	err := func() error {
		fsys, err := mini.FS(mini.Default)
		if err != nil {
			return err
		}
		p, err := pipeline.OpenFS(ctx, fsys, pipeline.WithEngine(e), pipeline.WithoutVerification())
		if err != nil {
			return err
		}
		defer p.Close()
		_, err = p.Caption(ctx, image.NewRGBA(image.Rect(0, 0, 64, 64)))
		return err
	}()
	if err != nil {
		return trialReport{Problem: err.Error()}
	}
	return trialReport{OK: true, Seconds: time.Since(start).Seconds()}
}

// examineModel reads an embedded model and compares its files with their sha256.
func examineModel(name string) modelReport {
	r := modelReport{Name: name}
	fsys, err := mini.FS(name)
	if err == nil {
		err = fs.WalkDir(fsys, ".", func(_ string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err == nil {
				r.Files++
				r.Bytes += info.Size()
			}
			return err
		})
	}
	if err == nil {
		var b *models.Bundle
		if b, err = models.OpenFS(fsys); err == nil {
			r.Family = b.Family
			err = b.Close()
		}
	}
	if r.OK = err == nil; !r.OK {
		r.Problem = err.Error()
	}
	return r
}

// print writes the report for people.
func (r doctorReport) print(env *environment) error {
	var b strings.Builder
	line := func(key, format string, args ...any) {
		fmt.Fprintf(&b, "%-8s "+format+"\n", append([]any{key}, args...)...)
	}
	line("xpipe", "%s, built with %s for %s/%s", r.XPipe, r.Go, r.OS, r.Arch)
	line("cpu", "%s, %d threads; %s", r.CPU.Name, r.CPU.Threads, orDash(r.CPU.Features))
	for _, row := range api.Engines {
		report := r.Engines[row.Name]
		line(row.Name, "%v", report)
		for _, place := range report.Looked {
			line("", "  looked at %s", place)
		}
	}
	line("auto", "--engine %s takes %s", api.AutoEngine, r.Engine)
	state := "every file has its sha256"
	if !r.Model.OK {
		state = "NOT USABLE: " + r.Model.Problem
	}
	line("model", "%s (%s), %d files, %.1f MB; %s",
		r.Model.Name, r.Model.Family, r.Model.Files, float64(r.Model.Bytes)/1e6, state)
	for _, tool := range r.Tools {
		path := tool.Path
		if path == "" {
			path = "not found"
		}
		line(tool.Name, "%s (for %s)", path, tool.For)
	}
	for _, a := range r.Advice {
		line("to do", "%s: %s", a.Missing, a.Do)
	}
	_, err := env.stdout.Write([]byte(b.String()))
	return err
}

// String is a line about an engine.
func (r engineReport) String() string {
	var parts []string
	if r.summary != "" {
		parts = append(parts, r.summary)
	}
	if r.Library != nil {
		parts = append(parts, "providers "+orDash(r.Providers))
	}
	return strings.Join(append(parts, r.Trial.String()), "; ")
}

// String completes a line about an engine.
func (t trialReport) String() string {
	if !t.OK {
		return "not usable: " + t.Problem
	}
	return fmt.Sprintf("captioned a picture in %.2f s", t.Seconds)
}

func orDash(list []string) string {
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, ", ")
}
