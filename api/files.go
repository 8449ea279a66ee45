package api

import (
	"image"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/vision"
)

// fileKind is what files are that a run is over.
type fileKind struct {
	one, many string          // what messages call them
	verb      string          // one that takes them
	suffixes  func() []string // of those that are read, in lower case with the dot
	unread    []string        // of those that are not
}

var (
	pictureFiles = &fileKind{
		one: "picture", many: "pictures", verb: "caption", suffixes: vision.Suffixes,
		unread: slices.Concat(unreadPictures, maybeUnread),
	}
	soundFiles = &fileKind{
		one: "sound", many: "sounds", verb: "transcribe", suffixes: soundSuffixes,
		unread: slices.Concat(codecSounds, ffmpegSounds),
	}
	pageFiles = &fileKind{
		one: "document", many: "documents", verb: "read", suffixes: pageSuffixes,
		unread: slices.Concat(unreadPictures, maybeUnread, unreadDocuments),
	}
)

// codecSounds are suffixes that a program reads where it imports audio/codecs, and ffmpegSounds those
// that need an ffmpeg. Films are no sounds by their names; one that is named itself is read, too.
var (
	codecSounds  = []string{".flac", ".mp3", ".oga", ".ogg", ".opus"}
	ffmpegSounds = []string{
		".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".caf", ".m4a", ".m4b", ".mka",
		".mp2", ".spx", ".weba", ".wma", ".wv",
	}
)

// soundSuffixes are those that are read, with an ffmpeg where there is one.
var soundSuffixes = sync.OnceValue(func() []string {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		return audio.Suffixes()
	}
	return slices.Concat(audio.Suffixes(), ffmpegSounds)
})

// has says whether a file is taken from folders; one that is named itself may have any name.
func (k *fileKind) has(name string) bool {
	return slices.Contains(k.suffixes(), strings.ToLower(filepath.Ext(name)))
}

// IsSound reports whether a file is a sound by its name.
func IsSound(name string) bool { return soundFiles.has(name) }

// check says why there is no file to read at a path.
func (k *fileKind) check(path string) error {
	if err := k.checkAddress(path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err == nil && info.IsDir() { // since the folder was listed
		err = &fs.PathError{Op: "read", Path: path, Err: fs.ErrInvalid}
	}
	return WithKind(err, KindInput)
}

// search is how folders are searched for files of a kind.
type search struct {
	kind  *fileKind
	skips *Skips
}

// pass counts a file that is none of those that are read.
func (s search) pass(path string) {
	suffix := strings.ToLower(filepath.Ext(path))
	switch {
	case s.skips == nil || strings.HasPrefix(filepath.Base(path), "._"):
	case slices.Contains(s.kind.unread, suffix):
		s.skips.add(path, suffix)
	default:
		s.skips.other()
	}
}

// Sounds are those that arguments and Lists stand for, as Pictures finds pictures; "-" is a sound on
// standard input, of which nothing is read here. Shards are refused. Load decodes nothing and returns
// no picture: its error says why there is no such file.
func (s Sources) Sounds(args ...string) (
	sounds iter.Seq2[Picture, error], count int, err error,
) {
	s.kind = soundFiles
	return s.Pictures(args...)
}

// Documents are those that arguments and Lists stand for, as Pictures finds pictures: pictures of pages, and
// files for which IsPaged or IsText holds. Load decodes nothing of those: its error says why there is no such file.
func (s Sources) Documents(args ...string) (
	documents iter.Seq2[Picture, error], count int, err error,
) {
	s.kind = pageFiles
	return s.Pictures(args...)
}

// soundOnStdin is standard input, which whoever gets it reads.
func soundOnStdin() part {
	load := func() (image.Image, error) { return nil, nil }
	return part{func(yield func(Picture, error) bool) { yield(Picture{Name: stdinName, Load: load}, nil) }, 1}
}
