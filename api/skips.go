package api

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Skips counts what folders and shards hold and is passed over: pictures of formats that are not
// read, by their suffixes, folders that cannot be listed, those without pictures among several
// arguments, links to nothing and links that lead in a circle. Files that are no pictures by their names, such as .txt and .xmp, do not count; nor does
// what macOS puts beside files. A nil Skips counts nothing. Any goroutine may use it.
type Skips struct {
	// Tell, where it is not nil, is called with each path that is skipped, and why.
	Tell func(path, why string)

	mu     sync.Mutex
	counts map[string]int
	others int
}

// Why something is skipped, beside suffixes.
const (
	skipFolder  = "unreadable folder"
	skipEmpty   = "folder without " // pictures
	skipLink    = "broken link"
	skipLoop    = "link in a circle"
	skipSpecial = "special file"
)

func (s *Skips) add(path, why string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = map[string]int{}
	}
	s.counts[why]++
	if s.Tell != nil {
		s.Tell(path, why)
	}
}

// other counts a file that is no picture by its name.
func (s *Skips) other() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.others++
}

// Counts is how many there are by suffix or reason.
func (s *Skips) Counts() map[string]int {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

// Total is how many there are.
func (s *Skips) Total() int {
	total := 0
	for _, n := range s.Counts() {
		total += n
	}
	return total
}

// Others is how many files were no pictures by their names.
func (s *Skips) Others() int {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.others
}

// String lists them, the most frequent first: "6 .cr2, 1 unreadable folder".
func (s *Skips) String() string {
	counts := s.Counts()
	whys := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
	for i, why := range whys {
		n := counts[why]
		if n > 1 {
			why = plural(why)
		}
		whys[i] = fmt.Sprintf("%d %s", n, why)
	}
	return strings.Join(whys, ", ")
}

func plural(why string) string {
	switch {
	case strings.HasPrefix(why, "."):
		return why
	case why == skipLoop:
		return "links in a circle"
	case strings.HasPrefix(why, skipEmpty):
		return "folders" + strings.TrimPrefix(why, "folder")
	}
	return why + "s"
}

// maybeUnread are suffixes of pictures that a program reads where it imports vision/avif and
// vision/heic.
var maybeUnread = []string{".avif", ".avifs", ".heic", ".heif", ".hif"}

// unreadPictures are the suffixes of pictures that nothing here reads.
var unreadPictures = []string{
	".jxl", ".jp2", ".j2k", ".j2c", ".jpf", ".jpx", ".jpm", ".jxr", ".wdp", ".hdp", // JPEG's others
	// Cameras' raw formats.
	".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".kdc", ".mef",
	".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf",
	".srw", ".x3f",
	// Of programs that draw, and of others.
	".ai", ".cur", ".dds", ".djvu", ".emf", ".eps", ".exr", ".hdr", ".icns", ".pcx", ".psb", ".psd",
	".sgi", ".svg", ".svgz", ".wmf", ".xbm", ".xcf", ".xpm",
}
