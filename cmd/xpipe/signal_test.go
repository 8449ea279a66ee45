//go:build unix

package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crossattn/xpipe/api"
)

// The first signal ends a command that waits for a pipe which nobody writes to.
func TestFirstSignalEnds(t *testing.T) {
	t.Parallel()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe.jpg")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip("NOT TESTED: no pipes here: ", err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, executable, "caption", "-v", "--engine", "go", "--model",
		tinyWriter, pipe)
	cmd.Env = append(os.Environ(), runEnv+"=1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		said = append(said, lines.Text())
		if strings.HasPrefix(lines.Text(), "model:") { // the pipe is next
			cmd.Process.Signal(os.Interrupt)
		}
	}
	cmd.Wait()
	code := cmd.ProcessState.ExitCode()
	if code != api.ExitInterrupted || !strings.Contains(strings.Join(said, "\n"), "interrupt") {
		t.Errorf("exit %d: %q", code, said)
	}
}
