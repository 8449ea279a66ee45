package document

import (
	"fmt"
	"strings"
)

// Kind is what a block of text is.
type Kind string

// The kinds of blocks.
const (
	Heading   Kind = "heading"
	Paragraph Kind = "paragraph"
	ListItem  Kind = "list_item"
	Caption   Kind = "caption"
	Footnote  Kind = "footnote"
	Header    Kind = "page_header"
	Footer    Kind = "page_footer"
	Code      Kind = "code"
	TableKind Kind = "table"
	Figure    Kind = "figure"
)

// Block is a piece of a document in reading order.
type Block struct {
	Kind Kind `json:"kind"`
	// Level of a heading, from 1, and of a list's item, from 1; 0 for other kinds.
	Level int    `json:"level,omitempty"`
	Text  string `json:"text,omitempty"` // lines joined; "" for tables
	Page  int    `json:"page,omitempty"` // from 1; slides and sheets count as pages; 0 without pages
	Box   Box    `json:"box,omitzero"`   // zero without pages
	// Lines are the boxes of the lines that Text was joined from.
	Lines []Box `json:"lines,omitempty"`
	// Table of a block of that kind.
	Table *Table `json:"table,omitempty"`
	// File is, for a figure, that of its picture; "" for none.
	File string `json:"file,omitempty"`
	// Of is, for a caption, the index of the block that it explains, plus one.
	Of int `json:"of,omitempty"`
}

// Table is a grid of cells.
type Table struct {
	Columns int    `json:"columns"`
	Rows    int    `json:"rows"`
	Ruled   bool   `json:"ruled,omitempty"` // drawn lines gave the grid
	Cells   []Cell `json:"cells"`           // row by row; a cell that spans stands once
}

// Cell of a table.
type Cell struct {
	Row     int    `json:"row"` // from 0
	Col     int    `json:"col"` // from 0
	RowSpan int    `json:"row_span"`
	ColSpan int    `json:"col_span"`
	Text    string `json:"text"`
	Box     Box    `json:"box,omitzero"`
	Header  bool   `json:"header,omitempty"`
}

// Texts returns the rows as texts, Columns in each. The text of a cell that spans stands in its upper
// left place, and the others it covers are empty.
func (t *Table) Texts() [][]string {
	rows := make([][]string, t.Rows)
	for i := range rows {
		rows[i] = make([]string, t.Columns)
	}
	for _, c := range t.Cells {
		if c.Row >= 0 && c.Row < t.Rows && c.Col >= 0 && c.Col < t.Columns {
			rows[c.Row][c.Col] = c.Text
		}
	}
	return rows
}

// NewTable makes a table without spans of rows of texts, which need not be of one length.
func NewTable(rows [][]string) *Table {
	t := &Table{Rows: len(rows)}
	for r, row := range rows {
		t.Columns = max(t.Columns, len(row))
		for c, text := range row {
			t.Cells = append(t.Cells, Cell{Row: r, Col: c, RowSpan: 1, ColSpan: 1, Text: text})
		}
	}
	return t
}

// Text returns blocks as plain text: paragraphs parted by empty lines, cells by tabulators. Blocks without
// text, such as figures, leave nothing.
func Text(blocks []Block) string {
	var b strings.Builder
	var before Kind
	for _, block := range blocks {
		if block.Table == nil && block.Text == "" {
			continue
		}
		if before != "" {
			b.WriteString("\n")
			if block.Kind != ListItem || before != ListItem {
				b.WriteString("\n")
			}
		}
		before = block.Kind
		if block.Table == nil {
			b.WriteString(block.Text)
			continue
		}
		for r, row := range block.Table.Texts() {
			if r > 0 {
				b.WriteString("\n")
			}
			for c, cell := range row {
				if c > 0 {
					b.WriteString("\t")
				}
				b.WriteString(oneLine(cell))
			}
		}
	}
	return b.String()
}

// Markdown returns blocks as GitHub's Markdown. Spans have no form there: the places that a cell
// covers beyond its first are empty.
func Markdown(blocks []Block) string {
	var b strings.Builder
	for i, block := range blocks {
		if i > 0 {
			b.WriteString("\n")
			if block.Kind != ListItem || blocks[i-1].Kind != ListItem {
				b.WriteString("\n")
			}
		}
		switch block.Kind {
		case Heading:
			b.WriteString(strings.Repeat("#", min(max(block.Level, 1), 6)) + " " + escape(oneLine(block.Text)))
		case ListItem:
			mark, text := listMark(block.Text)
			b.WriteString(strings.Repeat("  ", max(block.Level-1, 0)) + mark + " " + escape(oneLine(text)))
		case Code:
			fence := strings.Repeat("`", max(3, longestRun(block.Text, '`')+1))
			fmt.Fprintf(&b, "%s\n%s\n%s", fence, block.Text, fence)
		case TableKind:
			if block.Table != nil {
				writeTable(&b, block.Table)
			}
		case Figure:
			file := block.File
			if strings.ContainsAny(file, " ()<>\\") {
				file = "<" + strings.NewReplacer("<", "%3C", ">", "%3E", "\\", "/").Replace(file) + ">"
			}
			b.WriteString("![" + escape(oneLine(block.Text)) + "](" + file + ")")
		case Caption:
			b.WriteString("*" + escape(oneLine(block.Text)) + "*")
		case Paragraph:
			lines := strings.Split(block.Text, "\n")
			for i, line := range lines {
				lines[i] = plain(line)
			}
			b.WriteString(strings.Join(lines, "\\\n"))
		default:
			b.WriteString(plain(block.Text))
		}
	}
	return b.String()
}

// plain returns a line of text as Markdown that stays one: its first sign must not make it another kind.
func plain(line string) string {
	text := escape(oneLine(line))
	if text != "" && strings.ContainsRune("#>+-", rune(text[0])) {
		text = `\` + text
	}
	return text
}

func writeTable(b *strings.Builder, t *Table) {
	for r, row := range t.Texts() {
		if r > 0 {
			b.WriteString("\n")
		}
		b.WriteString("|")
		for _, cell := range row {
			b.WriteString(" " + strings.ReplaceAll(escape(oneLine(cell)), "|", `\|`) + " |")
		}
		if r == 0 {
			b.WriteString("\n|" + strings.Repeat(" --- |", t.Columns))
		}
	}
}

// escape keeps text from being read as markup.
func escape(s string) string { return escaper.Replace(s) }

var escaper = strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "`", "\\`", "<", `\<`, "[", `\[`, "]", `\]`)

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func longestRun(s string, c rune) (longest int) {
	run := 0
	for _, r := range s {
		if run++; r != c {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}

// listMark parts a list's item into its mark, as Markdown writes it, and the rest.
func listMark(s string) (mark, rest string) {
	first, rest, ok := strings.Cut(s, " ")
	if !ok {
		return "-", s
	}
	if number := strings.TrimRight(first, ".)"); number != first && number != "" &&
		strings.Trim(number, "0123456789") == "" && len(number) < 10 {
		return number + ".", rest
	}
	if IsBullet(first) {
		return "-", rest
	}
	return "-", s
}

// IsBullet reports whether a word is the mark of an unnumbered list.
func IsBullet(s string) bool {
	switch s {
	case "•", "‣", "◦", "▪", "▫", "■", "□", "●", "○", "–", "—", "-", "*", "·", "∙", "➢", "✓", "\uf0b7", "\uf0a7":
		return true
	}
	return false
}
