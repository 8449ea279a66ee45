package api

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"
	"io/fs"
	"iter"
	"os"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/vision"
)

// Picture is one picture by its name, not decoded yet.
type Picture struct {
	// Name is the path of a file, SHARD.tar/MEMBER for one in a shard, or "-" for standard input;
	// -/MEMBER is one in a shard on standard input. The second of two members of one name is
	// SHARD.tar/MEMBER#2, and so on.
	Name string
	// File is the path of the file that holds this picture and no other; "" where there is none.
	File string
	// Load decodes the picture, once. Errors name it.
	Load func() (image.Image, error)
}

// stdinName is what stands for standard input.
const stdinName = "-"

// isPictureName reports whether a file is taken from folders and shards; one that is named itself
// may have any name.
func isPictureName(name string) bool { return pictureFiles.has(name) }

// Sources finds and decodes pictures by what names them.
type Sources struct {
	// Stdin is what "-" stands for; nil is empty.
	Stdin io.Reader
	// Lists are files with a name a line, each of which may be whatever an argument of Pictures
	// may be but "-". The pictures of lists come behind those of the arguments. "-" is a list on
	// standard input.
	Lists []string
	// Limits bound the pictures; the zero value stands for pipeline's defaults.
	Limits pipeline.Limits
	// Skipped counts what is passed over in folders and shards.
	Skipped *Skips
	// Background is the colour under pictures with transparent parts; nil stands for the colours
	// that they hide: see vision.WithBackground.
	Background *color.RGBA

	kind *fileKind // that files are of; nil: pictureFiles
}

// search is how folders are searched.
func (s Sources) search() search {
	return search{cmp.Or(s.kind, pictureFiles), s.Skipped}
}

// options are those to decode pictures with.
func (s Sources) options() []vision.Option {
	options := []vision.Option{vision.WithLimits(s.Limits.Vision())}
	if s.Background != nil {
		options = append(options, vision.WithBackground(*s.Background))
	}
	return options
}

// LoadPicture decodes the picture in a file, or with "-" that on standard input.
func (s Sources) LoadPicture(name string) (image.Image, error) {
	if name == stdinName {
		return s.Decode("standard input", s.stdin())
	}
	return s.decodeFile(name)
}

func (s Sources) decodeFile(path string) (image.Image, error) {
	if err := pictureFiles.checkAddress(path); err != nil {
		return nil, err
	}
	img, err := vision.DecodeFile(path, s.options()...)
	if errors.Is(err, vision.ErrImage) && soundFiles.has(path) {
		err = fmt.Errorf("%w; to write down what is said in a sound: xpipe transcribe %s", err, path)
	}
	if errors.Is(err, vision.ErrImage) && IsPaged(path) {
		err = fmt.Errorf("%w; xpipe read and xpipe ask take documents", err)
	}
	if err != nil {
		return nil, err
	}
	return img, nil
}

// Decode decodes a picture; errors begin with its name.
func (s Sources) Decode(name string, r io.Reader) (image.Image, error) {
	img, err := vision.Decode(r, s.options()...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return img, nil
}

func (s Sources) stdin() io.Reader {
	if s.Stdin == nil {
		return bytes.NewReader(nil)
	}
	return s.Stdin
}

// Files are the pictures in files, one a name, with "-" for standard input.
func (s Sources) Files(names ...string) iter.Seq[Picture] {
	return func(yield func(Picture) bool) {
		for _, name := range names {
			load := func() (image.Image, error) { return s.LoadPicture(name) }
			p := Picture{Name: name, Load: load}
			if name != stdinName {
				p.File = name
			}
			if !yield(p) {
				return
			}
		}
	}
}

// part is the pictures of one argument, and how many there are; below 0 where only the end tells.
type part struct {
	pictures iter.Seq2[Picture, error]
	count    int
}

// Pictures are those that arguments stand for, in order, and then those of Lists:
//
//   - a file, of any name;
//   - a folder: each picture in and below it, by name, links followed;
//   - a shard as WebDataset makes them, .tar, .tar.gz, .tar.zst or .tar.bz2: each picture in it;
//   - a pattern with * ? [ ], or ** for any folders between;
//   - a pattern with {000..999} or {a,b}, as a shell expands it;
//   - "-": standard input, which holds a picture, a shard, or a list of the above, one a line.
//
// A file that is there stands for itself, whatever characters its name has. The count is -1 where
// only the end tells it.
//
// An argument that stands for nothing is an error at once, but in a list it is a picture that
// fails, and a folder without pictures among several arguments is skipped if Skipped counts it. The sequence may end with an error: a shard among the sources is damaged or has no
// pictures, which the sequence says after the pictures of the other sources.
func (s Sources) Pictures(
	args ...string,
) (pictures iter.Seq2[Picture, error], count int, err error) {
	var parts []part
	stdin := false
	add := func(from string, expand func(string) (part, error)) error {
		if from == stdinName && stdin {
			return Usagef(`"-" is given twice`)
		}
		stdin = stdin || from == stdinName
		p, err := expand(from)
		if err != nil {
			return err
		}
		parts = append(parts, p)
		return nil
	}
	alone := len(args)+len(s.Lists) == 1 || s.Skipped == nil
	expand := func(arg string) (part, error) { return s.expand(arg, alone) }
	for _, arg := range args {
		if err := add(arg, expand); err != nil {
			return nil, 0, err
		}
	}
	for _, list := range s.Lists {
		if err := add(list, s.listFile); err != nil {
			return nil, 0, err
		}
	}
	if count = countOf(parts); count == 0 && len(args) > 0 {
		return nil, 0, Inputf("there are no %s; skipped: %v",
			s.search().kind.many, s.Skipped)
	}
	return oneAfterAnother(parts), count, nil
}

// oneAfterAnother gives the pictures of all parts, and then their errors: a part that ends with one
// does not end those behind it.
func oneAfterAnother(parts []part) iter.Seq2[Picture, error] {
	return func(yield func(Picture, error) bool) {
		var errs []error
		for _, part := range parts {
			for p, err := range part.pictures {
				if err != nil {
					errs = append(errs, err)
					break
				}
				if !yield(p, nil) {
					return
				}
			}
		}
		if err := errors.Join(errs...); err != nil {
			yield(Picture{}, err)
		}
	}
}

// expand finds what an argument stands for.
func (s Sources) expand(arg string, alone bool) (part, error) {
	if arg == stdinName && s.kind == soundFiles {
		return soundOnStdin(), nil
	}
	if arg == stdinName {
		return s.standardInput()
	}
	return s.expandPath(arg, alone)
}

// expandPath finds what a path or a pattern stands for. A path at which there is nothing is a
// picture that fails. A folder that has none, or cannot be listed, is an error if it is alone;
// otherwise it is skipped.
func (s Sources) expandPath(arg string, alone bool) (part, error) {
	paths, err := s.search().expand(arg)
	if err != nil {
		return part{}, err
	}
	parts := make([]part, len(paths))
	for i, path := range paths {
		if parts[i], err = s.existing(path, alone && len(paths) == 1); err != nil {
			return part{}, err
		}
	}
	if len(parts) == 1 {
		return parts[0], nil
	}
	return part{oneAfterAnother(parts), countOf(parts)}, nil
}

// countOf is how many pictures parts have together.
func countOf(parts []part) int {
	count := 0
	for _, p := range parts {
		if p.count < 0 {
			return -1
		}
		count += p.count
	}
	return count
}

// existing is what a path stands for.
func (s Sources) existing(path string, alone bool) (part, error) {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		files, err := s.search().walk(path)
		if err != nil && !alone && s.Skipped != nil {
			why := skipEmpty + s.search().kind.many
			if errors.Is(err, fs.ErrPermission) {
				why = skipFolder
			}
			s.Skipped.add(path, why)
			err = nil
		}
		return s.files(files...), err
	case err == nil && isShardName(path) && s.kind == soundFiles:
		return part{}, Inputf("%s: shards hold pictures here; unpack it, and give the folder", path)
	case err == nil && isShardName(path):
		return part{s.shard(path), -1}, nil
	}
	return s.files(path), nil
}

func (s Sources) file(path string) Picture {
	load := func() (image.Image, error) { return s.decodeFile(path) }
	if s.kind == soundFiles || s.kind == pageFiles && (IsPaged(path) || IsText(path)) {
		load = func() (image.Image, error) { return nil, s.search().kind.check(path) }
	}
	return Picture{path, path, load}
}

func (s Sources) files(paths ...string) part {
	return part{func(yield func(Picture, error) bool) {
		for _, path := range paths {
			if !yield(s.file(path), nil) {
				return
			}
		}
	}, len(paths)}
}
