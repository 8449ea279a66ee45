package hub

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// DefaultEndpoint is the hub's public address.
const DefaultEndpoint = "https://huggingface.co"

// Settings are what the variables of the environment say that huggingface_hub reads.
type Settings struct {
	Cache    string // HF_HUB_CACHE, else hub in HF_HOME, else ~/.cache/huggingface/hub
	Endpoint string // HF_ENDPOINT, else DefaultEndpoint
	Token    string // HF_TOKEN, else the content of HF_TOKEN_PATH, else of token in HF_HOME; "" for none
	Offline  bool   // HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE: 1, on, yes or true
}

// Environment reads the settings. getenv is os.Getenv, and home the user's folder.
func Environment(getenv func(string) string, home string) (Settings, error) {
	expand := func(path string) string {
		path = os.Expand(path, getenv)
		if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || os.IsPathSeparator(rest[0])) {
			path = home + rest
		}
		return path
	}
	first := func(values ...string) string {
		for _, v := range values {
			if v != "" {
				return v
			}
		}
		return ""
	}
	base := filepath.Join(first(getenv("XDG_CACHE_HOME"), filepath.Join(home, ".cache")), "huggingface")
	base = expand(first(getenv("HF_HOME"), base))
	s := Settings{
		Cache:    expand(first(getenv("HF_HUB_CACHE"), getenv("HUGGINGFACE_HUB_CACHE"), filepath.Join(base, "hub"))),
		Endpoint: strings.TrimRight(first(getenv("HF_ENDPOINT"), DefaultEndpoint), "/"),
		Token:    strings.TrimSpace(first(getenv("HF_TOKEN"), getenv("HUGGING_FACE_HUB_TOKEN"))),
		Offline:  isTrue(first(getenv("HF_HUB_OFFLINE"), getenv("TRANSFORMERS_OFFLINE"))),
	}
	if s.Token == "" && !isTrue(getenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
		data, err := os.ReadFile(expand(first(getenv("HF_TOKEN_PATH"), filepath.Join(base, "token"))))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s, err
		}
		s.Token = strings.TrimSpace(string(data))
	}
	return s, nil
}

func isTrue(value string) bool {
	return slices.Contains([]string{"1", "ON", "YES", "TRUE"}, strings.ToUpper(value))
}
