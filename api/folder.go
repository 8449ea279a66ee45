package api

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/crossattn/xpipe/vision"
)

// walkPictures lists the pictures in and below a folder, by name.
func walkPictures(dir string, skips *Skips) ([]string, error) {
	var files []string
	before := skips.Total()
	err := walk(dir, skips, func(path string, broken bool) {
		switch {
		case !isPictureName(path):
			if broken {
				skips.add(path, skipLink)
			} else {
				skips.file(path)
			}
		case !isResourceFork(path):
			files = append(files, path)
		}
	})
	if err == nil && len(files) == 0 {
		also := ""
		if skips.Total() > before {
			also = "; skipped: " + skips.String()
		}
		err = fmt.Errorf("%s: no pictures in it (%s)%s", dir,
			strings.Join(vision.Suffixes(), " "), also)
	}
	return files, WithKind(err, KindInput)
}

// mostVisits bounds how often one folder is listed by different links: a few folders that hold
// links to each other have more paths than anyone can wait for.
const mostVisits = 100

// walk gives the files in and below a folder to visit, by name. Links are followed, as "find -L"
// does, but for those back to a folder on the way to them; a link to nothing is a file that is
// broken. The error is about the folder itself: those below that cannot be listed are skipped.
func walk(dir string, skips *Skips, visit func(path string, broken bool)) error {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	w := walker{visit, skips, map[string]bool{}, map[string]int{}, map[string]string{}}
	return w.walk(dir, real)
}

type walker struct {
	visit  func(path string, broken bool)
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
		case isPictureName(to): // a pipe may block for ever
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
