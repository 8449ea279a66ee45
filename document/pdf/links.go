package pdf

import (
	"strings"

	"github.com/klippa-app/go-pdfium/enums"
	"github.com/klippa-app/go-pdfium/references"
	"github.com/klippa-app/go-pdfium/requests"

	"github.com/crossattn/xpipe/document"
)

const (
	mostLinks = 10_000
	mostMarks = 10_000
	mostLevel = 32 // of the outline, which may lead back into itself
)

// links returns the links that a page's annotations make.
func (w *worker) links(n int, view affine) []document.Link {
	var links []document.Link
	for at := 0; len(links) < mostLinks; {
		next, err := w.instance.FPDFLink_Enumerate(&requests.FPDFLink_Enumerate{Page: w.page(n), StartPos: at})
		if err != nil || next.Link == nil || next.NextStartPos == nil || *next.NextStartPos <= at {
			return links
		}
		at = *next.NextStartPos
		w.handles++
		rect, err := w.instance.FPDFLink_GetAnnotRect(&requests.FPDFLink_GetAnnotRect{Link: *next.Link})
		if err != nil || rect.Rect == nil {
			continue
		}
		link := document.Link{Box: view.box(
			float64(rect.Rect.Left), float64(rect.Rect.Bottom), float64(rect.Rect.Right), float64(rect.Rect.Top))}
		if dest, err := w.instance.FPDFLink_GetDest(&requests.FPDFLink_GetDest{
			Document: w.doc, Link: *next.Link,
		}); err == nil && dest.Dest != nil {
			link.Page = w.destination(*dest.Dest)
		} else if action, err := w.instance.FPDFLink_GetAction(
			&requests.FPDFLink_GetAction{Link: *next.Link}); err == nil && action.Action != nil {
			link.URL, link.Page = w.action(*action.Action)
		}
		if link.URL != "" || link.Page != 0 {
			links = append(links, link)
		}
	}
	return links
}

// destination returns the page that one leads to, from 1; 0 for none.
func (w *worker) destination(dest references.FPDF_DEST) int {
	page, err := w.instance.FPDFDest_GetDestPageIndex(&requests.FPDFDest_GetDestPageIndex{Document: w.doc, Dest: dest})
	if err != nil || page.Index < 0 || page.Index >= w.pages {
		return 0
	}
	return page.Index + 1
}

// action returns where one leads: an address or a page. Nothing is followed, started or opened.
func (w *worker) action(action references.FPDF_ACTION) (url string, page int) {
	kind, err := w.instance.FPDFAction_GetType(&requests.FPDFAction_GetType{Action: action})
	if err != nil {
		return "", 0
	}
	switch kind.Type {
	case enums.FPDF_ACTION_ACTION_GOTO:
		dest, err := w.instance.FPDFAction_GetDest(&requests.FPDFAction_GetDest{Document: w.doc, Action: action})
		if err == nil && dest.Dest != nil {
			page = w.destination(*dest.Dest)
		}
	case enums.FPDF_ACTION_ACTION_URI:
		uri, err := w.instance.FPDFAction_GetURIPath(&requests.FPDFAction_GetURIPath{Document: w.doc, Action: action})
		if err == nil && uri.URIPath != nil {
			url = *uri.URIPath
		}
	}
	return url, page
}

// outline walks the file's own table of contents. Files have been made in which it leads back into
// itself: the number of entries and their depth are bounded.
func (w *worker) outline() []document.Mark {
	var marks []document.Mark
	var walk func(parent *references.FPDF_BOOKMARK, level int)
	walk = func(parent *references.FPDF_BOOKMARK, level int) {
		if level > mostLevel {
			return
		}
		first, err := w.instance.FPDFBookmark_GetFirstChild(&requests.FPDFBookmark_GetFirstChild{
			Document: w.doc, Bookmark: parent,
		})
		if err != nil {
			return
		}
		for at := first.Bookmark; at != nil && len(marks) < mostMarks; {
			marks = append(marks, w.mark(*at, level))
			walk(at, level+1)
			next, err := w.instance.FPDFBookmark_GetNextSibling(&requests.FPDFBookmark_GetNextSibling{
				Document: w.doc, Bookmark: *at,
			})
			if err != nil {
				return
			}
			at = next.Bookmark
		}
	}
	walk(nil, 1)
	return marks
}

func (w *worker) mark(b references.FPDF_BOOKMARK, level int) document.Mark {
	mark := document.Mark{Level: level}
	if title, err := w.instance.FPDFBookmark_GetTitle(&requests.FPDFBookmark_GetTitle{Bookmark: b}); err == nil {
		mark.Title = strings.TrimSpace(title.Title)
	}
	if dest, err := w.instance.FPDFBookmark_GetDest(&requests.FPDFBookmark_GetDest{
		Document: w.doc, Bookmark: b,
	}); err == nil && dest.Dest != nil {
		mark.Page = w.destination(*dest.Dest)
	} else if action, err := w.instance.FPDFBookmark_GetAction(
		&requests.FPDFBookmark_GetAction{Bookmark: b}); err == nil && action.Action != nil {
		_, mark.Page = w.action(*action.Action)
	}
	return mark
}

// info reads what the file says of itself.
func (w *worker) info() document.Info {
	info := document.Info{Format: "PDF"}
	tags, err := w.instance.GetMetaData(&requests.GetMetaData{Document: w.doc})
	if err != nil {
		return info
	}
	fields := map[string]*string{
		"Title": &info.Title, "Author": &info.Author, "Subject": &info.Subject, "Keywords": &info.Keywords,
		"Creator": &info.Creator, "Producer": &info.Producer, "CreationDate": &info.Created, "ModDate": &info.Modified,
	}
	for _, tag := range tags.Tags {
		if field := fields[tag.Tag]; field != nil {
			*field = strings.TrimSpace(tag.Value)
		}
	}
	return info
}
