package pdf

import (
	"context"
	"os"
	"testing"
)

// BenchmarkPage reads the text layer of XPIPE_PDF's pages in turn, or of pages.pdf's.
func BenchmarkPage(b *testing.B) {
	name := os.Getenv("XPIPE_PDF")
	if name == "" {
		name = golden + "pages.pdf"
	}
	d := open(b, name, Options{Workers: 1})
	for i := 0; b.Loop(); i++ {
		if _, err := d.Page(context.Background(), i%d.Pages()+1); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRender draws them at 150 dpi.
func BenchmarkRender(b *testing.B) {
	name := os.Getenv("XPIPE_PDF")
	if name == "" {
		name = golden + "pages.pdf"
	}
	d := open(b, name, Options{Workers: 1})
	for i := 0; b.Loop(); i++ {
		if _, err := d.Render(context.Background(), i%d.Pages()+1, 150); err != nil {
			b.Fatal(err)
		}
	}
}
