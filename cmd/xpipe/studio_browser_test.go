package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// browser is a page in headless Chromium, over the program as users run it.
type browser struct {
	t    *testing.T
	ctx  context.Context
	base string
	data string // the studio's folder

	mu  sync.Mutex
	bad []string // what the console told of failures
}

// missing skips a test for want of something, or fails it where nothing may be left out.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("XPIPE_REQUIRE_REFS") != "" {
		t.Fatal(what)
	}
	t.Skip("NOT TESTED: " + what)
}

// chromium finds a browser.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(t, "there is no Chromium here for the studio's page: apt-get install chromium")
	return ""
}

// startStudio starts the program in a process of its own and returns its address.
func startStudio(t *testing.T, data string) string {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(executable, "serve", "--listen", "127.0.0.1:0", "--data", data, "--log-level", "error", "--drain", "2s")
	cmd.Env = append(os.Environ(), runEnv+"=1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := make(chan string, 1)
	said := make(chan struct{})
	go func() {
		defer close(said)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if at, ok := strings.CutPrefix(lines.Text(), "listening at "); ok {
				address <- at
				continue
			}
			t.Log(lines.Text())
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		<-said
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	select {
	case at := <-address:
		return at
	case <-said:
		t.Fatal("the server does not start")
	}
	return ""
}

// openBrowser starts the program and a browser.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	path := chromium(t)
	b := &browser{t: t, data: t.TempDir()}
	b.base = startStudio(t, b.data)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox)
	allocated, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	b.ctx, cancel = context.WithTimeout(ctx, 4*time.Minute)
	t.Cleanup(cancel)
	b.watch(b.ctx)
	b.do(chromedp.EmulateViewport(1280, 860))
	return b
}

// watch notes what the console tells of failures.
func (b *browser) watch(ctx context.Context) {
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.IsException() || m.Type == "error" && !strings.Contains(m.Text, "Failed to load resource") {
				b.mu.Lock()
				b.bad = append(b.bad, m.Text)
				b.mu.Unlock()
			}
		}
	}()
}

// quiet fails where the console told of failures, such as what the page's policy refused.
func (b *browser) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.bad {
		b.t.Errorf("the console says: %s", m)
	}
	b.bad = nil
}

// do runs steps. A step that does not come to its end fails the test with what the page shows.
func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ended := time.AfterFunc(time.Minute, func() { chromedp.Cancel(b.ctx) })
	defer ended.Stop()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatalf("%v", err)
	}
}

func (b *browser) open(path string) { b.t.Helper(); b.do(chromedp.Navigate(b.base + path)) }
func (b *browser) click(sel string) { b.t.Helper(); b.do(chromedp.Click(chromedp.CSS(sel))) }
func (b *browser) typed(sel, text string) {
	b.t.Helper()
	b.do(chromedp.SendKeys(chromedp.CSS(sel), text))
}
func (b *browser) sees(sel string) { b.t.Helper(); b.do(chromedp.WaitVisible(chromedp.CSS(sel))) }
func (b *browser) files(sel string, f ...string) {
	b.t.Helper()
	b.do(chromedp.SetUploadFiles(chromedp.CSS(sel), f))
}

// eval is the value of an expression of the page.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits until an expression of the page is true.
func (b *browser) until(expression string) {
	b.t.Helper()
	for range 600 {
		if eval[bool](b, "!!("+expression+")") {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.t.Fatalf("it does not come: %s; the page says %q", expression, eval[string](b, "document.body.innerText.slice(0, 2000)"))
}

// file is the whole path of a file of testdata.
func file(t *testing.T, path string) string {
	t.Helper()
	whole, err := filepath.Abs(filepath.FromSlash("../../testdata/" + path))
	if err != nil {
		t.Fatal(err)
	}
	return whole
}

// ask sends a message with files and waits for the answers.
func (b *browser) ask(text string, files ...string) {
	b.t.Helper()
	before := eval[string](b, "location.pathname")
	count := eval[int](b, "document.querySelectorAll('.msg').length")
	if len(files) > 0 {
		b.files("#files", files...)
		b.until(fmt.Sprintf("document.querySelectorAll('#attached li:not(.loading)').length === %d", len(files)))
	}
	if text != "" {
		b.typed("#text", text)
	}
	b.click("#send")
	b.until(fmt.Sprintf("(location.pathname !== %q || document.querySelectorAll('.msg').length > %d) && document.querySelector('.msg.assistant') && !document.querySelector('[data-live]')", before, count))
}

// axe has axe-core look at the page for what keeps people with disabilities out. It is installed by make
// test-axe.
func (b *browser) axe(where string) {
	b.t.Helper()
	script, err := os.ReadFile(filepath.FromSlash("../../build/axe/node_modules/axe-core/axe.min.js"))
	if err != nil {
		if os.Getenv("XPIPE_REQUIRE_REFS") != "" {
			b.t.Fatal("axe-core is not there: make test-axe")
		}
		b.t.Log("NOT TESTED: axe-core is not there (make test-axe)")
		return
	}
	eval[bool](b, string(script)+"; true")
	for _, theme := range []string{"light", "dark"} {
		eval[bool](b, fmt.Sprintf("document.documentElement.dataset.theme = %q; true", theme))
		time.Sleep(200 * time.Millisecond) // colours fade from one to the other
		for _, found := range eval[[]string](b, `axe.run().then(r => r.violations.flatMap(v => v.nodes.map(n =>
			v.id + ' (' + v.impact + '): ' + n.html.slice(0, 160) + ' ' + n.failureSummary.replace(/\s+/g, ' ').slice(0, 240))))`) {
			b.t.Errorf("%s, %s: axe finds %s", where, theme, found)
		}
	}
	eval[bool](b, "delete document.documentElement.dataset.theme; true")
}

// A picture is attached and asked about; the words of the answer show where in it they came from, by the keyboard.
func TestStudioInBrowser(t *testing.T) {
	t.Parallel()
	b := openBrowser(t)
	b.open("/")
	b.sees("#text")
	b.ask("what color is it?", file(t, "images/red-circle.png"))
	if made := eval[string](b, "document.querySelector('.msg.assistant header').innerText"); !strings.Contains(made, "blip2-mini") {
		t.Errorf("the answer is by %q", made)
	}
	if text := eval[string](b, "document.querySelector('.msg.assistant .text').innerText"); !strings.Contains(text, "red") {
		t.Errorf("the answer is %q", text)
	}
	eval[bool](b, "document.querySelector('.msg.assistant .text').focus(); true")
	b.until("document.querySelector('.stage.lit canvas') && document.querySelector('#lens-says').textContent.includes('of the picture')")
	b.axe("an answer")
	b.open("/")
	b.until("document.querySelector('#lists a.chat').textContent === 'what color is it?'")
	b.axe("the first page")
	b.quiet()
}
