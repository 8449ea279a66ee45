//go:build slow

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/crossattn/xpipe/studio/upstream/upstreamtest"
)

// mostShot bounds a picture of docs/studio, in bytes.
const mostShot = 60_000

// TestStudioShots makes the pictures of docs/studio again: make studio-shots.
func TestStudioShots(t *testing.T) {
	dir := os.Getenv("XPIPE_STUDIO_SHOTS")
	if dir == "" {
		t.Skip("make studio-shots makes the pictures")
	}
	b := openBrowser(t)
	shot := func(name string) {
		t.Helper()
		for _, theme := range []string{"light", "dark"} {
			eval[bool](b, fmt.Sprintf("document.documentElement.dataset.theme = %q; true", theme))
			time.Sleep(400 * time.Millisecond)
			data, err := chromedp.Call(b.ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{Format: "webp", Quality: new(int64(80))})
			if err != nil {
				t.Fatal(err)
			}
			if len(data.Data) > mostShot {
				t.Errorf("%s has %d bytes", name, len(data.Data))
			}
			if err := os.WriteFile(filepath.Join(dir, name+"-"+theme+".webp"), data.Data, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		eval[bool](b, "delete document.documentElement.dataset.theme; true")
	}
	b.addService(&upstreamtest.Service{})
	b.open("/")
	b.ask("", file(t, "images/dog.png"))
	b.open("/")
	shot("01-begin")
	b.open("/")
	b.ask("what color is it?", file(t, "images/red-circle.png"))
	b.focusAnswer()
	b.lens("of the picture")
	shot("02-picture")
	b.open("/")
	b.ask("", file(t, "document/pages.pdf"))
	b.focusAnswer()
	for range 12 {
		b.key("\ue015")
	}
	b.until("document.querySelector('.stage img').naturalWidth > 100 && document.querySelectorAll('.boxes i').length")
	shot("03-document")
	b.open("/")
	b.ask("", file(t, "speech/jfk.flac"))
	b.focusAnswer()
	b.lens("is heard at")
	b.until("document.querySelector('#lens audio').duration > 1")
	shot("04-sound")
	b.open("/")
	b.choose("blip2-mini", "lxmert-mini")
	b.ask("what color is the shape?", file(t, "images/blue-triangle.png"))
	shot("05-side-by-side")
	chat := eval[string](b, "location.pathname")
	b.open("/studio/")
	b.typed("#find", "color\r")
	b.until("document.querySelector('.hits mark')")
	b.typed("input[name=of]", "a red circle\r")
	b.until("document.querySelector('.hits')?.innerText.includes('likeness')")
	shot("06-search")
	b.click(".places a[href$=prompts]")
	b.typed(".card input[name=name]", "Colors")
	b.typed("textarea[name=text]", "{{picture}} what color is the {{thing}}?")
	b.click(".card .primary")
	b.sees("#fill")
	b.typed("input[name='texts.thing']", "shape")
	b.files("[data-slot-files=picture]", file(t, "images/red-circle.png"), file(t, "images/blue-triangle.png"), file(t, "images/gray-rectangle.png"))
	b.until("document.querySelectorAll('.slot li:not(.loading)').length === 3")
	shot("07-prompt")
	b.click("[data-over=picture]")
	b.until("document.querySelector('#job [role=status]')?.textContent.startsWith('3 of 3')")
	shot("08-table")
	b.click(".places a[href$=settings]")
	b.sees("input[name=url]")
	shot("09-settings")
	b.do(chromedp.EmulateViewport(360, 740))
	b.open(chat)
	shot("10-phone")
}
