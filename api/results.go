package api

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/crossattn/xpipe/internal/bom"
	"github.com/crossattn/xpipe/internal/filelock"
)

// Why a results file is refused.
var (
	ErrHasResults = errors.New("it has results already")
	ErrNotRegular = errors.New("it is no regular file")
	ErrInUse      = errors.New("it is being written by another xpipe")
	// ErrOtherOrigin says that another model, or other settings, made the lines that are there.
	ErrOtherOrigin = errors.New("it has other results")
)

// ResultsOptions says how OpenResults treats what is there.
type ResultsOptions struct {
	// Resume goes on with the lines that are there. Without it a file that is not empty gives
	// ErrHasResults.
	Resume bool
	// Key is one that lines of this kind have and others lack, such as "caption".
	Key string
	// Lines is how many there are of one picture; one that has fewer is not done. Below 1 it is 1.
	Lines int
	// PerQuestion says that pictures are done question by question.
	PerQuestion bool
	// Origin is that of the lines to come. Lines that say another one give ErrOtherOrigin; those
	// that say none are kept. nil takes any.
	Origin *Origin

	rows func() (int, error) // where each line names a row: how many rows there are
}

// Results is a file of JSON lines about pictures, which a run may leave at any moment and a later
// run go on with. One process has it at a time. The lines of a picture are appended in one write; a
// half line that a kill or a full disk left is removed.
type Results struct {
	path    string
	options ResultsOptions
	file    *os.File
	regular bool
	end     int64 // of the whole lines
	rows    int   // that lines name

	done      map[string]int    // lines of each picture
	failed    map[string][]byte // the lines of pictures that failed before, to be tried again
	remaining int
	spellings spellings
	notes     []string
}

// OpenResults opens the file at path, and makes it where there is none. What is no line of this
// kind is an error of the kind KindInput that names it, and then the file stays as it is.
//
// Lines of pictures that failed are taken out, so that the pictures are tried again; Close puts
// those back that were not. The file is replaced in one step for that: whenever the process dies,
// there is the file from before or the one from after.
//
// Devices and pipes are written to; to resume one gives ErrNotRegular. A file that another process
// writes to gives ErrInUse.
func OpenResults(path string, options ResultsOptions) (*Results, error) {
	r := &Results{
		path: path, options: options, done: map[string]int{}, failed: map[string][]byte{},
		spellings: newSpellings(),
	}
	if err := r.open(); err != nil {
		return nil, err
	}
	if !r.regular {
		if options.Resume {
			r.file.Close()
			return nil, fmt.Errorf("%s: %w", path, ErrNotRegular)
		}
		return r, nil
	}
	if err := r.resume(); err != nil {
		r.file.Close()
		return nil, err
	}
	return r, nil
}

const (
	resultsFlags = os.O_RDWR | os.O_CREATE | os.O_APPEND
	resultsMode  = 0o666
)

// open opens and locks the file. One that is replaced before it is locked is opened anew.
func (r *Results) open() error {
	for {
		f, err := os.OpenFile(r.path, resultsFlags, resultsMode)
		if err != nil {
			return err
		}
		info, err := f.Stat()
		if err != nil {
			f.Close()
			return err
		}
		r.file, r.regular = f, info.Mode().IsRegular()
		if !r.regular { // it has no results to go on from, and may be read without end
			return nil
		}
		if err := r.lock(f); err != nil {
			f.Close()
			return err
		}
		if now, err := os.Stat(r.path); err == nil && os.SameFile(info, now) {
			return nil
		}
		f.Close()
	}
}

func (r *Results) lock(f *os.File) error {
	err := filelock.TryLock(f)
	if errors.Is(err, filelock.ErrLocked) {
		return fmt.Errorf("%s: %w", r.path, ErrInUse)
	}
	if err != nil && len(r.notes) == 0 {
		r.notes = append(r.notes, fmt.Sprintf("%s cannot be locked (%v): let no other process "+
			"write to it meanwhile", r.path, err))
	}
	return nil
}

// entry is what a line says of itself.
type entry struct {
	Image    Name            `json:"image"`
	Audio    Name            `json:"audio"`    // in an image's place
	Document Name            `json:"document"` // so, too
	Text     string          `json:"text"`
	Question string          `json:"question"`
	Error    json.RawMessage `json:"error"`
	Row      *int            `json:"row"`
	*Origin
}

// key is the same for all lines about one thing.
func (r *Results) key(e *entry) string {
	switch {
	case e.Image == "":
		return textKey(e.Text)
	case r.options.PerQuestion && e.Error == nil:
		return r.questionKey(string(e.Image), e.Question)
	}
	return r.spellings.key(string(e.Image))
}

func textKey(text string) string { return "\x00" + text }

func (r *Results) questionKey(image, question string) string {
	return r.spellings.key(image) + "\x00" + question
}

// resume takes in the lines that are there.
func (r *Results) resume() error {
	info, err := r.file.Stat()
	if err != nil {
		return err
	}
	if r.end = info.Size(); r.end == 0 {
		return nil
	}
	if !r.options.Resume {
		return fmt.Errorf("%s: %w", r.path, ErrHasResults)
	}
	drop, err := r.read()
	if err != nil {
		return err
	}
	if len(drop) > 0 {
		return r.rewrite(drop)
	}
	return r.truncate()
}

// read judges the lines. It returns the numbers of those that are to be taken out.
func (r *Results) read() (drop map[int]bool, err error) {
	drop = map[int]bool{}
	rows := 0
	if r.options.rows != nil {
		if rows, err = r.options.rows(); err != nil {
			return nil, err
		}
	}
	unmarked, versions := 0, map[string]int{}
	lines := map[string][]int{} // of pictures that have several
	r.end, err = r.eachLine(func(n int, line []byte) error {
		var e entry
		if !r.parse(line, &e) {
			return Inputf("%s: line %d is no result of this command; the file is left as it is",
				r.path, n)
		}
		if e.Origin == nil || e.Model == "" {
			unmarked++
		} else if want := r.options.Origin; want != nil {
			if says := want.differs(e.Origin); says != "" {
				return fmt.Errorf("%s: line %d was %s: %w", r.path, n, says, ErrOtherOrigin)
			}
			if e.Version != want.Version {
				versions[e.Version]++
			}
		}
		key := r.key(&e)
		switch {
		case e.Error != nil:
			r.failed[key], drop[n] = bytes.Clone(line), true
			return nil
		case r.options.rows == nil:
		case *e.Row >= rows: // the row was lost, with the power
			drop[n] = true
			return nil
		case *e.Row != r.rows:
			return Inputf("%s: line %d is about row %d, where row %d should follow",
				r.path, n, *e.Row, r.rows)
		default:
			r.rows++
		}
		r.done[key]++
		if r.options.Lines > 1 {
			lines[key] = append(lines[key], n)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for key, numbers := range lines {
		if len(numbers) < r.options.Lines {
			delete(r.done, key)
			for _, n := range numbers {
				drop[n] = true
			}
		}
	}
	for key := range r.failed {
		if r.done[key] > 0 {
			delete(r.failed, key)
		}
	}
	if unmarked > 0 {
		r.notes = append(r.notes, fmt.Sprintf("%s: %d lines do not say what made them, as an "+
			"older xpipe wrote them; they are kept", r.path, unmarked))
	}
	for _, version := range slices.Sorted(maps.Keys(versions)) {
		r.notes = append(r.notes, fmt.Sprintf("%s: xpipe %s made %d of the lines that are "+
			"there; this is %s", r.path, version, versions[version], r.options.Origin.Version))
	}
	return drop, nil
}

// parse says whether a line is a result of this kind, or an error in its place.
func (r *Results) parse(line []byte, e *entry) bool {
	err := json.Unmarshal(line, e)
	e.Image = cmp.Or(e.Image, e.Audio, e.Document)
	if err != nil || e.Image == "" && e.Text == "" {
		return false
	}
	if e.Error != nil {
		return true
	}
	if r.options.rows != nil && (e.Row == nil || *e.Row < 0) {
		return false
	}
	if r.options.Key == "" {
		return true
	}
	var keys map[string]json.RawMessage
	return json.Unmarshal(line, &keys) == nil && keys[r.options.Key] != nil
}

// eachLine visits the whole lines, and returns where they end. What follows is half a line, which
// has to begin as one does.
func (r *Results) eachLine(visit func(n int, line []byte) error) (end int64, err error) {
	if _, err := r.file.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	in := bufio.NewReader(r.file)
	if err := bom.Discard(in); err != nil {
		return 0, Inputf("%s: %w", r.path, err)
	}
	if end, err = r.file.Seek(0, io.SeekCurrent); err != nil {
		return 0, err
	}
	end -= int64(in.Buffered())
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		switch {
		case err == nil:
			err = visit(n, line)
		case errors.Is(err, io.EOF):
			if err = nil; !isHalf(line) {
				err = Inputf("%s: line %d is no result of this command, nor the beginning of "+
					"one; the file is left as it is", r.path, n)
			}
			return end, err
		}
		if err != nil {
			return 0, err
		}
		end += int64(len(line))
	}
}

// isHalf says whether a line of results may begin so. Zeros are what some file systems leave of a
// line when the power goes.
func isHalf(line []byte) bool {
	if isZero(line) {
		return true
	}
	for _, start := range []string{`{"image":`, `{"audio":`, `{"document":`, `{"text":`} {
		n := min(len(line), len(start))
		if string(line[:n]) == start[:n] {
			return true
		}
	}
	return false
}

// truncate cuts what lies behind the whole lines.
func (r *Results) truncate() error {
	if runtime.GOOS == "windows" { // where a file that is open to append cannot be cut
		return os.Truncate(r.path, r.end)
	}
	return r.file.Truncate(r.end)
}

// rewrite replaces the file by one without some lines, which is locked before others see it.
func (r *Results) rewrite(drop map[int]bool) error {
	path, err := filepath.EvalSymlinks(r.path)
	if err != nil {
		return err
	}
	info, err := r.file.Stat()
	if err != nil {
		return err
	}
	half := path + ".part"
	f, err := os.OpenFile(half, resultsFlags|os.O_TRUNC, info.Mode().Perm())
	if err != nil {
		return err
	}
	if err = r.lock(f); err == nil {
		f.Chmod(info.Mode().Perm()) // whatever new files have; not all systems can
		err = r.copyLines(f, drop)
	}
	if err == nil && runtime.GOOS == "windows" { // which renames no file that is open
		f.Close()
		r.file.Close()
		if err = os.Rename(half, path); err == nil {
			return r.open()
		}
	} else if err == nil {
		err = os.Rename(half, path)
	}
	if err != nil {
		f.Close()
		os.Remove(half)
		return err
	}
	r.file.Close()
	r.file = f
	return nil
}

// copyLines writes the lines that stay to the disk.
func (r *Results) copyLines(to *os.File, drop map[int]bool) error {
	out := bufio.NewWriter(to)
	var size int64
	_, err := r.eachLine(func(n int, line []byte) error {
		if drop[n] {
			return nil
		}
		size += int64(len(line))
		_, err := out.Write(line)
		return err
	})
	if err == nil {
		err = out.Flush()
	}
	if err == nil {
		err = to.Sync()
	}
	r.end = size
	return err
}

// Notes are what the user should know of the lines that are there, and of the lock.
func (r *Results) Notes() []string { return r.notes }

// Done says whether a picture had its lines when the file was opened, however its path was spelt
// there: relative paths are meant from the folder where the program runs.
func (r *Results) Done(image string) bool { return r.done[r.spellings.key(image)] > 0 }

// DoneQuestion is Done for one question about a picture, with PerQuestion.
func (r *Results) DoneQuestion(image, question string) bool {
	return r.done[r.questionKey(image, question)] > 0
}

// DoneText is Done for a text, of which embed writes lines.
func (r *Results) DoneText(text string) bool { return r.done[textKey(text)] > 0 }

// Add writes the lines about a picture, such as a Caption or a Failure, in one piece. image is ""
// for lines about texts.
func (r *Results) Add(image string, lines ...any) error {
	var all bytes.Buffer
	for _, line := range lines {
		if err := WriteJSON(&all, line); err != nil {
			return err
		}
	}
	delete(r.failed, r.spellings.key(image))
	return r.append(all.Bytes())
}

func (r *Results) append(data []byte) error {
	n, err := r.file.Write(data)
	if err == nil {
		r.end += int64(n)
	} else if r.regular { // no half line stays; where it does, the next run removes it
		err = errors.Join(err, r.truncate())
	}
	return err
}

// Remaining is how many pictures failed in earlier runs and were not tried again in this one. Their
// lines are in the file again, once it is closed.
func (r *Results) Remaining() int { return r.remaining }

// Close puts the lines back of pictures that failed before and were not tried again, and makes sure
// that all lines are on the disk.
func (r *Results) Close() error {
	var back bytes.Buffer
	for _, key := range slices.Sorted(maps.Keys(r.failed)) {
		back.Write(r.failed[key])
	}
	var err error
	if r.remaining = len(r.failed); back.Len() > 0 {
		r.failed = nil
		err = r.append(back.Bytes())
	}
	if err == nil && r.regular { // a device or a pipe has nothing to sync
		err = r.file.Sync()
	}
	return errors.Join(err, r.file.Close())
}
