package api

import (
	"errors"
	"io/fs"
	"os"
	"strings"
)

// checkAddress refuses what is an address of the web, or one of a file, where a path should be, and
// an empty name, as an unset variable of a shell leaves it. Errors have the kind KindInput.
func (k *fileKind) checkAddress(name string) error {
	if name == "" {
		return Inputf("the name of a %s is empty", k.one)
	}
	scheme, rest, found := strings.Cut(name, "://")
	if !found {
		return nil
	}
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return nil // a file of that name
	}
	switch strings.ToLower(scheme) {
	case "file":
		return Inputf("%s: xpipe takes paths, not addresses: give %s",
			name, strings.TrimPrefix(rest, "localhost"))
	case "http", "https", "ftp":
		return Inputf("%s: xpipe fetches no %s; fetch it first, and give - in its place: "+
			"curl -s '%s' | xpipe %s -", name, k.many, name, k.verb)
	}
	return nil
}
