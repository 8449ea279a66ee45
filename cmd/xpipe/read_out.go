package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/api/pagefiles"
	"github.com/crossattn/xpipe/document/searchable"
)

// The forms of output beside those of package api.
const (
	jsonLines = "JSON lines"
	pdfForm   = "pdf"
)

// formSuffixes are the forms of files by their suffixes.
var formSuffixes = map[string]string{
	".txt": "text", ".md": "markdown", ".markdown": "markdown", ".hocr": "hocr", ".html": "hocr", ".htm": "hocr",
	".xml": "alto", ".alto": "alto", ".pdf": pdfForm,
}

// form is what read writes: what --format says, else by the suffix of --out.
func (o *readOptions) form(env *environment) string {
	switch byName := formSuffixes[strings.ToLower(filepath.Ext(o.out))]; {
	case o.format != "":
		return o.format
	case byName != "":
		return byName
	case env.json || o.out != "":
		return jsonLines
	}
	return "text"
}

// pageOutput is where pages go that are no JSON lines.
type pageOutput struct {
	env     *environment
	form    string
	path    string
	file    *os.File // what becomes the file of --out; nil for standard output
	several bool     // documents
	writer  *api.PageWriter
	book    *searchable.Writer // pages of pictures, in a PDF file
	whole   bool               // the PDF file is written: there is no place for more
	pages   int                // written
}

// newPageOutput opens the file of --out, which gets its name when all is written.
func (o *readOptions) newPageOutput(env *environment, form string, several bool) (*pageOutput, error) {
	p := &pageOutput{env: env, form: form, path: o.out, several: several}
	to := env.stdout
	if o.out != "" {
		f, err := os.Create(o.out + ".part")
		if err != nil {
			return nil, err
		}
		p.file, to = f, f
	}
	if form == pdfForm {
		return p, nil
	}
	p.writer = api.NewPageWriter(to, form)
	return p, p.writer.Begin()
}

// write writes the pages of a document.
func (p *pageOutput) write(ctx context.Context, name string, read document, o readOptions) error {
	if p.form != pdfForm && sameFile(read.file, o.out) { // a PDF file keeps its pages; of others the text alone would be left
		return api.Usagef("--out %s would overwrite what is read; name another file", o.out)
	}
	var pages []api.Page
	for i := range read.pages {
		page := &read.pages[i]
		if page.err != nil {
			p.env.report(fmt.Errorf("%s: %w", name, page.err))
			continue
		}
		pages = append(pages, page.Page)
		p.pages++
		if p.form == pdfForm {
			continue
		}
		if strings.TrimSpace(page.Text) == "" && len(page.Figures) == 0 {
			p.env.warnf("%s, page %d: nothing is written on it, as far as the model sees", name, page.Number)
			if p.form == "text" || p.form == "markdown" {
				continue
			}
		}
		head := ""
		switch {
		case len(read.pages) > 1:
			head = fmt.Sprintf("%s, page %d", api.Visible(name), page.Number)
		case p.several:
			head = api.Visible(name)
		}
		if err := p.writer.Page(&page.Page, head); err != nil {
			return err
		}
	}
	if p.form != pdfForm {
		return nil
	}
	if p.whole || read.pdf && p.book != nil {
		return api.Usagef("--out %s is one PDF file: it is made of one PDF file, or of pictures", o.out)
	}
	if read.pdf {
		p.whole = true
		return pagefiles.WriteSearchable(ctx, p.file, read.file, o.password, pages)
	}
	return p.addPictures(name, read, o.dpi)
}

// sameFile reports whether two names are of one file that is there.
func sameFile(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}

// addPictures writes a document's pages as pictures with text.
func (p *pageOutput) addPictures(name string, read document, dpi float64) error {
	if p.book == nil {
		p.book = searchable.NewWriter(p.file)
	}
	for i := range read.pages {
		page := &read.pages[i]
		if page.err != nil {
			continue
		}
		if page.picture == nil {
			return api.Inputf("%s has no pictures of pages, of which a PDF file could be made", name)
		}
		size := page.picture.Bounds().Size()
		words, _ := page.Searchable()
		out := searchable.Page{
			Width: float64(size.X) * 72 / dpi, Height: float64(size.Y) * 72 / dpi, Picture: page.picture, Words: words,
		}
		if suffix := strings.ToLower(filepath.Ext(read.file)); suffix == ".jpg" || suffix == ".jpeg" {
			out.JPEG = plainJPEG(read.file)
		}
		if err := p.book.Add(out); err != nil {
			return api.Inputf("%s: %w; --dpi says how many pixels are an inch", name, err)
		}
	}
	return nil
}

// spoolPDF puts a PDF file that comes on standard input into a file, which arguments name then: pages are
// read from where they lie in it.
func spoolPDF(env *environment, args []string) (replaced []string, spooled string, err error) {
	at := slices.Index(args, "-")
	if at < 0 || env.stdin == nil {
		return args, "", nil
	}
	in := bufio.NewReader(env.stdin)
	env.stdin = in
	if head, _ := in.Peek(5); !pagefiles.IsPDF(head) {
		return args, "", nil
	}
	f, err := os.CreateTemp("", "xpipe-*.pdf")
	if err != nil {
		return nil, "", err
	}
	const most = 4 << 30 // as PDFium bounds a file
	n, err := io.Copy(f, io.LimitReader(in, most+1))
	if err = errors.Join(err, f.Close()); err == nil && n > most {
		err = api.Inputf("standard input: a PDF file of more than 4 GiB")
	}
	if err != nil {
		os.Remove(f.Name())
		return nil, "", err
	}
	replaced = slices.Clone(args)
	replaced[at] = f.Name()
	return replaced, f.Name(), nil
}

// named gives the picture of a file another name.
func named(pictures iter.Seq2[api.Picture, error], file, name string) iter.Seq2[api.Picture, error] {
	return func(yield func(api.Picture, error) bool) {
		for p, err := range pictures {
			if p.File == file {
				p.Name = name
			}
			if !yield(p, err) {
				return
			}
		}
	}
}

// plainJPEG returns a JPEG file; nil where it has Exif data, which may say that it is to be turned.
func plainJPEG(path string) []byte {
	data, err := os.ReadFile(path)
	if err != nil || bytes.Contains(data[:min(len(data), 1<<16)], []byte("Exif\x00\x00")) {
		return nil
	}
	return data
}

// close ends the output of a run that ended with an error or nil, of which so many documents failed.
func (p *pageOutput) close(failed error, documents int) error {
	if p == nil {
		return nil
	}
	none := failed != nil || p.pages == 0 && documents > 0 // nothing to keep; why is told
	var err error
	switch {
	case none:
	case p.book != nil:
		err = p.book.Close()
	case p.writer != nil:
		err = p.writer.End()
	case !p.whole:
		err = errors.New("there are no pages, and no PDF file is written")
	}
	if p.file == nil {
		return err
	}
	err = errors.Join(err, p.file.Close())
	if !none && err == nil {
		return os.Rename(p.file.Name(), p.path)
	}
	os.Remove(p.file.Name())
	return err
}
