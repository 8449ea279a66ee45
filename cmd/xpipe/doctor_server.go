package main

import (
	"net"
	"os"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/server"
	"github.com/crossattn/xpipe/server/serving"
)

// authWords say who might ask a server.
var authWords = map[string]string{
	"loopback": "programs of this machine may ask",
	"token":    "whoever has a token may ask",
	"anybody":  "anybody who reaches it may ask",
	"refused":  "it would not start",
}

// serverState says what serve would find, with the values that variables and the configuration file set.
func serverState(settings []api.Setting) *api.ServerState {
	s := &api.ServerState{Listen: serveAddress, Advice: []string{}}
	var catalog serving.Catalog
	var tokens string
	noAuth := false
	for _, set := range settings {
		switch set.Name {
		case "listen":
			s.Listen = set.Value
		case "models":
			s.Dir, catalog.Dir = set.Value, set.Value
		case "token-file":
			tokens = set.Value
		case "no-auth":
			noAuth = set.Value == "true"
		}
	}
	advise := func(text string) { s.Advice = append(s.Advice, text) }
	s.Models = catalog.Names()
	if s.Dir != "" {
		if info, err := os.Stat(s.Dir); err != nil || !info.IsDir() {
			advise("--models " + s.Dir + " is no folder")
		}
	}
	host, _, err := net.SplitHostPort(s.Listen)
	if err == nil {
		var l net.Listener
		if l, err = net.Listen("tcp", s.Listen); err == nil {
			l.Close()
		}
	}
	if s.Free = err == nil; !s.Free {
		s.Problem = err.Error()
		advise("give another address: xpipe serve --listen 127.0.0.1:9000; port 0 takes any that is free")
	}
	switch {
	case tokens != "":
		s.Auth = "token"
		if problem := checkTokens(tokens); problem != "" {
			s.Auth = "refused"
			advise("--token-file " + tokens + ": " + problem)
		}
	case isLoopback(host):
		s.Auth = "loopback"
		advise("to answer other machines: --listen 0.0.0.0:8080 --token-file FILE, a token of 8 characters or more a line, behind a proxy with TLS")
	case noAuth:
		s.Auth = "anybody"
		advise("--no-auth at " + s.Listen + " lets anybody who reaches it ask; --token-file FILE would not")
	default:
		s.Auth = "refused"
		advise("--listen " + s.Listen + " is reached from beyond this machine: set token-file, or no-auth if anybody may ask")
	}
	return s
}

// checkTokens says what is wrong with a file of tokens; "" stands for nothing.
func checkTokens(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if _, err := server.ReadTokens(f); err != nil {
		return err.Error()
	}
	return ""
}
