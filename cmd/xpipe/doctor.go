package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/spf13/cobra"
)

type doctorOptions struct {
	libraries libraries
	settings  []api.Setting // of variables and the configuration file
}

func newDoctorCommand(env *environment) *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Show what xpipe found on this machine, and what to do about what is missing",
		Example: `  xpipe doctor
  xpipe doctor --json
  xpipe doctor --ort-lib /opt/onnxruntime/lib/libonnxruntime.so`,
		Long: `Shows versions, the processor, what each engine found, the default model, helper
programs, and what serve would find: its address and its models. For each thing missing that a verb needs it says what to do. It
has each engine caption a picture, and exits with 0 if one of them can.

` + exitHelp,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			lines, err := env.configured(cmd.Root())
			if err != nil {
				return err
			}
			for _, l := range lines {
				problem := ""
				if err := setOf(cmd.Root(), l); err != nil {
					problem = err.Error()
				}
				if l.verb != "" {
					l.where += " [" + l.verb + "]"
				}
				o.settings = append(o.settings,
					api.Setting{Name: l.key, Value: l.value, From: l.where, Problem: problem})
			}
			return runDoctor(cmd.Context(), env, o)
		},
	}
	o.libraries.addFlags(cmd, "searched for")
	return cmd
}

func runDoctor(ctx context.Context, env *environment, o doctorOptions) error {
	d := api.Diagnose(ctx, version(), o.libraries.config(env))
	d.Config, d.Settings = env.config, o.settings
	d.Server = serverState(o.settings)
	var err error
	if env.json {
		err = env.printJSON(d)
	} else {
		err = printDiagnosis(env, d)
	}
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return d.Err()
}

func printDiagnosis(env *environment, d api.Diagnosis) error {
	var b strings.Builder
	line := func(key, format string, args ...any) {
		fmt.Fprintf(&b, "%-8s %s\n", key, api.Visible(fmt.Sprintf(format, args...)))
	}
	line("xpipe", "%s, built with %s for %s/%s", d.XPipe, d.Go, d.OS, d.Arch)
	line("cpu", "%s, %d threads; %s", d.CPU.Name, d.CPU.Threads, orDash(d.CPU.Features))
	for _, row := range api.Engines {
		state := d.Engines[row.Name]
		line(row.Name, "%s", engineLine(state))
		for _, place := range state.Looked {
			line("", "  looked at %s", place)
		}
	}
	line("auto", "--engine %s takes %s", api.AutoEngine, d.Engine)
	state := "every file has its sha256"
	if !d.Model.OK {
		state = "NOT USABLE: " + d.Model.Problem
	}
	line("model", "%s (%s), %d files, %.1f MB; %s",
		d.Model.Name, d.Model.Family, d.Model.Files, float64(d.Model.Bytes)/1e6, state)
	for _, s := range d.Settings {
		problem := ""
		if s.Problem != "" {
			problem = "; NOT USABLE: " + s.Problem
		}
		line("setting", "%s = %s, from %s%s", s.Name, s.Value, s.From, problem)
	}
	if d.Config != "" && len(d.Settings) == 0 {
		line("setting", "none in variables XPIPE_... nor in %s", d.Config)
	}
	for _, tool := range d.Tools {
		path := tool.Path
		if path == "" {
			path = "not found"
		}
		line(tool.Name, "%s (for %s)", path, tool.For)
	}
	if s := d.Server; s != nil {
		state := "free"
		if !s.Free {
			state = s.Problem
		}
		line("server", "%s: %s; %s", s.Listen, state, authWords[s.Auth])
		line("", "models: %s", orDash(s.Models))
		for _, advice := range s.Advice {
			line("", "%s", advice)
		}
	}
	for _, a := range d.Advice {
		line("to do", "%s: %s", a.Missing, a.Do)
	}
	_, err := env.stdout.Write([]byte(b.String()))
	return err
}

// engineLine describes an engine in one line.
func engineLine(e api.EngineState) string {
	var parts []string
	if e.Summary != "" {
		parts = append(parts, e.Summary)
	}
	if e.Library != nil {
		parts = append(parts, "providers "+orDash(e.Providers))
	}
	trial := "not usable: " + e.Trial.Problem
	if e.Trial.OK {
		trial = fmt.Sprintf("captioned a picture in %.2f s", e.Trial.Seconds)
	}
	return strings.Join(append(parts, trial), "; ")
}

func orDash(list []string) string {
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, ", ")
}
