package ortlib

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/crossattn/xpipe/ort/ortfile"
)

// unpacked is a library on disk with the libraries of its providers beside it.
type unpacked struct {
	files   []string // the library first, all in one folder of their own
	version string   // "" where the library does not tell
}

// unpack copies the library that src holds, and no other file, to a folder below dir. From a
// package for several platforms it takes the first library that this machine can load.
func (in *installer) unpack(ctx context.Context, src source, dir string) (unpacked, error) {
	x := &extraction{ctx: ctx, goos: in.goos, dir: dir, folders: map[string]string{}}
	var err error
	if src.folder {
		err = x.folder(src.path)
	} else {
		err = x.file(src.path, src.name)
	}
	if err != nil {
		return unpacked{}, errorf("%s: %w", src.name, err)
	}
	problem := errors.New("holds no library of ONNX Runtime for " + in.goos)
	for _, lib := range x.libraries {
		version, err := ortfile.Machine{OS: in.goos, Arch: in.goarch}.Inspect(lib)
		if err != nil {
			problem = err
			continue
		}
		found := unpacked{files: []string{lib}, version: version}
		for _, p := range x.providers {
			if filepath.Dir(p) == filepath.Dir(lib) {
				found.files = append(found.files, p)
			}
		}
		return found, nil
	}
	return unpacked{}, errorf("%s: %s", src.name, strings.TrimPrefix(problem.Error(), ErrLibrary.Error()+": "))
}

// extraction copies libraries out of an archive. Only the last element of a name in the archive is
// used, so that none can lead out of dir; an archive that tries is refused nevertheless.
type extraction struct {
	ctx       context.Context
	goos      string
	dir       string
	folders   map[string]string // folder in the archive -> folder below dir
	total     int64
	entries   int
	libraries []string
	providers []string
}

var errBomb = fmt.Errorf("unpacks to more than %d bytes or %d files",
	int64(maxExtracted), maxEntries)

// file handles an archive or a library.
func (x *extraction) file(file, name string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	var magic [4]byte
	if _, err := io.ReadFull(f, magic[:]); err != nil {
		return errors.New("is empty or cut short")
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	switch {
	case string(magic[:2]) == "PK":
		return x.zip(f)
	case magic[0] == 0x1f && magic[1] == 0x8b:
		return x.tgz(f)
	case ortfile.Machine{OS: x.goos}.IsName(name):
		return x.copy(name, f)
	}
	return fmt.Errorf("is no wheel, .zip or .tgz, and not called as the library is on %s", x.goos)
}

func (x *extraction) folder(dir string) error {
	return filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		if x.entries++; x.entries > maxEntries {
			return errBomb
		}
		if !d.Type().IsRegular() || !x.wanted(filepath.ToSlash(rel)) {
			return nil
		}
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		return x.copy(filepath.ToSlash(rel), f)
	})
}

func (x *extraction) zip(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	z, err := zip.NewReader(f, info.Size())
	if err != nil {
		return fmt.Errorf("is a damaged or cut archive: %w", err)
	}
	if len(z.File) > maxEntries {
		return errBomb
	}
	for _, e := range z.File {
		if err := checkName(e.Name); err != nil {
			return err
		}
		if !e.Mode().IsRegular() || !x.wanted(e.Name) {
			continue
		}
		r, err := e.Open()
		if err == nil {
			err = x.copy(e.Name, r)
			r.Close()
		}
		if err != nil {
			return fmt.Errorf("is a damaged or cut archive: %s: %w", e.Name, err)
		}
	}
	return nil
}

func (x *extraction) tgz(f *os.File) error {
	gz, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("is a damaged or cut archive: %w", err)
	}
	// Skipping data means unpacking it.
	limited := &io.LimitedReader{R: gz, N: maxExtracted}
	t := tar.NewReader(limited)
	for {
		e, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if limited.N <= 0 {
			return errBomb
		}
		if err != nil {
			return fmt.Errorf("is a damaged or cut archive: %w", err)
		}
		if x.entries++; x.entries > maxEntries {
			return errBomb
		}
		if err := x.ctx.Err(); err != nil {
			return err
		}
		if err := checkName(e.Name); err != nil {
			return err
		}
		if e.Typeflag != tar.TypeReg || !x.wanted(e.Name) {
			continue
		}
		if err := x.copy(e.Name, t); err != nil {
			return fmt.Errorf("is a damaged or cut archive: %s: %w", e.Name, err)
		}
	}
}

func checkName(name string) error {
	if !filepath.IsLocal(filepath.FromSlash(name)) || strings.Contains(name, `\`) ||
		slices.Contains(strings.Split(name, "/"), "..") {
		return fmt.Errorf(
			"is refused: it holds a file named %q, which would be written outside of its folder",
			name)
	}
	return nil
}

// wanted reports whether a name is that of the library or of one of its providers' libraries.
func (x *extraction) wanted(name string) bool {
	base := path.Base(name)
	return ortfile.Machine{OS: x.goos}.IsName(base) || isProviderName(base, x.goos)
}

// isProviderName tells the libraries that ONNX Runtime loads for a provider.
func isProviderName(base, goos string) bool {
	switch goos {
	case "windows":
		return strings.HasPrefix(base, "onnxruntime_providers_") &&
			strings.HasSuffix(base, ".dll") || base == "DirectML.dll"
	case "darwin":
		return strings.HasPrefix(base, "libonnxruntime_providers_") &&
			strings.HasSuffix(base, ".dylib")
	}
	return strings.HasPrefix(base, "libonnxruntime_providers_") && strings.HasSuffix(base, ".so")
}

// copy writes one file; each folder of the archive gets a folder below dir.
func (x *extraction) copy(name string, r io.Reader) error {
	folder, base := path.Split(name)
	dir, ok := x.folders[folder]
	if !ok {
		dir = filepath.Join(x.dir, strconv.Itoa(len(x.folders)))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		x.folders[folder] = dir
	}
	file := filepath.Join(dir, base)
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(f, io.LimitReader(&interruptible{x.ctx, r}, maxExtracted-x.total+1))
	if err != nil {
		return err
	}
	if x.total += n; x.total > maxExtracted {
		return errBomb
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if (ortfile.Machine{OS: x.goos}).IsName(base) {
		x.libraries = append(x.libraries, file)
	} else {
		x.providers = append(x.providers, file)
	}
	return f.Close()
}

// interruptible is a Reader that fails once ctx has ended.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}
