package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/spf13/cobra"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/server"
	"github.com/crossattn/xpipe/server/mcp"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

type mcpOptions struct {
	serveOptions
	allow []string
}

func newMCPCommand(env *environment) *cobra.Command {
	o := mcpOptions{serveOptions: serveOptions{
		idle: 5 * time.Minute, cache: 256 << 20, body: 64 << 20, pixels: 64_000_000, sound: 2 * time.Hour,
		newTokens: 4096, time: 10 * time.Minute, logLevel: slog.LevelWarn,
	}}
	cmd := &cobra.Command{
		Use:   "mcp",
		Short: "Offer captions, answers and transcripts as tools to assistants",
		Example: `  xpipe mcp --allow ~/photos
  xpipe mcp --allow ~/photos --allow ~/recordings --model ~/models/blip2
  xpipe mcp --allow ~/photos --listen 127.0.0.1:8081`,
		Long: `Speaks the Model Context Protocol on standard input and output, as assistants start
their tools, or with --listen over HTTP, at http://ADDRESS` + mcp.Path + `. There are the tools files,
caption, ask, match, classify, read and transcribe, and find where there is a library
that xpipe index made: its hits are of the folders below alone. An assistant's
configuration has, for example, "command": "xpipe", "args": ["mcp", "--allow",
"/home/me/photos"].

Tools read the pictures and sounds of the folders that --allow names, and of those
below, and nothing else: no link leads out of them. Without --allow they read no
file. Nothing is written, and nothing is fetched.

With --listen clients beyond this machine have to show a token of --token-file, as
those of serve, unless --no-auth says that anybody may ask.

` + exitHelp,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return runMCP(cmd.Context(), env, o) },
	}
	o.engineOptions.addFlags(cmd)
	o.storeOption.addFlag(cmd)
	f := cmd.Flags()
	f.Lookup("store").Usage = "the library that find searches, made by xpipe index (default: the user's own, if there is one)"
	f.StringArrayVar(&o.allow, "allow", nil, "folder whose pictures and sounds may be read; may be given again")
	f.StringVar(&o.listen, "listen", "", "address to listen at (default: standard input and output)")
	f.StringArrayVarP(&o.models, "model", "m", nil,
		"a model beside the embedded ones: a name, a folder or org/name; may be given again")
	f.StringVar(&o.dir, "models", "", "folder of models that tools may name by their folders")
	f.DurationVar(&o.idle, "idle", o.idle, "close a model that was not used for so long; negative: never")
	f.StringVar(&o.tokenFile, "token-file", "", "file of tokens, or of their SHA-256; clients have to show one")
	f.BoolVar(&o.noAuth, "no-auth", false, "answer whoever reaches an address beyond this machine")
	return cmd
}

func runMCP(ctx context.Context, env *environment, o mcpOptions) error {
	ctx, stop := env.untilSignal(ctx)
	defer stop()
	over := o.listen
	if over == "" {
		if o.tokenFile != "" || o.noAuth {
			return api.Usagef("--token-file and --no-auth have no effect without --listen")
		}
		o.listen = "127.0.0.1:0" // which nothing listens at
	}
	config, err := o.config(env)
	if err != nil {
		return err
	}
	if o.storeOption.path == "" {
		// A user's own library is searched where there is one: hits are among the files allowed alone.
		if path, err := o.file(env); err == nil && isThere(path) {
			o.storeOption.path = path
		}
	}
	store, err := o.openLibrary(ctx, &config)
	if err != nil {
		return err
	}
	if store != nil {
		defer store.Close()
	}
	files, err := mcp.OpenFiles(int64(o.body), o.allow...)
	if err != nil {
		return api.WithKind(fmt.Errorf("--allow: %w", err), api.KindUsage)
	}
	defer files.Close()
	if len(o.allow) == 0 {
		env.warnf("no file may be read: --allow FOLDER allows the pictures and sounds of a folder")
	}
	tools := &mcp.Tools{Files: files, Version: version()}
	config.Routes = func(s *serving.Service) []web.Route {
		tools.Service = s
		return tools.Routes()
	}
	s, err := server.New(config)
	if err != nil {
		return err
	}
	if over == "" {
		defer s.Service.Close()
		err := tools.Server().Run(ctx, &sdk.IOTransport{Reader: io.NopCloser(env.stdin), Writer: unclosed{env.stdout}})
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return api.WithKind(fmt.Errorf("--listen %s: %w", o.listen, err), api.KindUsage)
	}
	defer listener.Close()
	fmt.Fprintf(env.stderr, "listening at http://%s%s\n", listener.Addr(), mcp.Path)
	return s.Serve(ctx, listener)
}

// isThere reports whether there is a file.
func isThere(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// unclosed is a writer that others close.
type unclosed struct{ io.Writer }

func (unclosed) Close() error { return nil }
