package main

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

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/vision"
)

// picture is one picture that a verb is asked about, not decoded yet.
type picture struct {
	name string
	load func() (image.Image, error)
}

// pictureSuffixes are the files taken from folders and shards; a file named
// on the command line may have any name.
var pictureSuffixes = []string{".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"}

func isPictureName(name string) bool {
	return slices.Contains(pictureSuffixes, strings.ToLower(filepath.Ext(name)))
}

// shardLimit bounds a picture inside a .tar, which is read into memory.
var shardLimit = pipeline.DefaultLimits().ImageBytes

// pictures lists what the arguments of a verb name: files, folders (every
// picture in and below them, by name), glob patterns, .tar shards as WebDataset
// makes them, and "-". The count is -1 where it is known only at the end.
//
// Standard input is a picture, or a list of files, one a line.
func (env *environment) pictures(args []string) (seq iter.Seq2[picture, error], count int, err error) {
	var parts []iter.Seq2[picture, error]
	var stdin bool
	for _, arg := range args {
		part, n, err := env.expand(arg)
		if err != nil {
			return nil, 0, err
		}
		if arg == "-" {
			if stdin {
				return nil, 0, usagef(`"-" is given twice`)
			}
			stdin = true
		}
		if parts = append(parts, part); n < 0 || count < 0 {
			count = -1
		} else {
			count += n
		}
	}
	return func(yield func(picture, error) bool) {
		for _, part := range parts {
			for p, err := range part {
				if !yield(p, err) {
					return
				}
			}
		}
	}, count, nil
}

func (env *environment) expand(arg string) (iter.Seq2[picture, error], int, error) {
	if arg == "-" {
		return env.standardInput()
	}
	info, err := os.Stat(arg)
	switch {
	case err == nil && info.IsDir():
		files, err := walkPictures(arg)
		return filePictures(files), len(files), err
	case err == nil && strings.EqualFold(filepath.Ext(arg), ".tar"):
		return shardPictures(arg), -1, nil
	case err != nil && strings.ContainsAny(arg, "*?["):
		files, globErr := filepath.Glob(arg)
		if globErr != nil {
			return nil, 0, usagef("pattern %q: %w", arg, globErr)
		}
		if len(files) == 0 {
			return nil, 0, inputError{fmt.Errorf("no file matches %q", arg)}
		}
		return filePictures(files), len(files), nil
	}
	return filePictures([]string{arg}), 1, nil
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
	if err != nil {
		return nil, inputError{err}
	}
	return files, nil
}

func filePictures(files []string) iter.Seq2[picture, error] {
	return func(yield func(picture, error) bool) {
		for _, file := range files {
			if !yield(picture{file, func() (image.Image, error) { return decodeFile(file) }}, nil) {
				return
			}
		}
	}
}

// pictureLimits are those of the pipeline, which every picture goes to.
var pictureLimits = vision.WithLimits(pipeline.DefaultLimits().Vision())

// decodeFile decodes a picture file.
func decodeFile(path string) (image.Image, error) {
	img, err := vision.DecodeFile(path, pictureLimits)
	if err != nil {
		return nil, err
	}
	return img, nil
}

// shardPictures lists the pictures of a .tar as FILE.tar/MEMBER. They are read
// as the list goes on, so a shard needs no more memory than its pictures in
// progress.
func shardPictures(path string) iter.Seq2[picture, error] {
	return func(yield func(picture, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(picture{}, inputError{err})
			return
		}
		defer f.Close()
		for r := tar.NewReader(f); ; {
			header, err := r.Next()
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(picture{}, inputError{fmt.Errorf("%s: damaged shard: %w", path, err)})
				return
			}
			if header.Typeflag != tar.TypeReg || !isPictureName(header.Name) {
				continue
			}
			name := path + "/" + header.Name
			data, err := io.ReadAll(io.LimitReader(r, shardLimit+1))
			load := func() (image.Image, error) {
				switch {
				case err != nil:
					return nil, inputError{fmt.Errorf("%s: %w", name, err)}
				case int64(len(data)) > shardLimit:
					return nil, fmt.Errorf("%w: %s: more than %d bytes", vision.ErrLimit, name, shardLimit)
				}
				return decodeReader(name, bytes.NewReader(data))
			}
			if !yield(picture{name, load}, nil) {
				return
			}
		}
	}
}

func decodeReader(name string, r io.Reader) (image.Image, error) {
	img, err := vision.Decode(r, pictureLimits)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return img, nil
}

// standardInput is one picture, or a list of files.
func (env *environment) standardInput() (iter.Seq2[picture, error], int, error) {
	in := bufio.NewReader(env.stdin)
	start, err := in.Peek(16)
	if len(start) == 0 {
		if err == nil || errors.Is(err, io.EOF) {
			err = errors.New("it is empty")
		}
		return nil, 0, inputError{fmt.Errorf("standard input: %w", err)}
	}
	if !looksLikeText(start) {
		return func(yield func(picture, error) bool) {
			yield(picture{"-", func() (image.Image, error) { return decodeReader("standard input", in) }}, nil)
		}, 1, nil
	}
	return func(yield func(picture, error) bool) {
		lines := bufio.NewScanner(in)
		for lines.Scan() {
			file := strings.TrimSpace(lines.Text())
			if file == "" {
				continue
			}
			if !yield(picture{file, func() (image.Image, error) { return decodeFile(file) }}, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(picture{}, inputError{fmt.Errorf("standard input: %w", err)})
		}
	}, -1, nil
}

// looksLikeText tells a list of files from a picture: every picture format has
// a byte outside printable ASCII among its first, or one of these signatures.
func looksLikeText(start []byte) bool {
	for _, signature := range []string{"GIF8", "RIFF", "BM", "II*", "MM"} {
		if bytes.HasPrefix(start, []byte(signature)) {
			return false
		}
	}
	return !bytes.ContainsFunc(start, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' })
}
