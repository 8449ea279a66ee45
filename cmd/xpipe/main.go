// Command xpipe captions pictures, answers questions about them, writes down what is said in sounds,
// and shows what the models and engines under it do. One file holds one verb; what a verb prints at
// length stands beside it, as bench_report.go beside bench.go. What verbs share is in root.go (flags
// of all), model.go, engines.go and generation.go (flags of models, engines and decoding), help.go and
// man.go (what help says), arguments.go and words.go (what is wrong with a command line, and what words
// mean), config.go (settings of the user), probe.go (trying libraries), input.go, output.go and exit.go.
// Logic that a Go program would want is in packages pipeline and api.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/crossattn/xpipe/api"
	_ "github.com/crossattn/xpipe/vision/avif" // the command reads AVIF and HEIC pictures, too
	_ "github.com/crossattn/xpipe/vision/heic"
)

// unwinding is how long after a signal a command may take to end by itself. What cannot be
// interrupted, such as opening a pipe that nobody writes to or a file on a network that is gone, is
// left where it stands; results files are whole at any time.
const unwinding = 3 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	env := &environment{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		alone: true, getenv: os.Getenv, environ: os.Environ(), config: userConfig(),
	}
	disarm := context.AfterFunc(ctx, func() {
		stop() // a second signal ends the process at once
		time.Sleep(unwinding)
		env.report(context.Cause(ctx))
		os.Exit(api.KindOf(context.Cause(ctx)).Exit)
	})
	env.interrupts = func() (<-chan os.Signal, func()) {
		signals := make(chan os.Signal, 2)
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
		disarm() // from here on a signal is the verb's
		return signals, func() { signal.Stop(signals) }
	}
	env.executable, _ = os.Executable() // without it, libraries are not tried beforehand
	code := execute(ctx, env, os.Args[1:])
	stop()
	os.Exit(code)
}
