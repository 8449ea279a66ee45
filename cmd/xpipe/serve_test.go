package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/crossattn/xpipe/api"
)

// A server says where it listens, writes one object a line where its log is JSON, and ends by a signal.
func TestServe(t *testing.T) {
	t.Parallel()
	env, _, _ := testEnvironment()
	said, words := io.Pipe()
	env.stderr = words
	signals := make(chan os.Signal, 1)
	env.interrupts = func() (<-chan os.Signal, func()) { return signals, func() {} }
	done := make(chan int, 1)
	go func() {
		done <- execute(t.Context(), env, []string{"serve", "--engine", "go", "--listen", "127.0.0.1:0", "--log-format", "json"})
		words.Close()
	}()
	var messages []string
	var asked sync.WaitGroup
	for lines := bufio.NewScanner(said); lines.Scan(); {
		var line struct{ Msg, At, ID, Path, Warning string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Errorf("%s: %v", lines.Text(), err)
		}
		messages = append(messages, line.Msg+line.Warning)
		switch {
		case line.Msg == "listening":
			asked.Go(func() {
				q, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, line.At+"/readyz", nil)
				q.Header.Set("X-Request-Id", "mine")
				if answer, err := http.DefaultClient.Do(q); err != nil || answer.StatusCode != http.StatusOK {
					t.Errorf("%v, %v", answer, err)
				}
			})
		case line.Msg == "request":
			if line.ID != "mine" || line.Path != "/readyz" {
				t.Errorf("logged %+v", line)
			}
			signals <- os.Interrupt
		}
	}
	asked.Wait()
	if code := <-done; code != api.ExitOK || len(messages) != 3 || !strings.HasPrefix(messages[2], "ending") {
		t.Errorf("exit %d, %q", code, messages)
	}
}

func TestServeRefuses(t *testing.T) {
	t.Parallel()
	for args, says := range map[string]string{
		"--listen 0.0.0.0:0":                      "--token-file FILE, or --no-auth",
		"--listen :0":                             "--token-file FILE, or --no-auth",
		"--listen nowhere":                        "no address",
		"--listen 0.0.0.0:0 --token-file none":    "none",
		"--token-file none --no-auth":             "exclude each other",
		"--token-file ../../testdata/images/none": "none",
		"--model nowhe":                           "nowhe",
		"--log-format yaml":                       "yaml",
		"--pprof nowhere":                         "nowhere",
	} {
		code, _, stderr := xpipe(t, "", append([]string{"serve", "--engine", "go", "--listen", "127.0.0.1:0"}, strings.Fields(args)...)...)
		if code == api.ExitOK || !strings.Contains(stderr, says) {
			t.Errorf("%s: exit %d, %s", args, code, stderr)
		}
	}
}
