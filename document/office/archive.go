package office

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/crossattn/xpipe/document"
)

// archive is an OOXML package. What is unpacked is counted.
type archive struct {
	files map[string]*zip.File
	left  int64
}

func openArchive(data []byte) (*archive, error) {
	if bytes.HasPrefix(data, []byte("\xd0\xcf\x11\xe0")) {
		return nil, fmt.Errorf("%w: encrypted, or of the format before 2007: save it without a password as DOCX, PPTX or XLSX",
			document.ErrDocument)
	}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	a := &archive{files: map[string]*zip.File{}, left: mostBytes}
	for _, f := range z.File {
		a.files[strings.TrimPrefix(f.Name, "/")] = f
	}
	return a, nil
}

var errMissing = errors.New("it lacks a part")

// part parses a part of markup.
func (a *archive) part(name string) (*node, error) {
	f := a.files[name]
	if f == nil {
		return nil, fmt.Errorf("%w: %s", errMissing, name)
	}
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, min(mostPart, a.left)+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if a.left -= int64(len(data)); len(data) > mostPart || a.left < 0 {
		return nil, tooLarge("%s unpacks to more than %d bytes", name, mostPart)
	}
	n, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return n, nil
}

// node is an element of markup: its name without a prefix, and what is in it.
type node struct {
	name  string
	attrs []xml.Attr
	text  string // of its own
	kids  []*node
}

// parse makes a tree. Entities that a document defines are not known to encoding/xml: none is expanded.
func parse(data []byte) (*node, error) {
	d := xml.NewDecoder(bytes.NewReader(data))
	root := &node{}
	stack := []*node{root}
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		top := stack[len(stack)-1]
		switch t := t.(type) {
		case xml.StartElement:
			if len(stack) > mostDepth {
				return nil, tooLarge("elements in elements, more than %d deep", mostDepth)
			}
			n := &node{name: t.Name.Local, attrs: t.Attr}
			top.kids = append(top.kids, n)
			stack = append(stack, n)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			top.text += string(t)
		}
	}
	if len(root.kids) == 0 {
		return nil, errors.New("no markup")
	}
	return root.kids[0], nil
}

// attr returns an attribute by its name without a prefix.
func (n *node) attr(name string) string {
	for _, a := range n.attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// kid returns the first element on a path of names; nil for none.
func (n *node) kid(names ...string) *node {
	for _, name := range names {
		var next *node
		if n != nil {
			for _, k := range n.kids {
				if k.name == name {
					next = k
					break
				}
			}
		}
		n = next
	}
	return n
}

// all calls f for every element of a name, not for those within one.
func (n *node) all(name string, f func(*node)) {
	for _, k := range n.kids {
		if k.name == name {
			f(k)
		} else {
			k.all(name, f)
		}
	}
}

// relations returns what a part's relations point to, by their ids.
func (a *archive) relations(name string) map[string]string {
	to := map[string]string{}
	n, err := a.part(path.Join(path.Dir(name), "_rels", path.Base(name)+".rels"))
	if err != nil {
		return to
	}
	for _, k := range n.kids {
		if k.attr("TargetMode") == "External" {
			continue
		}
		target := k.attr("Target")
		if !strings.HasPrefix(target, "/") {
			target = path.Join(path.Dir(name), target)
		}
		to[k.attr("Id")] = strings.TrimPrefix(path.Clean(target), "/")
	}
	return to
}

// properties reads docProps/core.xml.
func (a *archive) properties(format string) document.Info {
	info := document.Info{Format: format}
	n, err := a.part("docProps/core.xml")
	if err != nil {
		return info
	}
	for name, field := range map[string]*string{"title": &info.Title, "creator": &info.Author, "subject": &info.Subject,
		"keywords": &info.Keywords, "created": &info.Created, "modified": &info.Modified} {
		if k := n.kid(name); k != nil {
			*field = strings.TrimSpace(k.text)
		}
	}
	return info
}
