package ortlib

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/crossattn/xpipe/ort/ortfile"
)

// InstallOptions says what to install. The zero value installs DefaultVersion from the project's
// release page.
type InstallOptions struct {
	// From is a wheel, an archive (.zip, .tgz), a folder, a library, or the https address of a
	// wheel or archive. "pip" asks pip for the wheel; "" stands for the release page.
	From string
	// Version is the release to fetch where From does not name one; "" is DefaultVersion.
	Version string
	// SHA256 is the digest that the file given or fetched must have, in hexadecimal. It may be ""
	// for files on this machine, and for files that are pinned in this package.
	SHA256 string
	// Progress, if not nil, is called with the number of bytes downloaded; total is -1 if the
	// server does not say.
	Progress func(done, total int64)
	// Client fetches; nil is a client with the usual settings.
	Client *http.Client
}

// Limits on what a server or an archive may make this package do.
const (
	maxArchive   = 1 << 30 // bytes of a download
	maxExtracted = 4 << 30 // bytes in an archive, unpacked
	maxEntries   = 100_000 // files in an archive
	tempPrefix   = ".install-"
)

// Install puts a library into the user's cache, where Find looks. Files fetched over the network
// must have a SHA-256 known beforehand: opts.SHA256, or one of the pins in this package. Only the
// library (and the libraries of its providers beside it) is unpacked from an archive, and this
// machine must be able to load it. The cache holds the whole version or, after any failure, what it
// held before.
func Install(ctx context.Context, opts InstallOptions) (Installed, error) {
	cache, err := CacheDir()
	if err != nil {
		return Installed{}, err
	}
	in := &installer{cache: cache, goos: runtime.GOOS, goarch: runtime.GOARCH,
		stall: 30 * time.Second, max: maxArchive}
	return in.install(ctx, opts)
}

// installer is the machine that Install runs on; tests change it.
type installer struct {
	cache        string
	goos, goarch string
	stall        time.Duration // how long a server may send next to nothing
	max          int64         // bytes of a download
}

func (in *installer) install(ctx context.Context, opts InstallOptions) (Installed, error) {
	want, err := parseSHA256(opts.SHA256)
	if err != nil {
		return Installed{}, err
	}
	if err := os.MkdirAll(in.cache, 0o755); err != nil {
		return Installed{}, errorf("%w", err)
	}
	in.sweep()
	temp, err := os.MkdirTemp(in.cache, tempPrefix+"*")
	if err != nil {
		return Installed{}, errorf("%w", err)
	}
	defer os.RemoveAll(temp)
	src, err := in.fetch(ctx, opts, want, temp)
	if err != nil {
		return Installed{}, err
	}
	if src.sha256 != "" {
		if src.folder {
			return Installed{}, errorf("a folder has no SHA-256; give the library in it")
		}
		got, err := fileSHA256(src.path)
		if err != nil {
			return Installed{}, errorf("%w", err)
		}
		if got != src.sha256 {
			return Installed{}, errorf("%s has SHA-256 %s, expected %s: nothing was installed",
				src.name, got, src.sha256)
		}
	}
	found, err := in.unpack(ctx, src, filepath.Join(temp, "unpacked"))
	if err != nil {
		return Installed{}, err
	}
	sums := map[string]string{}
	for _, file := range found.files {
		if sums[filepath.Base(file)], err = fileSHA256(file); err != nil {
			return Installed{}, errorf("%w", err)
		}
	}
	if src.fetched && src.sha256 == "" {
		for name, sum := range sums {
			if libraryPins[sum] == "" {
				return Installed{}, errorf("no SHA-256 is known beforehand for %s in %s: nothing "+
					"was installed. If you trust where it comes from, give the SHA-256 published "+
					"there (--sha256)", name, src.name)
			}
		}
	}
	version := ortfile.FindVersion(src.name)
	if version == "" {
		version = found.version
	}
	if version == "" {
		version = "unknown"
	}
	if err := CheckVersion(strings.TrimPrefix(version, "unknown")); err != nil {
		return Installed{}, err
	}
	now := time.Now().UTC().Truncate(time.Second)
	about := receipt{Version: version, Source: src.name, Installed: now, SHA256: sums}
	note, err := json.MarshalIndent(about, "", "  ")
	if err != nil {
		return Installed{}, err
	}
	dir := filepath.Dir(found.files[0])
	if err := writeSynced(filepath.Join(dir, receiptName), append(note, '\n')); err != nil {
		return Installed{}, errorf("%w", err)
	}
	final := filepath.Join(in.cache, version)
	if err := replaceFolder(dir, final, filepath.Join(temp, "previous")); err != nil {
		return Installed{}, errorf("%w", err)
	}
	return Installed{
		Library: Library{
			Path:    filepath.Join(final, filepath.Base(found.files[0])),
			Version: version,
			Found:   foundInCache,
		},
		Source: src.name,
	}, nil
}

func parseSHA256(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	s = strings.ToLower(strings.TrimPrefix(s, "sha256:"))
	if raw, err := hex.DecodeString(s); err != nil || len(raw) != 32 {
		return "", errorf("%q is no SHA-256: 64 hexadecimal digits", s)
	}
	return s, nil
}

// sweep removes the folders that killed installations left behind.
func (in *installer) sweep() {
	left, _ := filepath.Glob(filepath.Join(in.cache, tempPrefix+"*"))
	for _, dir := range left {
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
			os.RemoveAll(dir)
		}
	}
}

// source is the file or folder that holds the library.
type source struct {
	path    string
	name    string // for people, and as a hint of the version
	folder  bool
	fetched bool   // over the network, so it needs a digest known beforehand
	sha256  string // that the file must have; "" if none is known
}

// fetch finds out what opts.From is and brings it to this machine, in temp.
func (in *installer) fetch(
	ctx context.Context, opts InstallOptions, want, temp string,
) (source, error) {
	version := opts.Version
	if version == "" {
		version = DefaultVersion
	}
	if err := CheckVersion(version); err != nil {
		return source{}, err
	}
	if ortfile.FindVersion(version) != version {
		return source{}, errorf("%q is no version, such as %s", version, DefaultVersion)
	}
	switch {
	case opts.From == "":
		archive := releaseArchive(version, in.goos, in.goarch)
		if archive == "" {
			return source{}, errorf(
				"its releases have no archive for %s/%s; build it, and give the library with "+
					"--from",
				in.goos, in.goarch)
		}
		url := fmt.Sprintf(releasePage, version, archive)
		if want == "" {
			want = archivePins[archive]
		}
		if want == "" {
			return source{}, errorf("no SHA-256 is pinned for %s. "+
				"Either give the one its release page shows: `xpipe runtime install "+
				"--sha256 HEX`; or install the library of the Python package, which is pinned: "+
				"`xpipe runtime install --from pip`, or `pip download --no-deps "+
				"onnxruntime==%s` and `xpipe runtime install --from FILE.whl`",
				url, DefaultVersion)
		}
		return in.download(ctx, opts, url, want, temp)
	case opts.From == "pip":
		return in.pipDownload(ctx, version, want, temp)
	case strings.Contains(opts.From, "://"):
		return in.download(ctx, opts, opts.From, want, temp)
	}
	info, err := os.Stat(opts.From)
	if err != nil {
		return source{}, errorf("%w", err)
	}
	return source{path: opts.From, name: filepath.Base(opts.From), folder: info.IsDir(),
		sha256: want}, nil
}

// pipDownload has pip fetch the wheel for the Python on PATH.
func (in *installer) pipDownload(ctx context.Context, version, want, temp string) (source, error) {
	python, err := exec.LookPath("python3")
	if err != nil {
		if python, err = exec.LookPath("python"); err != nil {
			return source{}, errorf("no python3 on PATH to run pip with")
		}
	}
	cmd := exec.CommandContext(ctx, python, "-m", "pip", "download", "--quiet",
		"--disable-pip-version-check", "--no-deps",
		"--only-binary=:all:", "--dest", temp, "onnxruntime=="+version)
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return source{}, errorf("pip was stopped: %w", ctx.Err())
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return source{}, errorf("pip download failed: %s", lines[len(lines)-1])
	}
	wheels, _ := filepath.Glob(filepath.Join(temp, "*.whl"))
	if len(wheels) != 1 {
		return source{}, errorf("pip brought %d wheels, expected one", len(wheels))
	}
	return source{path: wheels[0], name: filepath.Base(wheels[0]), fetched: true, sha256: want}, nil
}

func writeSynced(path string, data []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// replaceFolder renames dir to final; a folder already there is moved to old first and put back if
// the renaming fails.
func replaceFolder(dir, final, old string) error {
	had := true
	if err := os.Rename(final, old); err != nil {
		if !os.IsNotExist(err) {
			return err
		}
		had = false
	}
	if err := os.Rename(dir, final); err != nil {
		if had {
			os.Rename(old, final)
		}
		return err
	}
	return nil
}
