// Command xpipe captions pictures, answers questions about them, and shows what the models and
// engines under it do. One file holds one verb; what the verbs share is in root.go (flags of all),
// model.go and engines.go (flags of models and engines), input.go, output.go and exit.go. No verb
// holds logic that a Go program would want: that is in packages pipeline and api.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	env := &environment{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	env.executable, _ = os.Executable() // without it, libraries are not tried beforehand
	code := execute(ctx, env, os.Args[1:])
	stop()
	os.Exit(code)
}
