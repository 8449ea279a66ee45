package main

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/crossattn/xpipe/api"
)

// pictures is a folder of them.
const pictures = "../../testdata/images"

// captionBy captions a picture through a client of the protocol.
func captionBy(t *testing.T, over sdk.Transport) {
	t.Helper()
	c, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), over, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, err := c.CallTool(t.Context(), &sdk.CallToolParams{Name: "caption", Arguments: map[string]any{"image": "apple.png"}})
	if err != nil || r.IsError || r.Content[0].(*sdk.TextContent).Text != "red apple" {
		t.Errorf("%v, %+v", err, r)
	}
}

// An assistant talks to the command on its standard input and output, and ends it by closing them.
func TestMCP(t *testing.T) {
	t.Parallel()
	in, mine := io.Pipe()
	its, out := io.Pipe()
	env, _, errs := testEnvironment()
	env.stdin, env.stdout = in, out
	done := make(chan int)
	go func() {
		done <- execute(t.Context(), env, []string{"mcp", "--engine", "go", "--allow", pictures})
	}()
	captionBy(t, &sdk.IOTransport{Reader: its, Writer: mine})
	mine.Close()
	if code := <-done; code != api.ExitOK {
		t.Errorf("exit %d, %s", code, errs.String())
	}
}

// Over HTTP it ends by a signal.
func TestMCPListens(t *testing.T) {
	t.Parallel()
	env, _, _ := testEnvironment()
	said, words := io.Pipe()
	env.stderr = words
	signals := make(chan os.Signal, 1)
	env.interrupts = func() (<-chan os.Signal, func()) { return signals, func() {} }
	done := make(chan int)
	go func() {
		done <- execute(t.Context(), env, []string{"mcp", "--engine", "go", "--allow", pictures, "--listen", "127.0.0.1:0"})
	}()
	line := make([]byte, 200)
	n, err := said.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, said)
	at := regexp.MustCompile(`http://\S+/mcp`).FindString(string(line[:n]))
	captionBy(t, &sdk.StreamableClientTransport{Endpoint: at, HTTPClient: http.DefaultClient, DisableStandaloneSSE: true})
	signals <- os.Interrupt
	if code := <-done; code != api.ExitOK {
		t.Errorf("exit %d", code)
	}
}

func TestMCPRefuses(t *testing.T) {
	t.Parallel()
	for args, says := range map[string]string{
		"--allow none":            "--allow",
		"--token-file x":          "without --listen",
		"--listen 0.0.0.0:0":      "--token-file",
		"--listen nowhere":        "no address",
		"--allow . --model nowhe": "nowhe",
	} {
		code, _, stderr := xpipe(t, "", append([]string{"mcp", "--engine", "go"}, strings.Fields(args)...)...)
		if code == api.ExitOK || !strings.Contains(stderr, says) {
			t.Errorf("%s: exit %d, %s", args, code, stderr)
		}
	}
}
