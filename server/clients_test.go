package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crossattn/xpipe/server/serving"
)

// listen starts a server with the embedded models.
func listen(t *testing.T, c Config) (*Server, *httptest.Server) {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	l := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		l.Close()
		s.Service.Close()
	})
	return s, l
}

// catPicture is a picture as a data: URL.
func catPicture(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../testdata/images/cat.jpg")
	if err != nil {
		t.Fatal(err)
	}
	return "data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(data)
}

// question is the body of a streamed chat about a picture.
func question(picture string, tokens int) string {
	return fmt.Sprintf(`{"model":"blip2-mini","stream":true,"max_tokens":%d,"messages":[{"role":"user","content":[
		{"type":"text","text":"what color is it?"},{"type":"image_url","image_url":{"url":"%s"}}]}]}`, tokens, picture)
}

// settle waits until a condition holds.
func settle(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for start := time.Now(); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > 30*time.Second {
			t.Fatal(what)
		}
	}
}

// Clients that ask, break off, stall and close one half of a connection leave nothing behind: no
// goroutine, no use of a model, no text that goes on. The whole of it runs with -tags slow.
func TestClientsComeAndGo(t *testing.T) {
	clients, visits, duration := 16, 10, time.Duration(0)
	if slow {
		clients, visits, duration = 256, 20, time.Minute
	}
	s, l := listen(t, Config{Serving: serving.Config{Queue: 64}})
	picture := catPicture(t)
	before := runtime.NumGoroutine()
	end := time.Now().Add(duration)
	var all sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for i := range clients {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 9))
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: r.IntN(2) == 0}}
			defer client.CloseIdleConnections()
			for i := 0; i < visits || time.Now().Before(end); i++ {
				status, err := visit(t.Context(), client, l.URL, picture, r)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				statuses[status]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for status, n := range statuses {
		if status != 0 && status != 200 && status != 400 && status != 503 {
			t.Errorf("%d answers of status %d", n, status)
		}
	}
	if statuses[200] == 0 {
		t.Error("nobody got an answer")
	}
	t.Logf("statuses %v", statuses)
	settle(t, "uses of models are left", func() bool {
		for _, o := range s.Service.Opened() {
			if o.Users > 0 {
				return false
			}
		}
		return true
	})
	settle(t, "goroutines are left", func() bool { return runtime.NumGoroutine() <= before+8 })
}

// visit does one of the things that clients do. The status is 0 where the client went away.
func visit(ctx context.Context, client *http.Client, address, picture string, r *rand.Rand) (status int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body := io.Reader(strings.NewReader(question(picture, 1+r.IntN(12))))
	kind := r.IntN(6)
	switch kind {
	case 0: // goes away whenever
		time.AfterFunc(time.Duration(r.IntN(40))*time.Millisecond, cancel)
	case 1: // sends half of a body, and no more
		half := question(picture, 4)
		return halfClosed(address, half[:len(half)/2], len(half), r)
	case 2: // closes its side for writing, and reads on
		whole := question(picture, 4)
		return halfClosed(address, whole, len(whole), r)
	case 3:
		body = strings.NewReader(`{"model":"blip2-mini"`)
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, address+"/v1/chat/completions", body)
	if err != nil {
		return 0, err
	}
	answer, err := client.Do(q)
	if err != nil {
		return 0, nil // it went away
	}
	defer answer.Body.Close()
	if kind == 4 { // reads a little
		answer.Body.Read(make([]byte, 20))
		return 0, nil
	}
	io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, nil
}

// halfClosed sends a body that is said to have so many bytes, closes the connection for writing, and
// reads what comes.
func halfClosed(address, body string, length int, r *rand.Rand) (int, error) {
	c, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
	if err != nil {
		return 0, nil
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", c.RemoteAddr(), length, body)
	c.(*net.TCPConn).CloseWrite()
	c.SetReadDeadline(time.Now().Add(time.Duration(1+r.IntN(200)) * time.Millisecond))
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, nil
	}
	io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	return 0, nil
}

// Whatever is wrong in a request is the client's fault, in the words of its dialect; the server answers
// the next one as ever.
func TestMalformed(t *testing.T) {
	t.Parallel()
	n := 400
	if slow {
		n = 10_000
	}
	_, l := listen(t, Config{BodyBytes: 1 << 20})
	picture := catPicture(t)
	good := map[string]string{
		"/v1/chat/completions":     question(picture, 2),
		"/v1/responses":            `{"model":"blip2-mini","input":[{"role":"user","content":[{"type":"input_text","text":"hi"},{"type":"input_image","image_url":"` + picture + `"}]}],"max_output_tokens":2}`,
		"/v1/embeddings":           `{"model":"clip-mini","input":["a cat","a dog"]}`,
		"/api/generate":            `{"model":"blip2-mini","prompt":"what is it?","images":["` + strings.SplitN(picture, ",", 2)[1] + `"],"stream":false,"options":{"num_predict":2}}`,
		"/api/chat":                `{"model":"blip2-mini","messages":[{"role":"user","content":"hi"}],"format":{"type":"object"}}`,
		"/api/embed":               `{"model":"clip-mini","input":["a","b"]}`,
		"/api/show":                `{"model":"clip-mini"}`,
		"/api/v1/vision/caption":   `{"images":["` + picture + `"]}`,
		"/predict":                 "--b\r\nContent-Disposition: form-data; name=\"entries\"\r\n\r\n{\"clip\":{\"textual\":{\"modelName\":\"clip-mini\"}}}\r\n--b\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\ncat\r\n--b--\r\n",
		"/xpipe/v1/caption":        "--b\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.jpg\"\r\n\r\nno picture\r\n--b--\r\n",
		"/v1/audio/transcriptions": "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF0000WAVEfmt \r\n--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-mini\r\n--b--\r\n",
	}
	var paths []string
	for path := range good {
		paths = append(paths, path)
	}
	r := rand.New(rand.NewPCG(3, 4))
	answers := map[int]int{}
	for i := range n {
		path := paths[r.IntN(len(paths))]
		body := mangled(r, good[path])
		kind := "application/json"
		if strings.HasPrefix(good[path], "--b") {
			kind = "multipart/form-data; boundary=b"
		}
		if r.IntN(20) == 0 {
			kind = "text/plain"
		}
		answer, err := http.Post(l.URL+path, kind, bytes.NewReader(body))
		if err != nil {
			t.Fatalf("%d: %s: %v", i, path, err)
		}
		data, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		answers[answer.StatusCode]++
		if answer.StatusCode >= 500 && answer.StatusCode != http.StatusNotImplemented {
			t.Errorf("%s: status %d: %.300s\n%.300q", path, answer.StatusCode, data, body)
		}
		if bytes.Contains(data, []byte("goroutine ")) || bytes.Contains(data, []byte(".go:")) {
			t.Errorf("%s tells of the inside: %s", path, data)
		}
	}
	t.Logf("answers %v", answers)
	answer, err := http.Post(l.URL+"/v1/chat/completions", "application/json", strings.NewReader(question(picture, 2)))
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("afterwards: %v, %v", answer, err)
	}
}

// mangled damages a body: it cuts, repeats, swaps, and puts in what parsers trip over.
func mangled(r *rand.Rand, body string) []byte {
	b := []byte(body)
	odd := []string{"\x00", "\xff", "{", "}", "[", "]", `"`, "null", "-1", "1e999", "99999999999999999999", `"\ud800"`, "\r\n", "--b", "true", ",", ":", `\u0000`}
	for range 1 + r.IntN(4) {
		if len(b) == 0 {
			break
		}
		at := r.IntN(min(len(b), 400)) // most of a body is a picture
		if r.IntN(4) == 0 {
			at = r.IntN(len(b))
		}
		switch r.IntN(5) {
		case 0:
			b = b[:at]
		case 1:
			b = append(b[:at:at], append([]byte(odd[r.IntN(len(odd))]), b[at:]...)...)
		case 2:
			b[at] = byte(r.IntN(256))
		case 3:
			to := min(len(b), at+r.IntN(40))
			b = append(b[:at:at], b[to:]...)
		case 4:
			to := min(len(b), at+r.IntN(40))
			b = append(b[:to:to], b[at:]...)
		}
	}
	return b
}

// A server that is to end lets requests finish, and takes no more.
func TestServeDrains(t *testing.T) {
	t.Parallel()
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	answered := make(chan int, 1)
	go func() {
		answer, err := http.Post("http://"+l.Addr().String()+"/v1/chat/completions", "application/json",
			strings.NewReader(question(catPicture(t), 12)))
		if err != nil {
			t.Error(err)
			answered <- 0
			return
		}
		io.Copy(io.Discard, answer.Body)
		answered <- answer.StatusCode
	}()
	settle(t, "nothing runs", func() bool { return len(s.Service.Opened()) > 0 })
	cancel()
	if status := <-answered; status != http.StatusOK {
		t.Errorf("a request that ran gets %d", status)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the server does not end")
	}
	if _, err := http.Get("http://" + l.Addr().String() + "/healthz"); err == nil {
		t.Error("it answers behind its end")
	}
}
