package office

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/xuri/excelize/v2"

	"github.com/crossattn/xpipe/document"
)

// readXLSX reads the sheets of a workbook: a heading with the sheet's name and a table. Values are
// shown as the workbook formats them.
func readXLSX(data []byte) (*Document, error) {
	if _, err := openArchive(data); err != nil {
		return nil, err
	}
	f, err := excelize.OpenReader(bytes.NewReader(data), excelize.Options{
		UnzipSizeLimit: mostBytes, UnzipXMLSizeLimit: mostPart,
	})
	if err != nil {
		if strings.Contains(err.Error(), "unzip size") {
			return nil, tooLarge("the workbook unpacks to more than %d bytes", mostBytes)
		}
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it is no workbook, or one that was cut off")
		}
		return nil, err
	}
	defer f.Close()
	d := &Document{Info: document.Info{Format: "XLSX"}}
	if p, err := f.GetDocProps(); err == nil {
		d.Info.Title, d.Info.Author, d.Info.Subject = p.Title, p.Creator, p.Subject
		d.Info.Created, d.Info.Modified, d.Info.Keywords = p.Created, p.Modified, p.Keywords
	}
	cells := 0
	for i, sheet := range f.GetSheetList() {
		d.Blocks = append(d.Blocks, document.Block{Kind: document.Heading, Level: 1, Text: sheet, Page: i + 1})
		rows, err := f.Rows(sheet)
		if err != nil {
			var notSheet excelize.ErrSheetNotExist
			if errors.As(err, &notSheet) {
				continue // a chart
			}
			return nil, err
		}
		t := &document.Table{}
		for ; rows.Next(); t.Rows++ {
			values, err := rows.Columns()
			if err != nil {
				return nil, err
			}
			for c, text := range values {
				if text == "" {
					continue
				}
				if cells++; cells > mostCells {
					return nil, tooLarge("more than %d cells", mostCells)
				}
				t.Cells = append(t.Cells, document.Cell{Row: t.Rows, Col: c, RowSpan: 1, ColSpan: 1, Text: text})
				t.Columns = max(t.Columns, c+1)
			}
			if t.Rows > mostCells {
				return nil, tooLarge("more than %d rows", mostCells)
			}
		}
		if err := rows.Error(); err != nil {
			return nil, err
		}
		if err := spans(f, sheet, t); err != nil {
			return nil, err
		}
		last := -1 // empty rows at the end
		for _, c := range t.Cells {
			last = max(last, c.Row+c.RowSpan-1)
		}
		t.Rows = last + 1
		if t, err = bounded(t); err != nil {
			return nil, err
		}
		if len(t.Cells) > 0 {
			d.Blocks = append(d.Blocks, document.Block{Kind: document.TableKind, Table: t, Page: i + 1})
		}
	}
	return d, nil
}

// spans sets those of merged cells.
func spans(f *excelize.File, sheet string, t *document.Table) error {
	merged, err := f.GetMergeCells(sheet)
	if err != nil || len(merged) == 0 {
		return err
	}
	at := map[[2]int]int{}
	for i, c := range t.Cells {
		at[[2]int{c.Row, c.Col}] = i
	}
	for _, m := range merged {
		c0, r0, err := excelize.CellNameToCoordinates(m.GetStartAxis())
		if err != nil {
			return err
		}
		c1, r1, err := excelize.CellNameToCoordinates(m.GetEndAxis())
		if err != nil {
			return err
		}
		if i, ok := at[[2]int{r0 - 1, c0 - 1}]; ok && r1 >= r0 && c1 >= c0 {
			t.Cells[i].RowSpan, t.Cells[i].ColSpan = min(r1-r0+1, max(t.Rows-r0+1, 1)), c1-c0+1
			t.Columns = max(t.Columns, c1)
		}
	}
	return nil
}
