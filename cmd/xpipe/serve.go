package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/api/pagefiles"
	_ "github.com/crossattn/xpipe/audio/codecs"
	"github.com/crossattn/xpipe/index"
	"github.com/crossattn/xpipe/models/hub"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
	"github.com/spf13/cobra"
)

// serveAddress is where serve listens unless it is told otherwise.
const serveAddress = "127.0.0.1:8080"

type serveOptions struct {
	engineOptions
	storeOption

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
	logLevel  slog.Level
	noVerify  bool

	tokenFile  string
	noAuth     bool
	origins    []string
	hosts      []string
	allowFetch bool
	allowPull  bool
	pprof      string
	pixels     byteSize
	sound      time.Duration
	newTokens  int
	time       time.Duration

	data     string
	noStudio bool
}

func newServeCommand(env *environment) *cobra.Command {
	o := serveOptions{cache: 256 << 20, body: 64 << 20, pixels: 64_000_000}
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

A browser finds the studio at /: chats with these models and with those of other
services, kept in --data. It is there where the server listens on this machine alone
and wants no tokens; --no-studio leaves it out.

What many clients ask at once is encoded in batches, and their texts are written
together: each joins the others at any word, and is what it would be alone.

The server listens on this machine alone, unless --listen says otherwise; then
clients have to show a token of --token-file (one a line: the token, or what
"printf %s TOKEN | sha256sum" prints), or --no-auth says that anybody may ask.
Requests name pictures by data: URLs or as files; --allow-fetch has the server get
http and https URLs, from public addresses alone.

Immich's variables IMMICH_HOST, IMMICH_PORT, MACHINE_LEARNING_CACHE_FOLDER and
MACHINE_LEARNING_MODEL_TTL stand for --listen, --models and --idle that are not given.

SIGTERM or SIGINT ends the server once the requests that run are answered, or
--drain is over; a second one ends it at once.

` + exitHelp,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := env.takeImmich(cmd); err != nil {
				return err
			}
			return runServe(cmd.Context(), env, o)
		},
	}
	o.engineOptions.addFlags(cmd)
	o.storeOption.addFlag(cmd)
	f := cmd.Flags()
	f.Lookup("store").Usage = "the library that find searches, made by xpipe index (default: none)"
	f.StringVar(&o.listen, "listen", serveAddress, "address to listen at")
	f.StringArrayVarP(&o.models, "model", "m", nil,
		"a model to open at the start: a name, a folder or org/name; may be given again")
	f.StringVar(&o.dir, "models", "", "folder of models that requests may name by their folders")
	f.StringToStringVar(&o.aliases, "alias", nil, "further name of a model for clients, such as gpt-4o=blip2-mini")
	f.DurationVar(&o.idle, "idle", 5*time.Minute, "close a model that was not used for so long; negative: never")
	f.Var(&o.memory, "model-memory", "most bytes of the files of open models together, such as 8G (default: no bound)")
	f.Var(&o.cache, "cache-bytes", "most memory for encoded pictures of each model, with keys and values of cross-attention, kept for further questions")
	f.IntVar(&o.queue, "queue", 512, "most requests of one model that run or wait; others get 503")
	f.IntVar(&o.rows, "batch-rows", 64, "most texts that one model writes at once; 1: one after the other")
	f.Var(&o.body, "body-limit", "most bytes of a request")
	f.DurationVar(&o.drain, "drain", 30*time.Second, "how long requests may go on when the server is to end")
	f.Var(wordFlag{value: &o.logFormat, what: "format of the log", words: []string{"text", "json"}}, "log-format",
		"text or json (default: text)")
	f.StringVar(&o.tokenFile, "token-file", "", "file of tokens, or of their SHA-256; clients have to show one")
	f.BoolVar(&o.noAuth, "no-auth", false, "answer whoever reaches an address beyond this machine")
	f.StringArrayVar(&o.origins, "cors-origin", nil, "site whose pages may ask from a browser, https://HOST, or *; may be given again")
	f.StringArrayVar(&o.hosts, "allow-host", nil,
		"further name of this server, such as a proxy's, beside those of this machine; may be given again")
	f.BoolVar(&o.allowFetch, "allow-fetch", false, "get pictures and sounds from URLs in requests")
	f.BoolVar(&o.allowPull, "allow-pull", false, "fetch models of the hub that a request names")
	f.StringVar(&o.pprof, "pprof", "", "address for Go's profiles, such as 127.0.0.1:6060 (default: none)")
	f.Var(&o.pixels, "pixel-limit", "most pixels of a picture")
	f.DurationVar(&o.sound, "sound-limit", 2*time.Hour, "longest sound")
	f.IntVar(&o.newTokens, "token-limit", 4096, "most tokens of a text that is written")
	f.DurationVar(&o.time, "time-limit", 10*time.Minute, "longest time for one text")
	f.StringVar(&o.data, "data", "", "folder of the studio's chats and files (default: xpipe/studio in the user's data)")
	f.BoolVar(&o.noStudio, "no-studio", false, "serve no studio")
	f.TextVar(&o.logLevel, "log-level", slog.LevelInfo, "least level of what is logged: debug, info, warn or error")
	f.BoolVar(&o.noVerify, "no-verify", false, "do not compare the models' files with their sha256")
	return cmd
}

// served is how much garbage may gather beside a server's models, in percent of the memory in use:
// weights lie outside the collector's heap, so that it has little to go through.
const served = 12

func runServe(ctx context.Context, env *environment, o serveOptions) (err error) {
	env.json = env.json || o.logFormat == "json" // each line of such a log is an object
	ctx, stop := env.untilSignal(ctx)
	defer stop()
	config, err := o.config(env)
	if err != nil {
		return err
	}
	if env.alone && os.Getenv("GOGC") == "" {
		debug.SetGCPercent(served)
	}
	store, err := o.openLibrary(ctx, &config)
	if err != nil {
		return err
	}
	if store != nil {
		defer store.Close()
	}
	closeStudio, err := o.openStudio(ctx, env, &config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStudio()) }()
	s, err := server.New(config)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return api.WithKind(fmt.Errorf("--listen %s: %w", o.listen, err), api.KindUsage)
	}
	defer listener.Close()
	if err := s.Open(ctx); err != nil {
		return err
	}
	if o.pprof != "" {
		profiles, err := net.Listen("tcp", o.pprof)
		if err != nil {
			return api.WithKind(fmt.Errorf("--pprof %s: %w", o.pprof, err), api.KindUsage)
		}
		defer profiles.Close()
		go http.Serve(profiles, server.Profiles())
	}
	if at := "http://" + listener.Addr().String(); o.logFormat == "json" {
		config.Log.Info("listening", "at", at)
	} else {
		fmt.Fprintf(env.stderr, "listening at %s\n", at)
	}
	return s.Serve(ctx, listener)
}

// untilSignal returns a context that the first signal ends; the second ends the process.
func (env *environment) untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	if env.interrupts == nil {
		return ctx, func() {}
	}
	signals, stop := env.interrupts()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		select {
		case <-signals:
		case <-ctx.Done():
			return
		}
		env.warnf("ending once what runs is answered; a second signal ends at once")
		cancel()
		<-signals
		os.Exit(api.ExitInterrupted)
	}()
	return ctx, func() {
		stop()
		cancel()
	}
}

// config makes a server's configuration of the flags.
func (o *serveOptions) config(env *environment) (server.Config, error) {
	from := &slog.HandlerOptions{Level: o.logLevel}
	log := slog.New(slog.NewTextHandler(env.stderr, from))
	if o.logFormat == "json" {
		log = slog.New(slog.NewJSONHandler(env.stderr, from))
	}
	c := server.Config{
		Version: version(), Log: log, BodyBytes: int64(o.body), Drain: o.drain, Origins: o.origins,
	}
	if err := o.guard(&c); err != nil {
		return c, err
	}
	eng, err := o.engineOptions.open(env)
	if err != nil {
		return c, err
	}
	opts := []pipeline.Option{pipeline.WithEngine(eng), pipeline.WithEngineOptions(o.options())}
	if o.noVerify {
		opts = append(opts, pipeline.WithoutVerification())
	}
	for _, name := range o.models {
		if _, err := api.Find(name); err != nil {
			return c, err
		}
	}
	c.Serving = serving.Config{
		Catalog: &serving.Catalog{Named: o.models, Dir: o.dir, Aliases: o.aliases},
		Options: opts, Idle: o.idle, Memory: int64(o.memory), CacheBytes: int64(o.cache),
		Queue: o.queue, Rows: o.rows, SoundSeconds: o.sound.Seconds(), OpenDocument: pagefiles.Data,
		Limits: pipeline.Limits{ImagePixels: int(o.pixels), OutputTokens: o.newTokens, Time: o.time},
	}
	if o.allowPull {
		c.Serving.Pull = pullModel
	}
	return c, nil
}

// openLibrary opens the library that find searches; the caller closes it, where there is one.
func (o *serveOptions) openLibrary(ctx context.Context, c *server.Config) (*index.Store, error) {
	if o.storeOption.path == "" {
		return nil, nil
	}
	store, err := index.Open(ctx, o.storeOption.path)
	if err != nil {
		return nil, fmt.Errorf("--store: %w", err)
	}
	c.Serving.Library = servedLibrary{store}
	return store, nil
}

// guard sets who may ask, and what the server reaches.
func (o *serveOptions) guard(c *server.Config) error {
	host, _, err := net.SplitHostPort(o.listen)
	if err != nil {
		return api.Usagef("--listen %q is no address, HOST:PORT: %w", o.listen, err)
	}
	loopback := isLoopback(host)
	switch {
	case o.tokenFile != "" && o.noAuth:
		return api.Usagef("--token-file and --no-auth exclude each other")
	case o.tokenFile != "":
		f, err := os.Open(o.tokenFile)
		if err != nil {
			return api.WithKind(fmt.Errorf("--token-file: %w", err), api.KindUsage)
		}
		defer f.Close()
		if c.Tokens, err = server.ReadTokens(f); err != nil {
			return api.Usagef("--token-file %s: %w", o.tokenFile, err)
		}
	case !loopback && !o.noAuth:
		return api.Usagef("--listen %s is reached from beyond this machine: give --token-file FILE, "+
			"or --no-auth if anybody may ask", o.listen)
	}
	if loopback && c.Tokens == nil {
		c.Hosts = func(host string) bool {
			if name, _, err := net.SplitHostPort(host); err == nil {
				host = name
			}
			return isLoopback(strings.Trim(host, "[]")) || slices.ContainsFunc(o.hosts, func(allowed string) bool {
				return strings.EqualFold(allowed, host)
			})
		}
	}
	if o.allowFetch {
		c.Fetch = web.Fetcher(int64(o.body), time.Minute)
	}
	return nil
}

// isLoopback reports whether a host is this machine to itself.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// pullModel fetches a model for a request.
func pullModel(ctx context.Context, name string) (err error) {
	var p api.Pull
	if p.Ref, err = hub.ParseRef(name); err != nil {
		return err
	}
	if p.Settings, err = api.HubSettings(); err == nil {
		_, err = p.Do(ctx)
	}
	return err
}
