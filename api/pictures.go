package api

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/internal/bom"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/vision"
)

// Picture is one picture by its name, not decoded yet.
type Picture struct {
	// Name is the path of a file, SHARD.tar/MEMBER for one in a shard, or "-" for standard input.
	Name string
	// Load decodes the picture, once. Errors name it.
	Load func() (image.Image, error)
}

// pictureSuffixes are the files taken from folders and shards; a file that is named itself may have
// any name.
var pictureSuffixes = []string{".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"}

func isPictureName(name string) bool {
	return slices.Contains(pictureSuffixes, strings.ToLower(filepath.Ext(name)))
}

// Sources finds and decodes pictures by what names them.
type Sources struct {
	// Stdin is what "-" stands for; nil is empty.
	Stdin io.Reader
	// Limits bound the pictures; the zero value stands for pipeline's defaults.
	Limits pipeline.Limits
}

// LoadPicture decodes the picture in a file, or with "-" that on standard input.
func (s Sources) LoadPicture(name string) (image.Image, error) {
	if name == "-" {
		return s.decode("standard input", s.stdin())
	}
	return s.decodeFile(name)
}

func (s Sources) decodeFile(path string) (image.Image, error) {
	img, err := vision.DecodeFile(path, vision.WithLimits(s.Limits.Vision()))
	if err != nil {
		return nil, err
	}
	return img, nil
}

// Files are the pictures in files, one a name, with "-" for standard input.
func (s Sources) Files(names ...string) iter.Seq[Picture] {
	return func(yield func(Picture) bool) {
		for _, name := range names {
			load := func() (image.Image, error) { return s.LoadPicture(name) }
			if !yield(Picture{name, load}) {
				return
			}
		}
	}
}

// LoadBatches decodes pictures, at most n at once, so that no more than those are in memory. The
// sequence ends with the first error.
func LoadBatches(pictures iter.Seq[Picture], n int) iter.Seq2[[]image.Image, error] {
	return func(yield func([]image.Image, error) bool) {
		var batch []image.Image
		for p := range pictures {
			img, err := p.Load()
			if err != nil {
				yield(nil, err)
				return
			}
			if batch = append(batch, img); len(batch) >= n {
				if !yield(batch, nil) {
					return
				}
				batch = nil
			}
		}
		if len(batch) > 0 {
			yield(batch, nil)
		}
	}
}

// Pictures are those that arguments stand for, in order: files, folders (each picture in and below
// them, by name), glob patterns, .tar shards as WebDataset makes them, and "-". Standard input
// holds a picture, or a list of files, one a line. The count is -1 where only the end tells it.
//
// An argument that stands for nothing is an error at once. Where the sequence gives an error, the
// source is damaged and the sequence ends.
func (s Sources) Pictures(
	args ...string,
) (pictures iter.Seq2[Picture, error], count int, err error) {
	var parts []iter.Seq2[Picture, error]
	stdin := false
	for _, arg := range args {
		if arg == "-" && stdin {
			return nil, 0, Usagef(`"-" is given twice`)
		}
		stdin = stdin || arg == "-"
		part, n, err := s.expand(arg)
		if err != nil {
			return nil, 0, err
		}
		if parts = append(parts, part); n < 0 || count < 0 {
			count = -1
		} else {
			count += n
		}
	}
	return func(yield func(Picture, error) bool) {
		for _, part := range parts {
			for p, err := range part {
				if !yield(p, err) {
					return
				}
			}
		}
	}, count, nil
}

func (s Sources) expand(arg string) (iter.Seq2[Picture, error], int, error) {
	if arg == "-" {
		return s.standardInput()
	}
	info, err := os.Stat(arg)
	switch {
	case err == nil && info.IsDir():
		files, err := walkPictures(arg)
		return s.files(files), len(files), err
	case err == nil && strings.EqualFold(filepath.Ext(arg), ".tar"):
		return s.shard(arg), -1, nil
	case err != nil && strings.ContainsAny(arg, "*?["):
		files, globErr := filepath.Glob(arg)
		if globErr != nil {
			return nil, 0, Usagef("pattern %q: %w", arg, globErr)
		}
		if len(files) == 0 {
			return nil, 0, Inputf("no file matches %q", arg)
		}
		return s.files(files), len(files), nil
	}
	return s.files([]string{arg}), 1, nil
}

// walkPictures lists the pictures in and below a folder.
func walkPictures(dir string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && isPictureName(path) {
			files = append(files, path)
		}
		return err
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s: no pictures in it (%s)", dir, strings.Join(pictureSuffixes, " "))
	}
	return files, WithKind(err, KindInput)
}

func (s Sources) file(path string) Picture {
	return Picture{path, func() (image.Image, error) { return s.decodeFile(path) }}
}

func (s Sources) files(paths []string) iter.Seq2[Picture, error] {
	return func(yield func(Picture, error) bool) {
		for _, path := range paths {
			if !yield(s.file(path), nil) {
				return
			}
		}
	}
}

// shard lists the pictures of a .tar as SHARD.tar/MEMBER. They are read as the list goes on, so a
// shard takes no more memory than its pictures in progress.
func (s Sources) shard(path string) iter.Seq2[Picture, error] {
	most := s.Limits.Vision().Bytes // of a picture, which is read into memory
	return func(yield func(Picture, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(Picture{}, WithKind(err, KindInput))
			return
		}
		defer f.Close()
		for r := tar.NewReader(f); ; {
			header, err := r.Next()
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(Picture{}, Inputf("%s: damaged shard: %w", path, err))
				return
			}
			if header.Typeflag != tar.TypeReg || !isPictureName(header.Name) {
				continue
			}
			name := path + "/" + header.Name
			data, err := io.ReadAll(limit(r, most))
			load := func() (image.Image, error) {
				switch {
				case err != nil:
					return nil, Inputf("%s: %w", name, err)
				case int64(len(data)) > most:
					return nil, fmt.Errorf("%w: %s: more than %d bytes",
						vision.ErrLimit, name, most)
				}
				return s.decode(name, bytes.NewReader(data))
			}
			if !yield(Picture{name, load}, nil) {
				return
			}
		}
	}
}

// limit reads one byte more than the most there may be, which tells that there are more.
func limit(r io.Reader, most int64) io.Reader {
	return io.LimitReader(r, max(most, most+1)) // the greatest number has none above it
}

func (s Sources) decode(name string, r io.Reader) (image.Image, error) {
	img, err := vision.Decode(r, vision.WithLimits(s.Limits.Vision()))
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

// standardInput is one picture, or a list of files.
func (s Sources) standardInput() (iter.Seq2[Picture, error], int, error) {
	in, err := bom.NewReader(s.stdin())
	if err != nil {
		return nil, 0, Inputf("standard input: %w", err)
	}
	start, err := in.Peek(16)
	if len(start) == 0 {
		if err == nil || errors.Is(err, io.EOF) {
			err = errors.New("it is empty")
		}
		return nil, 0, Inputf("standard input: %w", err)
	}
	if !looksLikeText(start) {
		load := func() (image.Image, error) { return s.decode("standard input", in) }
		return func(yield func(Picture, error) bool) { yield(Picture{"-", load}, nil) }, 1, nil
	}
	return func(yield func(Picture, error) bool) {
		lines := bufio.NewScanner(in)
		for lines.Scan() {
			path := strings.TrimSpace(lines.Text())
			if path != "" && !yield(s.file(path), nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(Picture{}, Inputf("standard input: %w", err))
		}
	}, -1, nil
}

// looksLikeText tells a list of files from a picture: each picture format has a byte outside
// printable ASCII among its first, or one of these signatures.
func looksLikeText(start []byte) bool {
	for _, signature := range []string{"GIF8", "RIFF", "BM", "II*", "MM"} {
		if bytes.HasPrefix(start, []byte(signature)) {
			return false
		}
	}
	return !bytes.ContainsFunc(start, func(r rune) bool {
		return r < ' ' && r != '\n' && r != '\r' && r != '\t'
	})
}
