package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/crossattn/xpipe/api"
	_ "github.com/crossattn/xpipe/audio/codecs"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/spf13/cobra"
)

type serveOptions struct {
	engineOptions

	listen    string
	models    []string
	dir       string
	aliases   map[string]string
	idle      time.Duration
	memory    byteSize
	cache     byteSize
	queue     int
	rows      int
	body      byteSize
	drain     time.Duration
	logFormat string
	noVerify  bool
}

func newServeCommand(env *environment) *cobra.Command {
	o := serveOptions{cache: 256 << 20, body: 64 << 20}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Answer over HTTP, in the dialects that programs speak",
		Example: `  xpipe serve
  xpipe serve --model ~/models/blip2 --listen 127.0.0.1:9000
  xpipe serve --models ~/models --model-memory 8G --alias gpt-4o=blip2-mini`,
		Long: `Serves the embedded models, those that --model names, those in the folders of
--models and those in the hub's cache, each opened when a request first names it.
Models named by --model are opened at the start, and do the tasks of requests that
name none. Clients see a folder's last part as its name, and no path of this machine.

What many clients ask at once is encoded in batches, and their texts are written
together: each joins the others at any word, and is what it would be alone.

SIGTERM or SIGINT ends the server once the requests that run are answered, or
--drain is over; a second one ends it at once.

` + exitHelp,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, args []string) error { return runServe(cmd.Context(), env, o) },
	}
	o.engineOptions.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", "127.0.0.1:8080", "address to listen at")
	f.StringArrayVarP(&o.models, "model", "m", nil,
		"a model to open at the start: a name, a folder or org/name; may be given again")
	f.StringVar(&o.dir, "models", "", "folder of models that requests may name by their folders")
	f.StringToStringVar(&o.aliases, "alias", nil, "further name of a model for clients, such as gpt-4o=blip2-mini")
	f.DurationVar(&o.idle, "idle", 5*time.Minute, "close a model that was not used for so long; negative: never")
	f.Var(&o.memory, "model-memory", "most bytes of the files of open models together, such as 8G (default: no bound)")
	f.Var(&o.cache, "cache-bytes", "most memory for encoded pictures of each model, kept for further questions")
	f.IntVar(&o.queue, "queue", 512, "most requests of one model that run or wait; others get 503")
	f.IntVar(&o.rows, "batch-rows", 64, "most texts that one model writes at once; 1: one after the other")
	f.Var(&o.body, "body-limit", "most bytes of a request")
	f.DurationVar(&o.drain, "drain", 30*time.Second, "how long requests may go on when the server is to end")
	f.Var(wordFlag{value: &o.logFormat, what: "format of the log", words: []string{"text", "json"}}, "log-format",
		"text or json (default: text)")
	f.BoolVar(&o.noVerify, "no-verify", false, "do not compare the models' files with their sha256")
	return cmd
}

func runServe(ctx context.Context, env *environment, o serveOptions) error {
	if env.interrupts != nil {
		signals, stop := env.interrupts()
		defer stop()
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(context.WithoutCancel(ctx))
		go func() {
			<-signals
			env.warnf("ending; a second signal ends at once")
			cancel()
			<-signals
			os.Exit(api.ExitInterrupted)
		}()
	}
	eng, err := o.engineOptions.open(env)
	if err != nil {
		return err
	}
	opts := []pipeline.Option{pipeline.WithEngine(eng), pipeline.WithEngineOptions(o.options())}
	if o.noVerify {
		opts = append(opts, pipeline.WithoutVerification())
	}
	log := slog.New(slog.NewTextHandler(env.stderr, nil))
	if o.logFormat == "json" {
		log = slog.New(slog.NewJSONHandler(env.stderr, nil))
	}
	s, err := server.New(server.Config{
		Serving: serving.Config{
			Catalog: &serving.Catalog{Named: o.models, Dir: o.dir, Aliases: o.aliases},
			Options: opts, Idle: o.idle, Memory: int64(o.memory), CacheBytes: int64(o.cache),
			Queue: o.queue, Rows: o.rows,
		},
		Log: log, BodyBytes: int64(o.body), Drain: o.drain,
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return api.WithKind(fmt.Errorf("--listen %s: %w", o.listen, err), api.KindUsage)
	}
	if err := s.Open(ctx); err != nil {
		listener.Close()
		return err
	}
	fmt.Fprintf(env.stderr, "listening at http://%s\n", listener.Addr())
	return s.Serve(ctx, listener)
}
