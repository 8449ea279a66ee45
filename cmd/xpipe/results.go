package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// resultFile is a file of JSON lines, one for each picture, that a run may
// leave at any moment and a later run go on with: a line is written whole, and
// a half line that a kill left is removed.
type resultFile struct {
	file *os.File
	done map[string]bool // pictures that have a line
}

// openResults opens the file at path. Without resume it must be new or empty.
func openResults(path string, resume bool) (*resultFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	r := &resultFile{file: f, done: map[string]bool{}}
	// A device or a pipe has no results to go on from, and may be read without end.
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		if err == nil && !resume {
			return r, nil
		}
		f.Close()
		return nil, errors.Join(err, usagef("%s is no regular file; --resume needs one", path))
	}
	if err := r.read(path, resume); err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

// read takes in the lines that are there and places the next one.
func (r *resultFile) read(path string, resume bool) error {
	in := bufio.NewReader(r.file)
	var end int64
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err != nil { // the half line, if any
			break
		}
		if !resume {
			return usagef("%s has results already; --resume goes on with them", path)
		}
		var entry struct {
			Image string `json:"image"`
		}
		if err := json.Unmarshal(line, &entry); err != nil || entry.Image == "" {
			return inputError{fmt.Errorf("%s: line %d is no result of this command; it is left as it is", path, n)}
		}
		r.done[entry.Image] = true
		end += int64(len(line))
	}
	if err := r.file.Truncate(end); err != nil {
		return err
	}
	_, err := r.file.Seek(end, io.SeekStart)
	return err
}

// add writes one line in one piece.
func (r *resultFile) add(v any) error {
	var line bytes.Buffer
	e := json.NewEncoder(&line)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := r.file.Write(line.Bytes())
	return err
}

func (r *resultFile) Close() error {
	info, err := r.file.Stat()
	if err == nil && info.Mode().IsRegular() { // a device or a pipe has nothing to sync
		err = r.file.Sync()
	}
	return errors.Join(err, r.file.Close())
}
