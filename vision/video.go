package vision

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// videoFrames reads frames of a video with ffmpeg: once over it to count them, once to decode those
// wanted.
func videoFrames(ctx context.Context, path string, n int, o *options) ([]*RGB, error) {
	if o.noProcess {
		return nil, imageErrorf("not a picture, and to start ffmpeg for a video is switched off")
	}
	name := o.ffmpeg
	if name == "" {
		name = "ffmpeg"
	}
	binary, err := exec.LookPath(name)
	if err != nil {
		return nil, imageErrorf(
			"not a picture, and to read it as a video needs ffmpeg: install it, or put it on "+
				"PATH (%w)",
			err)
	}
	v := &video{binary: binary, path: path, limits: o.limits}
	frames, err := v.frames(ctx, n, false)
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrLimit) {
		// Some files, such as MP4 whose index comes last, cannot be read from start to end. For
		// those ffmpeg opens the file itself.
		if again, err := v.frames(ctx, n, true); err == nil {
			return again, nil
		}
	}
	return frames, err
}

type video struct {
	binary, path string
	limits       Limits
}

func (v *video) frames(ctx context.Context, n int, byName bool) ([]*RGB, error) {
	total := 0
	args := []string{"-map", "0:v:0", "-c", "copy", "-f", "framecrc", "pipe:1"}
	err := v.run(ctx, byName, args, func(r io.Reader) error {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			if !bytes.HasPrefix(lines.Bytes(), []byte("#")) {
				total++
			}
		}
		return lines.Err()
	})
	if err != nil {
		return nil, err
	}
	if total == 0 {
		return nil, imageErrorf("ffmpeg finds no frame in it")
	}
	if total > v.limits.Frames {
		return nil, limitErrorf("Frames", "the video has %d frames, the limit is %d", total, v.limits.Frames)
	}
	wanted := sample(total, n)
	terms := make([]string, len(wanted))
	for i, k := range wanted {
		terms[i] = fmt.Sprintf(`eq(n\,%d)`, k)
	}
	filter := "select=" + strings.Join(terms, "+")
	if len(wanted) == total {
		filter = "null"
	}
	var frames []*RGB
	read := func(r io.Reader) error {
		br := bufio.NewReaderSize(r, 1<<16)
		for {
			m, err := v.readPPM(br, len(wanted))
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if frames = append(frames, m); len(frames) > len(wanted) {
				return imageErrorf("ffmpeg gave more than the %d frames asked for", len(wanted))
			}
		}
	}
	// The option that keeps ffmpeg from repeating or dropping frames has this name since 5.1; the
	// older one went with 9.0.
	for _, keepAll := range []string{"-fps_mode", "-vsync"} {
		args := []string{
			"-map", "0:v:0", "-vf", filter, keepAll, "passthrough",
			"-pix_fmt", "rgb24", "-c:v", "ppm", "-f", "image2pipe", "pipe:1",
		}
		err = v.run(ctx, byName, args, read)
		if err == nil || !strings.Contains(err.Error(), keepAll[1:]) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	if len(frames) == 0 {
		return nil, imageErrorf("ffmpeg decodes no frame of it")
	}
	return frames, nil
}

// run starts ffmpeg on the video and gives its output to read. It returns when ffmpeg has ended.
func (v *video) run(
	parent context.Context, byName bool, args []string, read func(io.Reader) error,
) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	protocol, input := "pipe", "pipe:0"
	if byName {
		path, err := filepath.Abs(v.path)
		if err != nil {
			return fileError(err)
		}
		protocol, input = "file", "file:"+path
	}
	all := append([]string{
		"-hide_banner", "-nostdin", "-loglevel", "error",
		"-protocol_whitelist", protocol, "-i", input,
	}, args...)
	cmd := exec.CommandContext(ctx, v.binary, all...)
	cmd.WaitDelay = 5 * time.Second // for pipes that a child of ffmpeg holds
	if !byName {
		f, err := os.Open(v.path)
		if err != nil {
			return fileError(err)
		}
		defer f.Close()
		// A reader that is no *os.File makes a pipe, which ends with ffmpeg.
		cmd.Stdin = struct{ io.Reader }{f}
	}
	var complaints tail
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return imageErrorf("starting ffmpeg: %w", err)
	}
	readErr := read(out)
	if readErr != nil {
		cancel()
	}
	err = cmd.Wait()
	switch {
	case parent.Err() != nil:
		return parent.Err()
	case errors.Is(readErr, ErrLimit):
		return readErr
	case err != nil && strings.TrimSpace(string(complaints)) != "":
		return imageErrorf("ffmpeg cannot read it: %s", strings.TrimSpace(string(complaints)))
	case readErr != nil:
		return fmt.Errorf("%w: what ffmpeg wrote: %w", ErrImage, readErr)
	case err != nil:
		return imageErrorf("ffmpeg failed: %w", err)
	}
	return nil
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

// readPPM reads one picture of the form "P6 width height 255" and RGB bytes. io.EOF means that
// there is no further one. n are to come in all.
func (v *video) readPPM(r *bufio.Reader, n int) (*RGB, error) {
	var field [4]string
	for i := range field {
		s, err := readField(r)
		if err != nil {
			if i > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		field[i] = s
	}
	w, err1 := strconv.Atoi(field[1])
	h, err2 := strconv.Atoi(field[2])
	if field[0] != "P6" || field[3] != "255" || err1 != nil || err2 != nil {
		return nil, fmt.Errorf("%q is no header of a PPM picture", strings.Join(field[:], " "))
	}
	if err := v.limits.checkSize(w, h); err != nil {
		return nil, err
	}
	if err := checkAll(n, w, h, &options{limits: v.limits}); err != nil {
		return nil, err
	}
	m := newRGB(w, h)
	row := make([]byte, 3*w)
	for y := range h {
		if _, err := io.ReadFull(r, row); err != nil {
			return nil, io.ErrUnexpectedEOF
		}
		dst := m.row(y)
		for x := range w {
			put(dst[4*x:], row[3*x], row[3*x+1], row[3*x+2], 255)
		}
	}
	return m, nil
}

// readField reads up to the next white space, at most 16 bytes.
func readField(r *bufio.Reader) (string, error) {
	var s []byte
	for len(s) <= 16 {
		c, err := r.ReadByte()
		if err != nil {
			return "", err
		}
		if c == '\n' || c == ' ' {
			return string(s), nil
		}
		s = append(s, c)
	}
	return string(s), nil
}
