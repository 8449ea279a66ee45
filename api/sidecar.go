package api

import (
	"image"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Sidecars writes captions beside pictures, as programs that train on pictures read them: that of
// photo.jpg into photo.txt, one line. A file that is there already is kept, since somebody may have
// corrected it, unless Overwrite is set.
type Sidecars struct {
	Prefix    string // in front of each caption, with a space between unless it ends in one
	Overwrite bool
	Suffixes  []string // of what is written instead of a .txt, with the dot: ".srt", ".vtt"

	made map[string]string // by path of a caption, the picture it is of
	kept int
}

// SidecarPath is where the caption of a picture's file is written.
func SidecarPath(file string) string { return sidecarPath(file, ".txt") }

func sidecarPath(file, suffix string) string {
	return strings.TrimSuffix(file, filepath.Ext(file)) + suffix
}

func (s *Sidecars) suffixes() []string {
	if len(s.Suffixes) > 0 {
		return s.Suffixes
	}
	return []string{".txt"}
}

// Kept is how many pictures had a caption that was kept.
func (s *Sidecars) Kept() int { return s.kept }

// Wanted are the pictures whose captions are to be written; those that have one are left out where
// all is false. A picture fails that has no place for a caption beside it, or the same as another
// one: a.jpg and a.png.
func (s *Sidecars) Wanted(
	pictures iter.Seq2[Picture, error], all bool,
) iter.Seq2[Picture, error] {
	return func(yield func(Picture, error) bool) {
		spellings := newSpellings()
		s.made = map[string]string{}
		for p, err := range pictures {
			if err == nil {
				var wanted bool
				if wanted, err = s.claim(spellings, p); err != nil {
					fails := err
					p.Load, err = func() (image.Image, error) { return nil, fails }, nil
				} else if !wanted && !all {
					continue
				}
			}
			if !yield(p, err) {
				return
			}
		}
	}
}

// claim says whether the caption of a picture is to be written, or why it cannot be.
func (s *Sidecars) claim(spellings spellings, p Picture) (wanted bool, err error) {
	if p.File == "" {
		return false, Inputf("%s is not a file of its own: there is no place for a %s beside it",
			p.Name, s.suffixes()[0])
	}
	key := spellings.key(p.File)
	for _, suffix := range s.suffixes() {
		path := spellings.key(sidecarPath(p.File, suffix))
		if path == key {
			return false, Inputf("%s would be written over itself", p.File)
		}
		other, taken := s.made[path]
		if taken && other != key {
			return false, Inputf("%s: %s is the %s of %s already", p.File,
				sidecarPath(p.File, suffix), s.noun(), filepath.Base(other))
		}
		if taken { // the same file again
			return !s.exists(p.File), nil
		}
		s.made[path] = key
	}
	if s.exists(p.File) {
		s.kept++
		return false, nil
	}
	return true, nil
}

// noun is what the files beside others are.
func (s *Sidecars) noun() string {
	if len(s.Suffixes) > 0 {
		return "transcript"
	}
	return "caption"
}

// exists says whether all that is to be written of a file is there, and to be kept.
func (s *Sidecars) exists(file string) bool {
	return !slices.ContainsFunc(s.suffixes(), func(suffix string) bool {
		return !s.keeps(sidecarPath(file, suffix))
	})
}

// keeps says whether there is a file that is to be kept.
func (s *Sidecars) keeps(path string) bool {
	if s.Overwrite {
		return false
	}
	_, err := os.Lstat(path)
	return err == nil
}

// Write writes the caption of a picture's file, in one piece: a run that is killed leaves no half
// of one. It does nothing where there is one to be kept.
func (s *Sidecars) Write(file, caption string) error {
	return s.WriteAs(file, ".txt", []byte(s.text(caption)+"\n"))
}

// WriteAs is Write for what lies beside a file under a suffix, one of Suffixes.
func (s *Sidecars) WriteAs(file, suffix string, data []byte) error {
	path := sidecarPath(file, suffix)
	if s.keeps(path) {
		return nil
	}
	half := path + ".part"
	err := os.WriteFile(half, data, 0o666)
	if err == nil {
		err = os.Rename(half, path)
	}
	if err != nil {
		os.Remove(half)
	}
	return err
}

// text is the caption with the prefix.
func (s *Sidecars) text(caption string) string {
	last, _ := utf8.DecodeLastRuneInString(s.Prefix)
	if s.Prefix == "" || unicode.IsSpace(last) {
		return s.Prefix + caption
	}
	return s.Prefix + " " + caption
}
