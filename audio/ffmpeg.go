package audio

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// openFFmpeg reads the first sound of a file with ffmpeg, which decodes it into a WAV through a pipe.
func (s *Stream) openFFmpeg(parent context.Context, head []byte, r io.Reader, o *options) error {
	known := unread(head) + " (what is: " + formatNames() + ")"
	if o.noProcess {
		return soundErrorf("%s, and to start ffmpeg for others is switched off", known)
	}
	name := o.ffmpeg
	if name == "" {
		name = "ffmpeg"
	}
	binary, err := exec.LookPath(name)
	if err != nil {
		return soundErrorf("%s, and others need ffmpeg: install it, or put it on PATH", known)
	}
	ctx, cancel := context.WithCancel(parent)
	cmd := exec.CommandContext(ctx, binary, "-hide_banner", "-nostdin", "-loglevel", "error",
		"-protocol_whitelist", "pipe", "-i", "pipe:0", "-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "wav", "pipe:1")
	cmd.WaitDelay = 5 * time.Second // for pipes that a child of ffmpeg holds
	cmd.Stdin = struct{ io.Reader }{r}
	var complaints tail
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return soundErrorf("starting ffmpeg: %w", err)
	}
	wait := sync.OnceValue(cmd.Wait) // Close may come while another goroutine reads
	end := func() error {
		cancel()
		wait() // stopped, or at its end: what it says is told where its output is read
		return nil
	}
	decoded, err := openWAV(bufio.NewReaderSize(out, 64<<10))
	if err != nil {
		_, _ = io.Copy(io.Discard, out)
		ended := wait()
		cancel()
		switch said := strings.TrimSpace(string(complaints)); {
		case parent.Err() != nil:
			return parent.Err()
		case said != "":
			return soundErrorf("%s, and ffmpeg cannot read it: %s", known, said)
		case ended != nil:
			return soundErrorf("ffmpeg failed: %w", ended)
		}
		return err
	}
	s.format = "ffmpeg's WAV"
	s.decoder, s.close = &byFFmpeg{wav: decoded, parent: parent, wait: wait, complaints: &complaints}, end
	return nil
}

// unread says what a file is that this package does not read.
func unread(head []byte) string {
	name := ""
	switch {
	case len(head) >= 12 && string(head[4:8]) == "ftyp":
		name = "MP4 or M4A"
	case begins(head, "FORM"):
		name = "AIFF"
	case begins(head, ".snd"):
		name = "AU"
	case begins(head, "#!AMR"):
		name = "AMR"
	case begins(head, "\x30\x26\xb2\x75"):
		name = "WMA"
	case begins(head, "\x1aE\xdf\xa3"):
		name = "Matroska or WebM"
	case len(head) > 1 && head[0] == 0xFF && head[1]&0xF6 == 0xF0:
		name = "AAC"
	case len(head) > 1 && head[0] == 0xFF && head[1]&0xE0 == 0xE0:
		name = "MPEG audio of another layer than 3, or of MPEG-2.5 (12,000 samples a second and fewer),"
	}
	if name == "" {
		return "its format is not known"
	}
	return name + " is not read"
}

// byFFmpeg reads what ffmpeg writes.
type byFFmpeg struct {
	*wav
	parent     context.Context
	wait       func() error
	complaints *tail
	err        error // of the end
}

func (f *byFFmpeg) Read(dst []float32) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.wav.Read(dst)
	if n > 0 || !(errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed)) {
		return n, err
	}
	f.err = io.EOF
	if wait := f.wait(); f.parent.Err() != nil {
		f.err = f.parent.Err()
	} else if wait != nil {
		f.err = soundErrorf("ffmpeg failed: %s", strings.TrimSpace(string(*f.complaints)))
	}
	return 0, f.err
}

// tail keeps the end of the bytes written to it.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	if n := len(*t); n > 300 {
		*t = append((*t)[:0], (*t)[n-300:]...)
	}
	return len(p), nil
}
