package main

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
)

// What serve would find follows the settings.
func TestServerState(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "tokens"), filepath.Join(dir, "short")
	for path, text := range map[string]string{good: strings.Repeat("t", 32) + "\n", bad: "\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		settings map[string]string
		free     bool
		auth     string
		advice   string
	}{
		{map[string]string{"listen": "127.0.0.1:0"}, true, "loopback", "--token-file"},
		{map[string]string{"listen": taken.Addr().String()}, false, "loopback", "another address"},
		{map[string]string{"listen": "0.0.0.0:0"}, true, "refused", "token-file"},
		{map[string]string{"listen": "0.0.0.0:0", "no-auth": "true"}, true, "anybody", "anybody"},
		{map[string]string{"listen": "0.0.0.0:0", "token-file": good}, true, "token", ""},
		{map[string]string{"listen": "0.0.0.0:0", "token-file": bad}, true, "refused", "--token-file"},
		{map[string]string{"listen": "nowhere"}, false, "refused", "another address"},
		{map[string]string{"listen": "127.0.0.1:0", "models": filepath.Join(dir, "none")}, true, "loopback", "no folder"},
		{map[string]string{"listen": "127.0.0.1:0", "models": "../../testdata/layouts"}, true, "loopback", ""},
	} {
		var settings []api.Setting
		for name, value := range test.settings {
			settings = append(settings, api.Setting{Name: name, Value: value})
		}
		s := serverState(settings)
		if s.Free != test.free || s.Auth != test.auth || !strings.Contains(strings.Join(s.Advice, "\n"), test.advice) || s.Free != (s.Problem == "") {
			t.Errorf("%v: %+v", test.settings, s)
		}
		if !slices.Contains(s.Models, "blip2-mini") || (s.Dir == "../../testdata/layouts") != slices.Contains(s.Models, "clip-optimum") {
			t.Errorf("%v: models %v", test.settings, s.Models)
		}
	}
}
