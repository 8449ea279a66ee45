package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// embedded is what embedding many pictures through a service gave.
type embedded struct {
	load
	Memory memory `json:"memory_mib"` // behind them
}

// form is a multipart form with a picture, as Immich sends it.
func form(entries string, jpeg []byte) (kind string, body []byte) {
	var buffer bytes.Buffer
	w := multipart.NewWriter(&buffer)
	w.WriteField("entries", entries)
	head := textproto.MIMEHeader{}
	head.Set("Content-Disposition", `form-data; name="image"; filename="picture.jpg"`)
	head.Set("Content-Type", "image/jpeg")
	part, _ := w.CreatePart(head)
	part.Write(jpeg)
	w.Close()
	return w.FormDataContentType(), buffer.Bytes()
}

// predict asks for a picture's embedding in Immich's dialect, which the peer speaks, too.
func predict(ctx context.Context, address, model string, jpeg []byte) result {
	kind, body := form(`{"clip":{"visual":{"modelName":"`+model+`"}}}`, jpeg)
	start := time.Now()
	answer, err := post(ctx, address+"/predict", kind, body)
	if err != nil {
		return result{err: err}
	}
	defer answer.Close()
	data, err := io.ReadAll(answer)
	if err == nil && !bytes.Contains(data, []byte(`"clip"`)) {
		err = fmt.Errorf("no embedding in %.200s", data)
	}
	return result{whole: time.Since(start), err: err}
}

// embedAll embeds pictures through a service, 16 at a time.
func embedAll(ctx context.Context, p *process, model string, pictures [][]byte) (e embedded, err error) {
	defer p.stop()
	send := func(i int) result { return predict(ctx, p.address, model, pictures[i]) }
	if r := send(0); r.err != nil {
		return e, r.err
	}
	e.load = closed(16, len(pictures), send)
	e.Memory = p.memory()
	return e, nil
}

// embed embeds pictures through the server, by `xpipe embed` on a folder, and through the peer: with the
// embedded model, and with one of CLIP ViT-B/32's size, as Immich has it by default.
func (b *bench) embed(ctx context.Context) error {
	n := b.count(1000)
	dir, err := os.MkdirTemp("", "benchserve")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	pictures := make([][]byte, n)
	for i := range pictures {
		pictures[i] = picture(i, 640, 480)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%05d.jpg", i)), pictures[i], 0o644); err != nil {
			return err
		}
	}
	part := map[string]any{}
	b.report["embed"] = part
	server, err := b.besidePeer(ctx, part, "models/mini/clip-mini", pictures, "auto")
	if err != nil {
		return err
	}
	began := time.Now()
	cmd := exec.CommandContext(ctx, b.program, "embed", dir, "--engine", "go", "--out", filepath.Join(dir, "rows.npy"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("xpipe embed: %w: %s", err, out)
	}
	folder := float64(n) / time.Since(began).Seconds()
	part["folder_per_second"], part["server_to_folder"] = round(folder), round(server.PerSecond/folder)
	fmt.Fprintf(os.Stderr, "embed: %.0f a second, the command %.0f\n", server.PerSecond, folder)
	if b.clip == "" {
		return nil
	}
	_, err = b.besidePeer(ctx, part, b.clip, pictures[:b.count(300)], "auto", "bf16", "int8")
	return err
}

// besidePeer embeds pictures through the server, at each of some precisions, and through the peer, with
// the graphs of one bundle. It returns what the server did at the first of them.
func (b *bench) besidePeer(
	ctx context.Context, part map[string]any, bundle string, pictures [][]byte, precisions ...string,
) (first embedded, err error) {
	name := filepath.Base(bundle)
	found := map[string]any{}
	part[name] = found
	var peer embedded
	if b.peer != "" {
		address, err := freePort()
		if err != nil {
			return first, err
		}
		words := append(strings.Fields(b.peer), bundle, address)
		p, err := start(ctx, address, "/ping", words[0], words[1:]...)
		if err != nil {
			return first, err
		}
		if peer, err = embedAll(ctx, p, name, pictures); err != nil {
			return first, err
		}
		found["peer"] = peer
		fmt.Fprintf(os.Stderr, "embed: %s: the peer %.1f a second in %v MiB\n", name, peer.PerSecond, peer.Memory)
	}
	for i, precision := range precisions {
		args := []string{"--precision", precision}
		if name != "clip-mini" { // which is in the program
			args = append(args, "--model", bundle)
		}
		p, err := b.serve(ctx, args...)
		if err != nil {
			return first, err
		}
		e, err := embedAll(ctx, p, name, pictures)
		if err != nil {
			return first, err
		}
		found["server_"+precision] = e
		if i == 0 {
			first = e
		}
		fmt.Fprintf(os.Stderr, "embed: %s: %.1f a second at precision %s in %v MiB\n", name, e.PerSecond, precision, e.Memory)
		if b.peer != "" {
			found["to_peer_"+precision] = map[string]float64{
				"requests_per_second": round(e.PerSecond / peer.PerSecond), "resident": round(e.Memory.Resident / peer.Memory.Resident),
				"peak": round(e.Memory.Peak / peer.Memory.Peak), "anonymous": round(e.Memory.Anonymous / peer.Memory.Anonymous),
			}
		}
	}
	return first, nil
}
