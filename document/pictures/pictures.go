// Package pictures makes documents of picture files: the pages of a TIFF file, the frames of an
// animation, or one page. The formats are those of package vision; a program adds others by importing
// vision/avif or vision/heic.
package pictures

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"io"
	"os"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/vision"
)

// mostPages is how many pages of a TIFF file are looked for.
const mostPages = 100_000

// Document is a picture file. Its methods may be called at once.
type Document struct {
	format string
	data   []byte        // of a TIFF file
	starts []uint64      // of its pages' directories
	frames []*vision.RGB // of other files
	opts   []vision.Option
}

var _ document.Paged = (*Document)(nil)

// Open reads a file. Errors wrap vision.ErrImage, document.ErrDocument or document.ErrLimit.
func Open(ctx context.Context, name string, opts ...vision.Option) (*Document, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, 16)
	n, _ := io.ReadFull(f, head)
	if !isTIFF(head[:n]) {
		frames, err := vision.Frames(ctx, name, 0, append(opts, vision.WithoutFFmpeg())...)
		if err != nil {
			return nil, err
		}
		return &Document{format: "picture", frames: frames}, nil
	}
	const most = 512 << 20 // as vision bounds a file
	data, err := io.ReadAll(io.LimitReader(io.MultiReader(bytes.NewReader(head[:n]), f), most+1))
	if err != nil {
		return nil, err
	}
	if len(data) > most {
		return nil, fmt.Errorf("%s: %w", name, &media.LimitError{Text: "a TIFF file of more than 512 MiB"})
	}
	starts, err := directories(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &Document{format: "TIFF", data: data, starts: starts, opts: opts}, nil
}

func isTIFF(head []byte) bool {
	for _, magic := range []string{"II*\x00", "MM\x00*", "II+\x00", "MM\x00+"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	return false
}

// directories returns where the directories of a TIFF file begin, one for each page. A chain that leads
// back into itself or out of the file ends there; that of the first page has to lie in the file.
func directories(data []byte) ([]uint64, error) {
	if len(data) < 16 {
		return nil, fmt.Errorf("%w: the TIFF file is cut", document.ErrDocument)
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if data[0] == 'M' {
		order = binary.BigEndian
	}
	big := order.Uint16(data[2:]) == 43
	size := uint64(len(data))
	number := func(at uint64, wide bool) (uint64, bool) {
		if wide {
			if at+8 > size || at+8 < at {
				return 0, false
			}
			return order.Uint64(data[at:]), true
		}
		if at+4 > size || at+4 < at {
			return 0, false
		}
		return uint64(order.Uint32(data[at:])), true
	}
	at, ok := number(4, false)
	entry, counted := uint64(12), uint64(2)
	if big {
		at, ok = number(8, true)
		entry, counted = 20, 8
	}
	var starts []uint64
	seen := map[uint64]bool{}
	for ok && at != 0 && !seen[at] && at < size && len(starts) < mostPages {
		seen[at] = true
		entries := uint64(0)
		if big {
			entries, ok = number(at, true)
		} else if ok = at+2 <= size; ok {
			entries = uint64(order.Uint16(data[at:]))
		}
		if !ok || entries > size/entry {
			break
		}
		starts = append(starts, at)
		at, ok = number(at+counted+entries*entry, big)
	}
	if len(starts) == 0 {
		return nil, fmt.Errorf("%w: the TIFF file has no page", document.ErrDocument)
	}
	return starts, nil
}

// Pages returns the number of pages or frames.
func (d *Document) Pages() int { return max(len(d.starts), len(d.frames)) }

// Page returns the size of a page in pixels: a picture has no words of its own.
func (d *Document) Page(ctx context.Context, n int) (*document.Page, error) {
	m, err := d.picture(ctx, n)
	if err != nil {
		return nil, err
	}
	return &document.Page{Number: n, Width: float64(m.Width), Height: float64(m.Height),
		Pictures: []document.Box{{X1: 1, Y1: 1}}}, nil
}

// Render returns page n, from 1, as it is, whatever dpi is.
func (d *Document) Render(ctx context.Context, n int, _ float64) (*image.RGBA, error) {
	m, err := d.picture(ctx, n)
	if err != nil {
		return nil, err
	}
	return m.Image(), nil
}

func (d *Document) picture(ctx context.Context, n int) (*vision.RGB, error) {
	if n < 1 || n > d.Pages() {
		return nil, fmt.Errorf("%w: there is no page %d: the file has %d", document.ErrDocument, n, d.Pages())
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if d.data == nil {
		return d.frames[n-1], nil
	}
	// The file with another page as its first.
	head := bytes.Clone(d.data[:16])
	order := binary.ByteOrder(binary.LittleEndian)
	if head[0] == 'M' {
		order = binary.BigEndian
	}
	if order.Uint16(head[2:]) == 43 {
		order.PutUint64(head[8:], d.starts[n-1])
	} else {
		order.PutUint32(head[4:], uint32(d.starts[n-1]))
	}
	m, err := vision.Decode(io.MultiReader(bytes.NewReader(head), bytes.NewReader(d.data[16:])), d.opts...)
	if err != nil {
		return nil, fmt.Errorf("page %d: %w", n, err)
	}
	return m, nil
}

// Info says of what format the file is.
func (d *Document) Info() document.Info { return document.Info{Format: d.format} }

// Outline is empty.
func (d *Document) Outline() []document.Mark { return nil }

// Close does nothing.
func (d *Document) Close() error { return nil }
