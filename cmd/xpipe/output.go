package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/pipeline"
	"golang.org/x/term"
)

// verbosef tells how things are done; users see it with -v.
func (env *environment) verbosef(format string, args ...any) {
	if env.verbose {
		fmt.Fprintln(env.stderr, api.Visible(fmt.Sprintf(format, args...)))
	}
}

// noteEngine tells what an engine does otherwise than usual; users see it with -v.
func (env *environment) noteEngine(line string) { env.verbosef("engine: %s", line) }

// verboseUnusable tells that a verb over all engines goes on without one.
func (env *environment) verboseUnusable(row engine.Row, err error) {
	env.verbosef("engine: without %s, because %s is not usable (%v)", row.Name, row.About, err)
}

// millis is a duration in milliseconds.
func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// verboseStats tells where the time went.
func (env *environment) verboseStats(name string, t *pipeline.Text) {
	s := t.Stats
	env.verbosef("%s: preprocess %.1f ms, encode %.1f ms, first token after %.1f ms, "+
		"%d tokens in %.1f ms (%.0f tokens/s)",
		name, millis(s.Preprocess), millis(s.Encode), millis(s.FirstToken),
		s.Tokens, millis(s.Generate), float64(s.Tokens)/s.Generate.Seconds())
}

// warnf tells on stderr what the user should know though all goes on.
func (env *environment) warnf(format string, args ...any) {
	message := api.OneLine(fmt.Errorf(format, args...))
	if env.json {
		json.NewEncoder(env.stderr).Encode(api.Warning{Warning: message})
		return
	}
	fmt.Fprintln(env.stderr, "xpipe: warning: "+message)
}

// report writes err to stderr: one line, or with --json one object.
func (env *environment) report(err error) {
	if env.json {
		json.NewEncoder(env.stderr).Encode(api.NewError(err))
		return
	}
	fmt.Fprintln(env.stderr, "xpipe: "+api.OneLine(err))
	var bug interface{ Stack() []byte }
	if env.verbose && errors.As(err, &bug) {
		env.stderr.Write(bug.Stack())
	}
}

// printJSON writes v as one line of JSON on stdout.
func (env *environment) printJSON(v any) error { return api.WriteJSON(env.stdout, v) }

// printStream writes tokens as they come, and ends the line.
func (env *environment) printStream(tokens iter.Seq2[pipeline.Token, error]) error {
	started := false
	for t, err := range tokens {
		if err != nil {
			if started {
				fmt.Fprintln(env.stdout)
			}
			return err
		}
		text := t.Text
		if !started {
			text = strings.TrimLeft(text, " ")
			started = text != ""
		}
		if _, err := io.WriteString(env.stdout, api.Printable(text)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(env.stdout)
	return err
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// terminalWidth is how many characters a line has; 80 where that is not known.
func terminalWidth(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return 80
}

// writeFile writes a file, and where write fails removes one that it made. A file that was there
// before stays, since it may be a device or a link.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	made := err == nil
	if errors.Is(err, fs.ErrExist) {
		f, err = os.Create(path)
	}
	if err != nil {
		return err
	}
	err = write(f)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil && made {
		os.Remove(path)
	}
	return err
}
