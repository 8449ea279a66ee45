// Package office reads files whose text has structure of its own: DOCX, PPTX, XLSX, HTML, Markdown, CSV
// and plain text. They become blocks in the order of the file; slides and sheets are pages.
//
// Archives and markup are bounded before they are unpacked, nothing that a file points to is fetched,
// and macros, scripts and formulas are not run: of a formula the value is read that was saved with it.
package office

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/media"
)

// Bounds of what is read.
const (
	mostBytes    = 256 << 20 // of a file, and of all that is unpacked of one
	mostPart     = 32 << 20  // of a part of markup
	mostDepth    = 256       // of markup
	mostCells    = 2_000_000
	mostBlocks   = 1_000_000
	mostTableDim = 100_000
)

// Document is a file's text with its structure.
type Document struct {
	Blocks []document.Block
	Info   document.Info
}

// readers by suffix.
var readers = map[string]func([]byte) (*Document, error){
	".docx": readDOCX, ".docm": readDOCX,
	".pptx": readPPTX, ".pptm": readPPTX,
	".xlsx": readXLSX, ".xlsm": readXLSX,
	".html": readHTML, ".htm": readHTML, ".xhtml": readHTML,
	".md": readMarkdown, ".markdown": readMarkdown,
	".csv": readCSV, ".tsv": readCSV,
	".txt": readText, ".text": readText,
}

// Reads reports whether files of a name's suffix are read.
func Reads(name string) bool { return readers[strings.ToLower(filepath.Ext(name))] != nil }

// Open reads a file; its suffix says of what kind it is. Errors wrap document.ErrDocument, or
// document.ErrLimit for what is too large.
func Open(name string) (*Document, error) {
	data, err := document.ReadFile(name, mostBytes)
	if err != nil {
		return nil, err
	}
	d, err := Read(name, data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return d, nil
}

// Read is Open of bytes; of the name only the suffix counts.
func Read(name string, data []byte) (d *Document, err error) {
	suffix := strings.ToLower(filepath.Ext(name))
	read := readers[suffix]
	if read == nil {
		return nil, fmt.Errorf("%w: files that end in %q are not read", document.ErrDocument, suffix)
	}
	if len(data) > mostBytes {
		return nil, tooLarge("a file of more than %d bytes", mostBytes)
	}
	// The libraries are not ours, nor is the file.
	defer func() {
		if v := recover(); v != nil {
			d, err = nil, fmt.Errorf("%w: damaged: %v", document.ErrDocument, v)
		}
	}()
	if d, err = read(data); err != nil {
		if !errors.Is(err, document.ErrLimit) && !errors.Is(err, document.ErrDocument) {
			err = fmt.Errorf("%w: %w", document.ErrDocument, err)
		}
		return nil, err
	}
	if d.Info.Format == "" {
		d.Info.Format = strings.ToUpper(suffix[1:])
	}
	return d, nil
}

func tooLarge(format string, args ...any) error {
	return &media.LimitError{Text: fmt.Sprintf(format, args...)}
}

// decoded returns a text file as UTF-8: by its byte order mark, else as UTF-8 where it is valid, else
// as Windows-1252.
func decoded(data []byte) (string, error) {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		out, err := unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM).NewDecoder().Bytes(data)
		return string(out), err
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if utf8.Valid(data) {
		return string(data), nil
	}
	out, err := charmap.Windows1252.NewDecoder().Bytes(data)
	return string(out), err
}

// readText makes paragraphs of what empty lines part.
func readText(data []byte) (*Document, error) {
	text, err := decoded(data)
	if err != nil {
		return nil, err
	}
	d := &Document{}
	for part := range strings.SplitSeq(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n") {
		if part = strings.TrimSpace(part); part != "" {
			d.Blocks = append(d.Blocks, document.Block{Kind: document.Paragraph, Text: part})
		}
		if len(d.Blocks) > mostBlocks {
			return nil, tooLarge("more than %d paragraphs", mostBlocks)
		}
	}
	return d, nil
}

// readCSV makes a table; what parts the values is what most lines of the beginning have as often as the
// first: a comma, semicolon, tabulator or bar.
func readCSV(data []byte) (*Document, error) {
	text, err := decoded(data)
	if err != nil {
		return nil, err
	}
	r := csv.NewReader(strings.NewReader(text))
	r.Comma = separator(text)
	r.FieldsPerRecord, r.LazyQuotes = -1, true
	var rows [][]string
	cells := 0
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if cells += len(row); cells > mostCells {
			return nil, tooLarge("more than %d cells", mostCells)
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return &Document{}, nil
	}
	table := document.NewTable(rows)
	if table.Rows*table.Columns > 8*mostCells {
		return nil, tooLarge("a table of %d rows and %d columns", table.Rows, table.Columns)
	}
	return &Document{Blocks: []document.Block{{Kind: document.TableKind, Table: table}}}, nil
}

func separator(text string) rune {
	best, most := ',', 0
	for _, sep := range []rune{',', ';', '\t', '|'} {
		r := csv.NewReader(strings.NewReader(text))
		r.Comma, r.FieldsPerRecord, r.LazyQuotes = sep, -1, true
		first, same := 0, 0
		for range 20 {
			row, err := r.Read()
			if err != nil {
				break
			}
			if first == 0 {
				first = len(row)
			}
			if len(row) == first {
				same++
			}
		}
		if first > 1 && same*first > most {
			best, most = sep, same*first
		}
	}
	return best
}
