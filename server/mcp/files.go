package mcp

import (
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/server/web"
	"github.com/crossattn/xpipe/vision"
)

// Files are the folders whose files tools may read, and nothing else: neither .. nor a link leads out.
type Files struct {
	roots []root
	most  int64
}

type root struct {
	*os.Root
	paths []string // of the folder: as it was given, made absolute, and without links
}

// OpenFiles opens folders, whose files are read up to so many bytes each.
func OpenFiles(most int64, folders ...string) (*Files, error) {
	f := &Files{most: most}
	for _, folder := range folders {
		opened, err := os.OpenRoot(folder)
		if err != nil {
			f.Close()
			return nil, err
		}
		r := root{Root: opened}
		if whole, err := filepath.Abs(folder); err == nil {
			r.paths = append(r.paths, whole)
			if plain, err := filepath.EvalSymlinks(whole); err == nil && plain != whole {
				r.paths = append(r.paths, plain)
			}
		}
		f.roots = append(f.roots, r)
	}
	return f, nil
}

// Close closes the folders.
func (f *Files) Close() error {
	var errs []error
	for _, r := range f.roots {
		errs = append(errs, r.Close())
	}
	return errors.Join(errs...)
}

// Paths lists the folders' absolute paths, as they were given and without links.
func (f *Files) Paths() (paths []string) {
	for _, r := range f.roots {
		paths = append(paths, r.paths...)
	}
	return paths
}

// errNone is the error of a path that no folder has. It says the same whether there is such a file
// elsewhere or not.
func (f *Files) errNone(name string) error {
	if len(f.roots) == 0 {
		return web.Badf("no files may be read: xpipe mcp --allow FOLDER allows those of a folder")
	}
	return web.Badf("there is no file %q in the folders that may be read", name)
}

// Read reads a file by its path, which is absolute or from one of the folders, or by its file: URL.
func (f *Files) Read(name string) ([]byte, error) {
	at := name
	if u, err := url.Parse(name); err == nil && u.Scheme == "file" && (u.Host == "" || u.Host == "localhost") {
		at = filepath.FromSlash(u.Path)
	}
	for _, r := range f.roots {
		for _, inside := range r.inside(at) {
			data, err := f.read(r, inside)
			if !errors.Is(err, errNotHere) {
				return data, err
			}
		}
	}
	return nil, f.errNone(name)
}

// inside lists the paths in the folder that a path may mean.
func (r root) inside(name string) (list []string) {
	if !filepath.IsAbs(name) {
		return []string{name}
	}
	for _, p := range r.paths {
		if inside, err := filepath.Rel(p, name); err == nil && filepath.IsLocal(inside) {
			list = append(list, inside)
		}
	}
	return list
}

var errNotHere = errors.New("not here")

// read reads a regular file of a folder.
func (f *Files) read(r root, name string) ([]byte, error) {
	if info, err := r.Stat(name); err != nil || !info.Mode().IsRegular() { // to open a pipe would wait
		return nil, errNotHere
	}
	file, err := r.Open(name)
	if err != nil {
		return nil, errNotHere
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, f.most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > f.most {
		return nil, api.Inputf("%q is longer than %d bytes", name, f.most)
	}
	return data, nil
}

// mostListed bounds a list of files.
const mostListed = 200

// List lists the pictures, documents and sounds of the folders, by the paths that Read takes. more says that there
// are others. Links are not followed.
func (f *Files) List(below string) (list []string, more bool) {
	for _, r := range f.roots {
		from := filepath.ToSlash(below)
		if filepath.IsAbs(below) {
			inside := r.inside(below)
			if len(inside) == 0 {
				continue
			}
			from = filepath.ToSlash(inside[0])
		}
		if from = path.Clean(from); !fs.ValidPath(from) {
			continue
		}
		fs.WalkDir(r.FS(), from, func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil && d != nil && d.IsDir():
				return fs.SkipDir
			case err != nil || !d.Type().IsRegular() || !isMedia(name):
				return nil
			case len(list) == mostListed:
				more = true
				return fs.SkipAll
			}
			list = append(list, filepath.Join(r.paths[0], filepath.FromSlash(name)))
			return nil
		})
	}
	return list, more
}

// isMedia tells pictures, documents and sounds by their names.
func isMedia(name string) bool {
	return api.IsSound(name) || api.IsPaged(name) || slices.Contains(vision.Suffixes(), strings.ToLower(path.Ext(name)))
}
