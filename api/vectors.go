package api

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/crossattn/xpipe/tensor"
)

// VectorRow is the line about a row of an array of vectors: the picture, sound or text whose vector it
// is.
type VectorRow struct {
	Image Name   `json:"image,omitempty"`
	Audio Name   `json:"audio,omitempty"`
	Text  string `json:"text,omitempty"`
	Row   int    `json:"row"` // from 0
	*Origin
}

// Vectors is an .npy file, float32 [N,E], to which rows are added, and Results beside it that name
// the rows: x.names.jsonl of x.npy. A row is written before its line, and the header says how many
// rows there are at any time, so that both can be read and gone on with whatever ended the run.
type Vectors struct {
	*Results
	path  string
	file  *os.File
	width int // 0 until the first row
	rows  int
}

// npyHeader is the length in bytes of the header of float32 [N,E].
const npyHeader = 128

// VectorNames is the path of the file that names the rows of an .npy file.
func VectorNames(path string) string { return strings.TrimSuffix(path, ".npy") + ".names.jsonl" }

// OpenVectors opens an .npy file and the Results beside it, with the errors of OpenResults. To
// resume is to go on with the rows that have a line.
func OpenVectors(path string, options ResultsOptions) (*Vectors, error) {
	v := &Vectors{path: path}
	if info, err := os.Stat(path); err == nil {
		_, named := os.Stat(VectorNames(path))
		switch {
		case !info.Mode().IsRegular():
			return nil, fmt.Errorf("%s: %w", path, ErrNotRegular)
		case info.Size() == 0:
		case !options.Resume:
			return nil, fmt.Errorf("%s: %w", path, ErrHasResults)
		case named != nil:
			return nil, Inputf("%s: there is no %s, which would name its rows; move it away, or "+
				"write to another file", path, VectorNames(path))
		}
	}
	options.rows = v.open
	var err error
	if v.Results, err = OpenResults(VectorNames(path), options); err != nil {
		v.close()
		return nil, err
	}
	if v.file == nil { // there were no names to read
		_, err = v.open()
	}
	if err == nil {
		err = v.keep(v.Results.rows)
	}
	if err != nil {
		v.close()
		v.Results.Close()
		return nil, err
	}
	return v, nil
}

// keep cuts the rows that have no line.
func (v *Vectors) keep(rows int) error {
	if v.rows = rows; rows == 0 {
		v.width = 0
		return v.file.Truncate(0)
	}
	if err := v.file.Truncate(v.size(rows)); err != nil {
		return err
	}
	return v.writeHeader()
}

func (v *Vectors) size(rows int) int64 { return npyHeader + int64(rows)*int64(v.width)*4 }

var (
	npyStart = []byte("\x93NUMPY\x01\x00\x76\x00") // version 1.0, and the header's length
	npyShape = regexp.MustCompile(
		`^\{'descr': '<f4', 'fortran_order': False, 'shape': \(\d+, (\d+)\), \}`)
)

// open opens the array, whose names are locked, and returns how many rows are whole.
func (v *Vectors) open() (rows int, err error) {
	v.file, err = os.OpenFile(v.path, os.O_RDWR|os.O_CREATE, resultsMode)
	if err != nil {
		return 0, err
	}
	info, err := v.file.Stat()
	if err != nil || info.Size() == 0 {
		return 0, err
	}
	header := make([]byte, npyHeader)
	n, err := v.file.ReadAt(header, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if n < npyHeader || isZero(header) { // the disk was full before there was a row
		return 0, nil
	}
	dict, starts := bytes.CutPrefix(header, npyStart)
	found := npyShape.FindSubmatch(dict)
	if !starts || found == nil {
		return 0, Inputf("%s is no array of vectors that this command wrote; "+
			"the file is left as it is", v.path)
	}
	if v.width, err = strconv.Atoi(string(found[1])); err != nil || v.width < 1 ||
		v.width > math.MaxInt32 {
		return 0, Inputf("%s: its header says vectors of %s numbers", v.path, found[1])
	}
	return int((info.Size() - npyHeader) / (int64(v.width) * 4)), nil
}

// Add writes a vector, and the line about it. The line's Row is set.
func (v *Vectors) Add(line VectorRow, vector []float32) error {
	if v.width == 0 {
		v.width = len(vector)
	}
	if len(vector) != v.width || v.width == 0 {
		return fmt.Errorf("%s has vectors of %d numbers, and the model gives %d",
			v.path, v.width, len(vector))
	}
	data := make([]byte, 0, 4*len(vector))
	for _, x := range vector {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
	}
	if _, err := v.file.WriteAt(data, v.size(v.rows)); err != nil {
		return err
	}
	line.Row = v.rows
	v.rows++
	if err := v.writeHeader(); err != nil {
		return err
	}
	return v.Results.Add(string(cmp.Or(line.Image, line.Audio)), line)
}

// AddFailure writes the line of a picture that failed and has no row.
func (v *Vectors) AddFailure(line Failure) error { return v.Results.Add(string(line.Image), line) }

func (v *Vectors) writeHeader() error {
	header, err := tensor.NpyHeader(tensor.Float32, v.rows, v.width)
	if err == nil {
		_, err = v.file.WriteAt(header, 0)
	}
	return err
}

func (v *Vectors) close() {
	if v.file != nil {
		v.file.Close()
	}
}

// Close makes sure that the rows, and then their lines, are on the disk. An array without rows is
// removed.
func (v *Vectors) Close() error {
	err := v.file.Sync()
	err = errors.Join(err, v.file.Close())
	if v.rows == 0 && err == nil {
		err = os.Remove(v.path)
	}
	return errors.Join(err, v.Results.Close())
}
