// Package dicom reads medical pictures: their record and their frames, as pydicom reads them.
//
// Stored values go the way of the standard (PS3.3, C.7.6.3, C.11.1, C.11.2): RescaleSlope and
// RescaleIntercept or the Modality LUT, then the VOI LUT or the first window, to 0..255; MONOCHROME1 is
// turned over. Transfer syntaxes: uncompressed, little and big endian and deflated; RLE; JPEG baseline
// of 8 bits. Others are refused by name. The reader of the file is github.com/suyashkumar/dicom.
//
// What this package and the models behind it say of a picture of a patient is no diagnosis: xpipe is
// not a medical device.
package dicom

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"math"
	"strconv"
	"strings"

	lib "github.com/suyashkumar/dicom"
	"github.com/suyashkumar/dicom/pkg/tag"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/media"
)

// Bounds of what is read.
const (
	mostBytes  = 1 << 30
	mostPixels = 1 << 27 // of a frame
	mostFrames = 100_000
)

// The transfer syntaxes that are read, and names of others.
const (
	implicitLittle = "1.2.840.10008.1.2"
	explicitLittle = "1.2.840.10008.1.2.1"
	deflated       = "1.2.840.10008.1.2.1.99"
	explicitBig    = "1.2.840.10008.1.2.2"
	jpegBaseline   = "1.2.840.10008.1.2.4.50"
	rleLossless    = "1.2.840.10008.1.2.5"
)

var names = map[string]string{
	"1.2.840.10008.1.2.4.51":  "JPEG Extended (12 bits)",
	"1.2.840.10008.1.2.4.57":  "JPEG Lossless",
	"1.2.840.10008.1.2.4.70":  "JPEG Lossless, first-order prediction",
	"1.2.840.10008.1.2.4.80":  "JPEG-LS Lossless",
	"1.2.840.10008.1.2.4.81":  "JPEG-LS Near-lossless",
	"1.2.840.10008.1.2.4.90":  "JPEG 2000 Lossless",
	"1.2.840.10008.1.2.4.91":  "JPEG 2000",
	"1.2.840.10008.1.2.4.100": "MPEG-2",
	"1.2.840.10008.1.2.4.102": "MPEG-4 AVC/H.264",
	"1.2.840.10008.1.2.4.201": "HTJ2K Lossless",
	"1.2.840.10008.1.2.4.202": "HTJ2K Lossless RPCL",
	"1.2.840.10008.1.2.4.203": "HTJ2K",
}

// File is a DICOM file, whole in memory. Its methods may be called at once.
type File struct {
	set     lib.Dataset
	syntax  string
	pixels  lib.PixelDataInfo
	hasData bool

	rows, columns, samples, frames  int
	allocated, stored, high, planar int
	signed                          bool
	photometric                     string
}

var _ document.Paged = (*File)(nil)

// Is reports whether a file begins as DICOM files do: 128 bytes of anything, then "DICM".
func Is(head []byte) bool { return len(head) >= 132 && string(head[128:132]) == "DICM" }

// Open reads a file by name.
func Open(name string) (*File, error) {
	data, err := document.ReadFile(name, mostBytes)
	if err != nil {
		return nil, err
	}
	file, err := New(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return file, nil
}

// New reads a file. Errors wrap document.ErrDocument or document.ErrLimit.
func New(data []byte) (file *File, err error) {
	if len(data) > mostBytes {
		return nil, &media.LimitError{Text: "a DICOM file of more than 1 GiB"}
	}
	if !Is(data) {
		return nil, fmt.Errorf("%w: no DICOM file: it does not have DICM behind its first 128 bytes", document.ErrDocument)
	}
	defer func() {
		if v := recover(); v != nil {
			file, err = nil, fmt.Errorf("%w: the DICOM file is damaged: %v", document.ErrDocument, v)
		}
	}()
	if err := bounded(data); err != nil {
		return nil, err
	}
	set, err := lib.Parse(bytes.NewReader(data), int64(len(data)), nil,
		lib.SkipProcessingPixelDataValue(), lib.AllowUnknownSpecificCharacterSet(), lib.AllowMissingMetaElementGroupLength())
	if err != nil {
		return nil, fmt.Errorf("%w: the DICOM file is damaged: %w", document.ErrDocument, err)
	}
	f := &File{set: set, syntax: strings.TrimRight(text(set, tag.TransferSyntaxUID), " \x00")}
	if e, err := set.FindElementByTag(tag.PixelData); err == nil {
		if info, ok := e.Value.GetValue().(lib.PixelDataInfo); ok {
			f.pixels, f.hasData = info, true
		}
	}
	return f, f.describe()
}

// bounded refuses files of which an element claims more bytes than there are: the library makes room for
// what is claimed. It walks the elements that are not in others, up to one whose length is not stated.
func bounded(data []byte) error {
	syntax := explicitLittle
	for at := 132; at+8 <= len(data); {
		order, explicit := binary.ByteOrder(binary.LittleEndian), true
		if binary.LittleEndian.Uint16(data[at:]) != 2 { // behind the file's own group
			switch syntax {
			case deflated:
				return nil
			case implicitLittle:
				explicit = false
			case explicitBig:
				order = binary.BigEndian
			}
		}
		length, head := uint64(order.Uint32(data[at+4:])), uint64(8)
		if explicit {
			switch string(data[at+4 : at+6]) {
			case "OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV":
				if at+12 > len(data) {
					return nil
				}
				length, head = uint64(order.Uint32(data[at+8:])), 12
			default:
				length = uint64(order.Uint16(data[at+6:]))
			}
		}
		if length == math.MaxUint32 {
			return nil
		}
		next := uint64(at) + head + length
		if next > uint64(len(data)) {
			return fmt.Errorf("%w: the DICOM file ends within element %04x,%04x", document.ErrDocument,
				order.Uint16(data[at:]), order.Uint16(data[at+2:]))
		}
		if binary.LittleEndian.Uint32(data[at:]) == 0x00100002 { // TransferSyntaxUID
			syntax = strings.TrimRight(string(data[uint64(at)+head:next]), " \x00")
		}
		at = int(next)
	}
	return nil
}

// describe reads what the pixels are.
func (f *File) describe() error {
	number := func(t tag.Tag, missing int) int {
		if v, ok := ints(f.set, t); ok && len(v) > 0 {
			return v[0]
		}
		return missing
	}
	f.rows, f.columns = number(tag.Rows, 0), number(tag.Columns, 0)
	f.samples = number(tag.SamplesPerPixel, 1)
	f.allocated = number(tag.BitsAllocated, 0)
	f.stored = number(tag.BitsStored, f.allocated)
	f.high = number(tag.HighBit, f.stored-1)
	f.planar = number(tag.PlanarConfiguration, 0)
	f.signed = number(tag.PixelRepresentation, 0) == 1
	f.photometric = strings.TrimRight(text(f.set, tag.PhotometricInterpretation), " \x00")
	f.frames = 1
	if s := strings.TrimSpace(text(f.set, tag.NumberOfFrames)); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > mostFrames {
			return fmt.Errorf("%w: NumberOfFrames is %q", document.ErrDocument, s)
		}
		f.frames = n
	}
	if !f.hasData {
		return nil
	}
	if f.rows*f.columns > mostPixels {
		return &media.LimitError{Text: fmt.Sprintf("frames of %d by %d pixels, the limit is %d pixels", f.columns, f.rows, mostPixels)}
	}
	switch {
	case f.rows < 1 || f.columns < 1:
		return fmt.Errorf("%w: the DICOM file has pixels, and %d rows and %d columns", document.ErrDocument, f.rows, f.columns)
	case f.samples != 1 && f.samples != 3:
		return fmt.Errorf("%w: %d samples a pixel: 1 and 3 are read", document.ErrDocument, f.samples)
	case f.allocated != 8 && f.allocated != 16 && f.allocated != 32:
		return fmt.Errorf("%w: %d bits a sample: 8, 16 and 32 are read", document.ErrDocument, f.allocated)
	case f.stored < 1 || f.stored > f.allocated || f.high < f.stored-1 || f.high >= f.allocated:
		return fmt.Errorf("%w: %d bits are stored in %d, up to bit %d", document.ErrDocument, f.stored, f.allocated, f.high)
	}
	return nil
}

// Pages returns the number of frames; 0 where the file has no pixels, such as a report.
func (f *File) Pages() int {
	if !f.hasData {
		return 0
	}
	return f.frames
}

// Page returns the size of a frame, in pixels: it has no words.
func (f *File) Page(_ context.Context, n int) (*document.Page, error) {
	if err := f.frame(n); err != nil {
		return nil, err
	}
	return &document.Page{Number: n, Width: float64(f.columns), Height: float64(f.rows)}, nil
}

func (f *File) frame(n int) error {
	if n < 1 || n > f.Pages() {
		return fmt.Errorf("%w: there is no frame %d: the DICOM file has %d", document.ErrDocument, n, f.Pages())
	}
	return nil
}

// Outline is empty.
func (f *File) Outline() []document.Mark { return nil }

// Close does nothing.
func (f *File) Close() error { return nil }

// Info has the texts of the record by their keywords, such as "Modality"; see Record for all of it.
func (f *File) Info() document.Info {
	info := document.Info{Format: "DICOM", Other: map[string]string{}}
	for _, e := range f.Record() {
		if e.Keyword != "" && len(e.Value) > 0 && len(e.Value) <= 64 {
			info.Other[e.Keyword] = strings.Join(e.Value, `\`)
		}
	}
	info.Title, info.Created = info.Other["StudyDescription"], info.Other["StudyDate"]
	return info
}

// Element of the record.
type Element struct {
	Tag     string   `json:"tag"` // such as "0010,0010"
	Keyword string   `json:"keyword,omitempty"`
	VR      string   `json:"vr"`
	Value   []string `json:"value,omitempty"`
	// Items of a sequence.
	Items [][]Element `json:"items,omitempty"`
}

// Record returns the elements of the file but for its pixels and other bytes. It says who the patient
// is: whoever hands it on has to know that.
func (f *File) Record() []Element { return record(f.set.Elements, 0) }

func record(all []*lib.Element, depth int) (out []Element) {
	for _, e := range all {
		r := Element{Tag: fmt.Sprintf("%04x,%04x", e.Tag.Group, e.Tag.Element), VR: e.RawValueRepresentation}
		if info, err := tag.Find(e.Tag); err == nil {
			r.Keyword = info.Keyword
		}
		if e.Value == nil || e.Tag == tag.PixelData {
			continue
		}
		switch v := e.Value.GetValue().(type) {
		case []string:
			for _, s := range v {
				r.Value = append(r.Value, strings.TrimRight(s, " \x00"))
			}
		case []int:
			for _, n := range v[:min(len(v), 4096)] {
				r.Value = append(r.Value, strconv.Itoa(n))
			}
		case []float64:
			for _, x := range v[:min(len(v), 4096)] {
				r.Value = append(r.Value, strconv.FormatFloat(x, 'g', -1, 64))
			}
		case []*lib.SequenceItemValue:
			if depth < 16 {
				for _, item := range v {
					if parts, ok := item.GetValue().([]*lib.Element); ok {
						r.Items = append(r.Items, record(parts, depth+1))
					}
				}
			}
		default: // bytes
			continue
		}
		out = append(out, r)
	}
	return out
}

// text returns the first string of an element; "" where there is none.
func text(set lib.Dataset, t tag.Tag) string {
	if e, err := set.FindElementByTag(t); err == nil {
		if v, ok := e.Value.GetValue().([]string); ok && len(v) > 0 {
			return v[0]
		}
	}
	return ""
}

func ints(set lib.Dataset, t tag.Tag) ([]int, bool) {
	if e, err := set.FindElementByTag(t); err == nil {
		v, ok := e.Value.GetValue().([]int)
		return v, ok
	}
	return nil, false
}

// decimal returns the first number of an element that is text (DS).
func decimal(set lib.Dataset, t tag.Tag) (float64, bool) {
	x, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimRight(text(set, t), "\x00")), 64)
	return x, err == nil && !math.IsNaN(x) && !math.IsInf(x, 0)
}

// Render returns frame n, from 1, as a picture of its pixels, whatever dpi is.
func (f *File) Render(_ context.Context, n int, _ float64) (*image.RGBA, error) {
	stored, err := f.Stored(n)
	if err != nil {
		return nil, err
	}
	return f.show(stored)
}

// errNamed refuses a transfer syntax.
func (f *File) errNamed() error {
	name := names[f.syntax]
	if name == "" {
		name = "unknown"
	}
	return fmt.Errorf("%w: the pixels are in transfer syntax %s (%s), which is not read: uncompressed, RLE and JPEG baseline are; "+
		"convert the file with gdcmconv --raw or dcmdjpeg", document.ErrDocument, f.syntax, name)
}

var errShort = errors.New("the pixels end too soon")
