package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/engine"
	"github.com/spf13/cobra"
)

// probeTimeout bounds the time to load a library, which may lie on a slow disk.
var probeTimeout = 30 * time.Second

// tryLibrary has a child load an engine's library before this process does, since a library that
// crashes while it starts takes its process with it. A library that has passed is not tried again
// until its file changes.
func (env *environment) tryLibrary(row engine.Row, path string) error {
	if env.executable == "" {
		return nil
	}
	known := loadProbed()
	now, err := statProbed(path)
	if err == nil && known[path] == now {
		return nil
	}
	if loaded, err := probeLibrary(env.executable, row.Name, path); !loaded {
		return err
	}
	known[path] = now
	known.save() // where that fails, the next run tries the library again
	return nil
}

// probeLibrary starts this program once more to load an engine's library. A library that the child
// refuses without a crash gives no error: this process can safely refuse it, too.
func probeLibrary(executable, engineName, path string) (loaded bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, executable, "runtime", "probe", engineName, path)
	cmd.WaitDelay = time.Second
	var stderr strings.Builder
	cmd.Stderr = &stderr
	err = cmd.Run()
	exit, ran := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return false, fmt.Errorf("%s does not come back from being loaded within %v",
			path, probeTimeout)
	case !ran:
		return false, fmt.Errorf("%s cannot be tried: %w", path, err)
	case exit.ExitCode() == api.ExitEngine:
		return false, nil
	}
	return false, fmt.Errorf("%s crashed when it was loaded (%s)",
		path, crash(exit, stderr.String()))
}

// crash says what ended the child: the signal, as Go prints it, or else the exit status.
func crash(exit *exec.ExitError, stderr string) string {
	for line := range strings.Lines(stderr) {
		for _, prefix := range []string{"SIG", "[signal ", "signal "} {
			if strings.HasPrefix(line, prefix) {
				return strings.Trim(strings.TrimSpace(line), "[]")
			}
		}
	}
	return exit.String()
}

func newRuntimeProbeCommand(*environment) *cobra.Command {
	return &cobra.Command{
		Use:   "probe ENGINE LIBRARY",
		Short: "Load an engine's library, and end with 5 where it cannot be used",
		Long: `Loads a library, which xpipe does in a process of its own before it loads one
that is new to it.

` + exitHelp,
		Hidden: true,
		Args:   usageArgs(cobra.ExactArgs(2)),
		RunE: func(_ *cobra.Command, args []string) error {
			row, err := api.FindEngine(args[0])
			if err != nil {
				return err
			}
			_, _, err = row.Open(engine.Config{Library: args[1]})
			return err
		},
	}
}

// probed are the libraries that a child has loaded, by path.
type probed map[string]probedFile

type probedFile struct {
	Size    int64 `json:"size"`
	Changed int64 `json:"changed"` // nanoseconds since 1970
}

func statProbed(path string) (probedFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return probedFile{}, err
	}
	return probedFile{info.Size(), info.ModTime().UnixNano()}, nil
}

func probedFileName() (string, error) {
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "xpipe", "probed.json"), err
}

// loadProbed is empty where the file is missing or damaged.
func loadProbed() probed {
	known := probed{}
	if name, err := probedFileName(); err == nil {
		if data, err := os.ReadFile(name); err == nil && json.Unmarshal(data, &known) != nil {
			known = probed{}
		}
	}
	return known
}

// save replaces the file in one step, without the libraries that are gone.
func (p probed) save() error {
	name, err := probedFileName()
	if err != nil {
		return err
	}
	for path := range p {
		if _, err := os.Stat(path); err != nil {
			delete(p, path)
		}
	}
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), "probed-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
