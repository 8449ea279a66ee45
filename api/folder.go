package api

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// walk lists the files of the kind in and below a folder, by name.
func (s search) walk(dir string) ([]string, error) {
	var files []string
	before := s.skips.Total()
	err := walk(dir, s, func(path string, broken bool) {
		switch {
		case !s.kind.has(path):
			if broken {
				s.skips.add(path, skipLink)
			} else {
				s.pass(path)
			}
		case !isResourceFork(path):
			files = append(files, path)
		}
	})
	if err == nil && len(files) == 0 {
		also := ""
		if s.skips.Total() > before {
			also = "; skipped: " + s.skips.String()
		}
		err = fmt.Errorf("%s: no %s in it (%s)%s", dir, s.kind.many,
			strings.Join(s.kind.suffixes(), " "), also)
	}
	return files, WithKind(err, KindInput)
}

// mostVisits bounds how often one folder is listed by different links: a few folders that hold
// links to each other have more paths than anyone can wait for.
const mostVisits = 100

// walk gives the files in and below a folder to visit, by name. Links are followed, as "find -L"
// does, but for those back to a folder on the way to them; a link to nothing is a file that is
// broken. The error is about the folder itself: those below that cannot be listed are skipped.
func walk(dir string, s search, visit func(path string, broken bool)) error {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	w := walker{visit, s.kind, s.skips, map[string]bool{}, map[string]int{}, map[string]string{}}
	return w.walk(dir, real)
}

type walker struct {
	visit  func(path string, broken bool)
	kind   *fileKind
	skips  *Skips
	above  map[string]bool // folders on the way down, without links
	visits map[string]int
	links  map[string]string // paths without links of the folders that links lead to
}

// walk lists the folder at path; real is its path without links.
func (w *walker) walk(path, real string) error {
	if w.above[real] || w.visits[real] >= mostVisits {
		w.skips.add(path, skipLoop)
		return nil
	}
	w.visits[real]++
	w.above[real] = true
	defer delete(w.above, real)
	entries, err := os.ReadDir(path) // those before an error, too
	for _, entry := range entries {
		to, toReal := filepath.Join(path, entry.Name()), filepath.Join(real, entry.Name())
		mode := entry.Type()
		if mode&(fs.ModeSymlink|fs.ModeIrregular) != 0 { // links, and what Windows has like them
			link := toReal
			if known, ok := w.links[link]; ok {
				mode, toReal = fs.ModeDir, known
			} else if info, err := os.Stat(to); err == nil {
				mode = info.Mode().Type()
			}
			if mode.IsDir() && toReal == link {
				if toReal, err = filepath.EvalSymlinks(to); err != nil {
					w.skips.add(to, skipFolder) // it is gone by now
					continue
				}
				w.links[link] = toReal
			}
		}
		switch {
		case mode.IsDir():
			if err := w.walk(to, toReal); err != nil {
				w.skips.add(to, skipFolder)
			}
		case mode.IsRegular() || mode&fs.ModeSymlink != 0:
			w.visit(to, mode&fs.ModeSymlink != 0)
		case w.kind.has(to): // a pipe may block for ever
			w.skips.add(to, skipSpecial)
		}
	}
	return err
}

// isResourceFork says whether a file is what macOS puts beside x.png on file systems of others, and
// into archives: ._x.png, which is no picture.
func isResourceFork(path string) bool {
	if !strings.HasPrefix(filepath.Base(path), "._") {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return true
	}
	defer f.Close()
	start := make([]byte, sniffed)
	n, _ := io.ReadFull(f, start)
	return isResourceForkData(path, start[:n])
}

// isResourceForkData is isResourceFork for a file that begins with start. A picture with such a
// name is one.
func isResourceForkData(name string, start []byte) bool {
	if !strings.HasPrefix(filepath.Base(name), "._") {
		return false
	}
	for _, appleDouble := range []string{"\x00\x05\x16\x07", "\x00\x05\x16\x00"} {
		if bytes.HasPrefix(start, []byte(appleDouble)) {
			return true
		}
	}
	return !hasPictureSignature(start)
}
