package pdf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/crossattn/xpipe/document"
)

// file puts objects, numbered from 1, into a PDF; the first is the catalogue.
func file(objects ...string) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.7\n")
	var at []int
	for i, o := range objects {
		at = append(at, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	start := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(objects)+1)
	for _, n := range at {
		fmt.Fprintf(&b, "%010d 00000 n \n", n)
	}
	fmt.Fprintf(&b, "trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(objects)+1, start)
	return b.Bytes()
}

func stream(dict, data string) string {
	return fmt.Sprintf("<< %s /Length %d >>\nstream\n%s\nendstream", dict, len(data), data)
}

const (
	catalogue = "<< /Type /Catalog /Pages 2 0 R >>"
	font      = "/Resources << /Font << /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
)

func onePage(box, content string) []byte {
	return file(catalogue, "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
		"<< /Type /Page /Parent 2 0 R /MediaBox ["+box+"] "+font+" /Contents 4 0 R >>", stream("", content))
}

func openBytes(data []byte, options Options) (*Document, error) {
	return New(context.Background(), bytes.NewReader(data), int64(len(data)), options)
}

// Files that are no good are errors that say so, soon and without much memory.
func TestHostile(t *testing.T) {
	t.Parallel()
	good, err := os.ReadFile(golden + "pages.pdf")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":    {nil, "the file is empty"},
		"no PDF":   {[]byte("hello"), "not a PDF, or one that is damaged"},
		"cut":      {good[:200], "not a PDF, or one that is damaged"},
		"no pages": {file(catalogue, "<< /Type /Pages /Kids [] /Count 0 >>"), "has no pages"},
		"endless":  {file(catalogue, "<< /Type /Pages /Kids [2 0 R] /Count 1 >>"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := openBytes(c.data, Options{})
			if err == nil {
				// What PDFium opens all the same, it must be possible to go through.
				for n := range min(d.Pages(), 3) {
					if _, err := d.Page(context.Background(), n+1); err != nil && !errors.Is(err, document.ErrDocument) {
						t.Error(err)
					}
				}
				d.Close()
			}
			if c.want != "" && (err == nil || !errors.Is(err, document.ErrDocument) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// A page larger than a picture may be says how it can be drawn.
func TestHugePage(t *testing.T) {
	t.Parallel()
	d, err := openBytes(onePage("0 0 14400 14400", "BT /F 1000 Tf 100 100 Td (large) Tj ET"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	_, err = d.Render(context.Background(), 1, 150)
	if !errors.Is(err, document.ErrLimit) || !strings.Contains(err.Error(), "page 1: ") || !strings.Contains(err.Error(), "draw it at 40 dpi or less") {
		t.Errorf("%v", err)
	}
	if m, err := d.Render(context.Background(), 1, 20); err != nil || m.Rect.Dx() != 4000 {
		t.Errorf("%v %v", m.Bounds(), err)
	}
	page, err := d.Page(context.Background(), 1)
	if err != nil || text(page.Words) != "large" || page.Words[0].Size != 1000 {
		t.Errorf("%+v %v", page, err)
	}
	if _, err := d.Page(context.Background(), 2); !errors.Is(err, document.ErrDocument) {
		t.Errorf("page 2: %v", err)
	}
}

// Drawings that hold themselves, and outlines that lead back into themselves, come to an end.
func TestRecursive(t *testing.T) {
	t.Parallel()
	data := file("<< /Type /Catalog /Pages 2 0 R /Outlines 6 0 R >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
		"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Resources << /XObject << /X 5 0 R >> >> /Contents 4 0 R >>",
		stream("", "/X Do"),
		stream("/Type /XObject /Subtype /Form /BBox [0 0 200 200] /Resources << /XObject << /X 5 0 R >> >>", "/X Do 10 10 50 50 re S"),
		"<< /First 7 0 R /Last 8 0 R /Count 2 >>",
		"<< /Title (one) /Parent 6 0 R /Next 8 0 R /First 7 0 R /Last 7 0 R >>",
		"<< /Title (two) /Parent 6 0 R /Next 7 0 R >>")
	d, err := openBytes(data, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if n := len(d.Outline()); n < 2 || n > mostMarks {
		t.Errorf("%d entries", n)
	}
	if _, err := d.Page(context.Background(), 1); err != nil && !errors.Is(err, document.ErrDocument) {
		t.Error(err)
	}
	if _, err := d.Render(context.Background(), 1, 72); err != nil && !errors.Is(err, document.ErrDocument) {
		t.Error(err)
	}
}

// One page of the file is damaged: it is named, and the others are read.
func TestDamagedPage(t *testing.T) {
	t.Parallel()
	data := file(catalogue, "<< /Type /Pages /Kids [3 0 R 9 0 R 4 0 R] /Count 3 >>",
		"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] "+font+" /Contents 5 0 R >>",
		"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] "+font+" /Contents 5 0 R >>",
		stream("", "BT /F 12 Tf 10 10 Td (fine) Tj ET"))
	d, err := openBytes(data, Options{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for n := 1; n <= d.Pages(); n++ {
		p, err := d.Page(context.Background(), n)
		if n == 2 {
			if err == nil || !strings.Contains(err.Error(), "page 2: document: it is damaged or missing") {
				t.Errorf("page 2: %v", err)
			}
		} else if err != nil || text(p.Words) != "fine" {
			t.Errorf("page %d: %v", n, err)
		}
	}
}

// A page that takes too long is given up, whether PDFium stops or goes on in the background.
func TestPageTime(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles PDFium with checks")
	}
	t.Parallel()
	content := strings.Repeat("0 0 200 200 re 10 10 m 90 180 150 20 190 190 c W n BT /F 12 Tf 10 10 Td (much) Tj ET\n", 100_000)
	for _, interruptible := range []bool{false, true} {
		d, err := openBytes(onePage("0 0 200 200", content), Options{Workers: 1, Interruptible: interruptible})
		if err != nil {
			t.Fatal(err)
		}
		d.options.PageTime = 100 * time.Millisecond
		_, err = d.Render(context.Background(), 1, 300)
		if !errors.Is(err, document.ErrLimit) || !strings.Contains(err.Error(), "more than 100ms") {
			t.Errorf("interruptible %v: %v", interruptible, err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := d.Render(ctx, 1, 300); !errors.Is(err, context.Canceled) {
			t.Errorf("interruptible %v: %v", interruptible, err)
		}
		d.Close()
	}
}

// A file of a thousand pages is read in memory that does not grow with it.
func TestThousandPages(t *testing.T) {
	const n = 1000
	objects := []string{catalogue, ""}
	var kids strings.Builder
	for i := range n {
		fmt.Fprintf(&kids, "%d 0 R ", 3+2*i)
		objects = append(objects,
			fmt.Sprintf("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] %s /Contents %d 0 R >>", font, 4+2*i),
			stream("", fmt.Sprintf("BT /F 12 Tf 10 10 Td (page %d) Tj ET 10 50 100 20 re S", i+1)))
	}
	objects[1] = fmt.Sprintf("<< /Type /Pages /Kids [%s] /Count %d >>", kids.String(), n)
	d, err := openBytes(file(objects...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var before uint64
	for i := range n {
		p, err := d.Page(context.Background(), i+1)
		if err != nil || text(p.Words) != fmt.Sprintf("page %d", i+1) {
			t.Fatalf("page %d: %v", i+1, err)
		}
		if i == 150 {
			before = heap()
		}
	}
	if after := heap(); after > before+32<<20 {
		t.Errorf("%d MB after %d pages, %d MB after 150", after>>20, n, before>>20)
	}
}
