package api

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/vision"
)

// The kinds of what a library holds, as JSON has them.
const (
	KindPhoto = "photo" // a picture
	KindPage  = "page"  // of a PDF file
	KindSound = "sound" // a sound, or a stretch of speech in it
	KindFilm  = "film"  // a shot of a film
)

// filmSuffixes are those of films, which are counted and left out.
var filmSuffixes = []string{
	".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv",
}

// libraryFiles are those that a library holds.
var libraryFiles = &fileKind{
	one: "file", many: "pictures, PDF files or sounds", verb: "index",
	suffixes: func() []string { return slices.Concat(vision.Suffixes(), []string{".pdf"}, soundSuffixes()) },
	unread: slices.Concat(unreadPictures, maybeUnread, slices.DeleteFunc(slices.Clone(unreadDocuments), func(suffix string) bool {
		return slices.Contains([]string{".htm", ".html", ".md"}, suffix)
	}), filmSuffixes),
}

// LibraryFile is a file that a library may hold.
type LibraryFile struct {
	Path string
	Kind string // KindPhoto, KindPage or KindSound, by its name
	Info fs.FileInfo
}

// LibraryFiles lists the files in and below a folder that a library may hold, or the one file at a path.
// unlisted are folders below it whose files are not known, because they cannot be listed.
func LibraryFiles(path string, skips *Skips) (files []LibraryFile, unlisted []string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, WithKind(err, KindInput)
	}
	if !info.IsDir() {
		if !libraryFiles.has(path) {
			return nil, nil, Inputf("%s: a library holds %s, and its name is none of those", path, libraryFiles.many)
		}
		return []LibraryFile{{path, libraryKind(path), info}}, nil, nil
	}
	counted := &Skips{Tell: func(path, why string) {
		if why == skipFolder {
			unlisted = append(unlisted, path)
		}
		skips.add(path, why)
	}}
	paths, err := search{libraryFiles, counted}.walk(path)
	for range counted.Others() {
		skips.other()
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			skips.add(path, skipLink) // it is gone by now, or leads nowhere
		case info.Mode().IsRegular():
			files = append(files, LibraryFile{path, libraryKind(path), info})
		}
	}
	return files, unlisted, err
}

// libraryKind is the kind of a file by its name.
func libraryKind(path string) string {
	switch suffix := strings.ToLower(filepath.Ext(path)); {
	case suffix == ".pdf":
		return KindPage
	case slices.Contains(vision.Suffixes(), suffix):
		return KindPhoto
	}
	return KindSound
}

// FileTaken is when and where a picture was taken, or else when its file was changed last.
func FileTaken(data []byte, info fs.FileInfo) vision.Taken {
	taken := vision.TakenOf(data)
	if taken.Time.IsZero() {
		taken.Time = info.ModTime()
	}
	return taken
}

// LibraryKinds are the kinds by the words of --in.
var LibraryKinds = map[string]string{
	"photos": KindPhoto, "pages": KindPage, "sounds": KindSound, "films": KindFilm,
}

// Sought is what find is asked for, in the user's words.
type Sought struct {
	Text    string   // "" for none
	In      []string // words of LibraryKinds; none: everything
	After   string   // a date; "" for any time
	Where   string   // a path, or a pattern with * ? [ ]; "" for anywhere
	Folders []string // absolute paths of folders that hits lie in; none: any
	Limit   int      // 0: no limit
	Explain bool
}

// Hit is a line of find: a picture, a page, or a stretch of a sound or film.
type Hit struct {
	Path  Name     `json:"path"`
	Kind  string   `json:"kind"`  // photo, page, sound or film
	Score float64  `json:"score"` // 0 to 1, the best first; 0 where nothing was asked for
	Start *float64 `json:"start"` // seconds in a sound or film; null elsewhere
	End   *float64 `json:"end"`
	Page  int      `json:"page,omitempty"` // of a PDF file, from 1
	Time  string   `json:"time,omitempty"` // when it was taken, or else changed, as RFC 3339 has it
	// Latitude and Longitude are in degrees, where the file has them.
	Latitude  *float64 `json:"latitude,omitempty"`
	Longitude *float64 `json:"longitude,omitempty"`
	Text      string   `json:"text,omitempty"`    // what is written or said there, or a part of it
	Group     int      `json:"group,omitempty"`   // with --duplicates, from 1
	Explain   *Explain `json:"explain,omitempty"` // with --explain
}

// Explain says where a hit stands in each list that its score is made of.
type Explain struct {
	Text  *Rank `json:"text,omitempty"`  // pictures by how well the text fits them; value is a cosine
	Like  *Rank `json:"like,omitempty"`  // pictures by how near they are to a picture; value is a cosine
	Words *Rank `json:"words,omitempty"` // names and texts by their words; value is BM25
}

// Rank is a place in a list, from 1.
type Rank struct {
	Rank  int     `json:"rank"`
	Value float64 `json:"value"`
}

// Indexed is the line of index.
type Indexed struct {
	Store   Name `json:"store"`
	New     int  `json:"new"` // files
	Changed int  `json:"changed"`
	Moved   int  `json:"moved"`
	Gone    int  `json:"gone"`
	Same    int  `json:"same"`
	Failed  int  `json:"failed"`
	// What the store holds now.
	Photos int `json:"photos"`
	Pages  int `json:"pages"`
	Sounds int `json:"sounds"` // stretches, where what is said in a sound is known
	Films  int `json:"films"`
	// Skipped counts what was passed over, by suffix or reason.
	Skipped map[string]int `json:"skipped"`
	Seconds float64        `json:"seconds"`
}
