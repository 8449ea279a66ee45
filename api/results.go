package api

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/crossattn/xpipe/internal/bom"
)

// Why a results file is refused.
var (
	ErrHasResults = errors.New("it has results already")
	ErrNotRegular = errors.New("it is no regular file")
)

// Results is a file of JSON lines, one for each picture, that a run may leave at any moment and a
// later run go on with: a line is written whole, and a half line that a kill left is removed.
type Results struct {
	file      *os.File
	done      map[string]bool // by their keys
	spellings spellings
}

// OpenResults opens the file at path, and makes it where there is none. To resume is to keep the
// lines that are there; each has to be an object with an "image", else the kind of the error is
// KindInput and the file stays as it is. Without resume, a file with lines gives ErrHasResults.
// Devices and pipes are written to; to resume one gives ErrNotRegular.
func OpenResults(path string, resume bool) (*Results, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	r := &Results{file: f, done: map[string]bool{}, spellings: newSpellings()}
	// A device or a pipe has no results to go on from, and may be read without end.
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		if err == nil && !resume {
			return r, nil
		}
		f.Close()
		return nil, errors.Join(err, fmt.Errorf("%s: %w", path, ErrNotRegular))
	}
	if err := r.read(path, resume); err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

// read takes in the lines that are there and places the next one.
func (r *Results) read(path string, resume bool) error {
	in := bufio.NewReader(r.file)
	if err := bom.Discard(in); err != nil {
		return Inputf("%s: %w", path, err)
	}
	end, err := r.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	end -= int64(in.Buffered())
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err != nil { // the half line, if any
			break
		}
		if !resume {
			return fmt.Errorf("%s: %w", path, ErrHasResults)
		}
		var entry struct {
			Image Name `json:"image"`
		}
		if err := json.Unmarshal(line, &entry); err != nil || entry.Image == "" {
			return Inputf("%s: line %d is no result of this command; it is left as it is", path, n)
		}
		r.done[r.spellings.key(string(entry.Image))] = true
		end += int64(len(line))
	}
	if err := r.file.Truncate(end); err != nil {
		return err
	}
	_, err = r.file.Seek(end, io.SeekStart)
	return err
}

// Done says whether a picture had a line when the file was opened, however its path was spelt
// there: relative paths are meant from the folder where the program runs.
func (r *Results) Done(image string) bool { return r.done[r.spellings.key(image)] }

// Add writes v, such as a Caption or a Failure, as one line in one piece.
func (r *Results) Add(v any) error {
	return WriteJSON(r.file, v)
}

// Close makes sure that the lines are on the disk.
func (r *Results) Close() error {
	info, err := r.file.Stat()
	if err == nil && info.Mode().IsRegular() { // a device or a pipe has nothing to sync
		err = r.file.Sync()
	}
	return errors.Join(err, r.file.Close())
}
