// Package searchable writes PDF files whose text cannot be seen but can be found, marked and copied:
// pictures of pages with what was read on them laid beneath, as scanners' programs make them.
// document/pdf lays such text over the pages of a PDF file that is there.
//
// Text is drawn in render mode 3 (ISO 32000-1, 9.3.6) in a font of one glyph, half as wide as
// high, each word stretched over its place: Tesseract's way, which all viewers understand. Its codes are
// UTF-16, so that the font serves all scripts.
package searchable

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"strings"
	"unicode/utf16"
)

// Word is text and where it stands.
type Word struct {
	Text string
	// Quad has the corners, from the upper left one of the text as it is read, clockwise, in units of
	// the page's width and height from its upper left.
	Quad [4][2]float64
	// Space says that a blank follows.
	Space bool
}

// Page is a page to write.
type Page struct {
	Width, Height float64 // in points of 1/72 inch
	Words         []Word
	// Picture fills the page; nil for none.
	Picture image.Image
	// JPEG is the file that Picture was decoded from, where it is to be taken as it is: of one that is to
	// be shown turned, by its Exif data, it is not.
	JPEG []byte
}

// Writer writes a file, a page at a time.
type Writer struct {
	w       io.Writer
	at      int64
	offsets []int64 // of objects, from number 1
	pages   []int
	err     error
}

// The numbers of the objects that every file has.
const (
	catalog = 1 + iota
	pageTree
	font
	descendant
	descriptor
	fontFile
	toGlyphs
	toUnicode
	firstFree
)

// NewWriter begins a file. Errors of w are told by Add and Close.
func NewWriter(w io.Writer) *Writer {
	f := &Writer{w: w, offsets: make([]int64, firstFree-1)}
	f.write("%%PDF-1.5\n%%\xe2\xe3\xcf\xd3\n")
	f.object(catalog, "<</Type/Catalog/Pages %d 0 R>>", pageTree)
	f.object(font, "<</Type/Font/Subtype/Type0/BaseFont/Glyphless/Encoding/Identity-H/DescendantFonts[%d 0 R]/ToUnicode %d 0 R>>",
		descendant, toUnicode)
	f.object(descendant, "<</Type/Font/Subtype/CIDFontType2/BaseFont/Glyphless/CIDToGIDMap %d 0 R"+
		"/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>/FontDescriptor %d 0 R/DW %d>>",
		toGlyphs, descriptor, advance)
	f.object(descriptor, "<</Type/FontDescriptor/FontName/Glyphless/Flags 5/FontBBox[0 %d %d %d]/ItalicAngle 0"+
		"/Ascent %d/Descent %d/CapHeight %d/StemV 80/FontFile2 %d 0 R>>",
		-below, advance, unitsPerEm-below, unitsPerEm-below, -below, unitsPerEm-below, fontFile)
	program := boxFont()
	f.stream(fontFile, fmt.Sprintf("/Length1 %d", len(program)), program)
	// Every code is the glyph 1.
	f.stream(toGlyphs, "", bytes.Repeat([]byte{0, 1}, 1<<16))
	f.stream(toUnicode, "", []byte(unicodeMap))
	return f
}

// unicodeMap says that codes are UTF-16 themselves.
const unicodeMap = `/CIDInit /ProcSet findresource begin
12 dict begin
begincmap
/CIDSystemInfo<</Registry(Adobe)/Ordering(UCS)/Supplement 0>>def
/CMapName/Adobe-Identity-UCS def
/CMapType 2 def
1 begincodespacerange
<0000><FFFF>
endcodespacerange
1 beginbfrange
<0000><FFFF><0000>
endbfrange
endcmap
CMapName currentdict/CMap defineresource pop
end
end
`

// Add writes a page.
func (f *Writer) Add(p Page) error {
	if !(p.Width >= 1 && p.Height >= 1 && p.Width <= 14400 && p.Height <= 14400) {
		return fmt.Errorf("a page of %g by %g points: from 1 to 14400 can be written", p.Width, p.Height)
	}
	var content strings.Builder
	resources := fmt.Sprintf("/Font<</F %d 0 R>>", font)
	if p.Picture != nil || p.JPEG != nil {
		id, err := f.picture(p)
		if err != nil {
			return err
		}
		resources += fmt.Sprintf("/XObject<</P %d 0 R>>", id)
		fmt.Fprintf(&content, "q %.4f 0 0 %.4f 0 0 cm /P Do Q\n", p.Width, p.Height)
	}
	text(&content, p)
	drawing, page := f.next(), 0
	f.stream(drawing, "", []byte(content.String()))
	page = f.next()
	f.object(page, "<</Type/Page/Parent %d 0 R/MediaBox[0 0 %.4f %.4f]/Resources<<%s>>/Contents %d 0 R>>",
		pageTree, p.Width, p.Height, resources, drawing)
	f.pages = append(f.pages, page)
	return f.err
}

// text writes words as operators of a content stream.
func text(b *strings.Builder, p Page) {
	if len(p.Words) == 0 {
		return
	}
	b.WriteString("BT 3 Tr /F 1 Tf\n")
	for _, w := range p.Words {
		units := utf16.Encode([]rune(w.Text))
		if len(units) == 0 {
			continue
		}
		at := func(i int) (x, y float64) { return w.Quad[i][0] * p.Width, (1 - w.Quad[i][1]) * p.Height }
		x0, y0 := at(3)
		x1, y1 := at(2)
		x2, y2 := at(0)
		natural := float64(len(units)) * advance / unitsPerEm
		rx, ry, ux, uy := (x1-x0)/natural, (y1-y0)/natural, x2-x0, y2-y0
		if rx*uy-ry*ux == 0 {
			continue // without area
		}
		const low = float64(below) / unitsPerEm
		fmt.Fprintf(b, "%.4f %.4f %.4f %.4f %.3f %.3f Tm <", rx, ry, ux, uy, x0+low*ux, y0+low*uy)
		for _, u := range units {
			fmt.Fprintf(b, "%04X", u)
		}
		if w.Space {
			b.WriteString("0020")
		}
		b.WriteString("> Tj\n")
	}
	b.WriteString("ET\n")
}

// picture writes a picture and returns its object's number: a JPEG file as it is, else pixels without loss.
func (f *Writer) picture(p Page) (id int, err error) {
	id = f.next()
	if config, err := jpeg.DecodeConfig(bytes.NewReader(p.JPEG)); err == nil {
		switch config.ColorModel {
		case grayModel:
			return id, f.raw(id, pictureKeys(config.Width, config.Height, "DeviceGray")+"/Filter/DCTDecode", p.JPEG)
		case colorModel:
			return id, f.raw(id, pictureKeys(config.Width, config.Height, "DeviceRGB")+"/Filter/DCTDecode", p.JPEG)
		}
	}
	if p.Picture == nil {
		return 0, fmt.Errorf("the JPEG file cannot be taken as it is, and there is no picture beside it")
	}
	pixels, space := samples(p.Picture)
	size := p.Picture.Bounds().Size()
	f.stream(id, pictureKeys(size.X, size.Y, space), pixels)
	return id, f.err
}

func pictureKeys(w, h int, space string) string {
	return fmt.Sprintf("/Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace/%s/BitsPerComponent 8", w, h, space)
}

// samples returns the values of a picture's pixels: one each where all are grey.
func samples(img image.Image) (pixels []byte, space string) {
	b := img.Bounds()
	pixels = make([]byte, 0, 3*b.Dx()*b.Dy())
	grey := true
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			r, g, b, _ := img.At(x, y).RGBA()
			pixels = append(pixels, byte(r>>8), byte(g>>8), byte(b>>8))
			grey = grey && r == g && g == b
		}
	}
	if !grey {
		return pixels, "DeviceRGB"
	}
	for i := range len(pixels) / 3 {
		pixels[i] = pixels[3*i]
	}
	return pixels[:len(pixels)/3], "DeviceGray"
}

// Close ends the file. It does not close what is written to.
func (f *Writer) Close() error {
	kids := make([]string, len(f.pages))
	for i, id := range f.pages {
		kids[i] = fmt.Sprintf("%d 0 R", id)
	}
	f.object(pageTree, "<</Type/Pages/Count %d/Kids[%s]>>", len(kids), strings.Join(kids, " "))
	start := f.at
	f.write("xref\n0 %d\n0000000000 65535 f \n", len(f.offsets)+1)
	for _, at := range f.offsets {
		f.write("%010d 00000 n \n", at)
	}
	f.write("trailer\n<</Size %d/Root %d 0 R>>\nstartxref\n%d\n%%%%EOF\n", len(f.offsets)+1, catalog, start)
	return f.err
}

// next returns the number of a new object.
func (f *Writer) next() int {
	f.offsets = append(f.offsets, 0)
	return len(f.offsets)
}

func (f *Writer) write(format string, args ...any) {
	if f.err != nil {
		return
	}
	n, err := fmt.Fprintf(f.w, format, args...)
	f.at += int64(n)
	f.err = err
}

func (f *Writer) object(id int, format string, args ...any) {
	f.offsets[id-1] = f.at
	f.write("%d 0 obj\n"+format+"\nendobj\n", append([]any{id}, args...)...)
}

// stream writes an object of bytes, packed.
func (f *Writer) stream(id int, keys string, data []byte) {
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	z.Write(data) // to memory: it cannot fail
	z.Close()
	f.raw(id, keys+"/Filter/FlateDecode", packed.Bytes())
}

func (f *Writer) raw(id int, keys string, data []byte) error {
	f.offsets[id-1] = f.at
	f.write("%d 0 obj\n<<%s/Length %d>>\nstream\n", id, keys, len(data))
	f.write("%s", data)
	f.write("\nendstream\nendobj\n")
	return f.err
}
