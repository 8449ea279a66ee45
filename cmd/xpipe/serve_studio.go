package main

import (
	"context"
	"fmt"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/server"
	"github.com/crossattn/xpipe/server/serving"
	fetch "github.com/crossattn/xpipe/server/web"
	"github.com/crossattn/xpipe/studio/web"
)

// openStudio gives a server its page, and returns what closes the page's store. The studio is for one person on
// this machine: a server that others reach, or that wants tokens, has none.
func (o *serveOptions) openStudio(ctx context.Context, env *environment, c *server.Config) (closeStore func() error, err error) {
	none := func() error { return nil }
	switch {
	case o.noStudio && o.data != "":
		return nil, api.Usagef("--no-studio and --data exclude each other")
	case o.noStudio:
		return none, nil
	case c.Hosts == nil && o.data != "":
		return nil, api.Usagef("the studio is served to this machine alone, without tokens: --data wants a loopback address at --listen")
	case c.Hosts == nil:
		return none, nil
	}
	folder := dataOption{o.data}
	kept, err := folder.open(ctx, env, false)
	if err != nil && o.data == "" { // who asked for a server and no studio has one
		env.warnf("serving without the studio: %s", api.OneLine(err))
		return none, nil
	}
	if err != nil {
		return nil, api.WithKind(fmt.Errorf("--data %s: %w", o.data, err), api.KindUsage)
	}
	c.Page = func(s *serving.Service) (server.Page, error) {
		return web.New(web.Config{
			Store: kept, Serving: s, Log: c.Log, FileBytes: int64(o.body), Fetch: fetch.Fetcher(int64(o.body), time.Minute),
		})
	}
	return kept.Close, nil
}
