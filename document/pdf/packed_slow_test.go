//go:build slow

package pdf

import (
	"bytes"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/crossattn/xpipe/document"
)

// A stream that unpacks to a thousand times what it is: an error or a page, and the other pages go on.
func TestPackedStream(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	z, _ := zlib.NewWriterLevel(&packed, 9)
	zeros := make([]byte, 1<<20)
	for range 20 {
		z.Write(zeros)
	}
	z.Close()
	page := func(contents int) string {
		return fmt.Sprintf("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] %s /Contents %d 0 R >>", font, contents)
	}
	data := file(catalogue, "<< /Type /Pages /Kids [3 0 R 4 0 R] /Count 2 >>", page(5), page(6),
		stream("/Filter /FlateDecode", packed.String()), stream("", "BT /F 12 Tf 10 10 Td (fine) Tj ET"))
	d, err := openBytes(data, Options{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Page(context.Background(), 1); err != nil {
		t.Logf("%v", err)
		if !errors.Is(err, document.ErrDocument) {
			t.Error(err)
		}
	}
	p, err := d.Page(context.Background(), 2)
	if err != nil || text(p.Words) != "fine" {
		t.Errorf("page 2: %v", err)
	}
}
