package vision

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Frames returns n pictures that lie evenly over a moving one, in order: frame floor(i*total/n) for
// i = 0..n-1, or all frames where there are no more than n or n is 0. The path is an animated GIF,
// WebP or PNG; a directory, whose image files in the order of their names are the frames; or a
// video, which is read with ffmpeg. Any other picture has one frame.
//
// Frames of animations are those that Pillow shows; the Exif orientation is applied to directories'
// pictures only, as seeking in Pillow drops it.
//
// For videos ffmpeg must be on PATH or given by WithFFmpeg. It is fed and read through pipes, and
// killed when ctx is done, before Frames returns. Errors wrap ErrImage, ErrLimit or ctx.Err().
func Frames(ctx context.Context, path string, n int, opts ...Option) ([]*RGB, error) {
	o := buildOptions(opts)
	frames, err := framesOf(ctx, path, n, &o, opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return frames, nil
}

func framesOf(ctx context.Context, path string, n int, o *options, opts []Option) ([]*RGB, error) {
	if n < 0 || n > o.limits.Frames {
		return nil, limitErrorf("Frames", "%d frames, the limit is %d", n, o.limits.Frames)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fileError(err)
	}
	if info.IsDir() {
		return directoryFrames(ctx, path, n, o, opts)
	}
	head, err := readHead(path)
	if err != nil {
		return nil, err
	}
	f := sniff(head)
	if f == nil {
		if len(head) == 0 || otherFormat(head) != "" {
			_, err := identify(head)
			return nil, err
		}
		return videoFrames(ctx, path, n, o)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fileError(err)
	}
	defer file.Close()
	data, err := readAll(file, o.limits)
	if err != nil {
		return nil, err
	}
	return animationFrames(ctx, data, f, n, o)
}

func readHead(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fileError(err)
	}
	defer f.Close()
	head := make([]byte, 64)
	k, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fileError(err)
	}
	return head[:k], nil
}

// sample lists the frames to take of total.
func sample(total, n int) []int {
	if n == 0 || n > total {
		n = total
	}
	list := make([]int, n)
	for i := range list {
		list[i] = i * total / n
	}
	return list
}

// animation is a file whose frames come one after the other; io.EOF ends them.
type animation struct {
	total int
	next  func() (*RGB, error)
}

func openAnimation(data []byte, f *format, o *options) (animation, error) {
	switch f.name {
	case "GIF":
		g, err := newGIF(data)
		if err != nil {
			return animation{}, err
		}
		count, total := *g, 0
		for ; total <= o.limits.Frames; total++ {
			if _, err := count.nextFrame(); err != nil {
				break
			}
		}
		return animation{total, func() (*RGB, error) { return g.next(o) }}, nil
	case "WebP":
		r, err := newWebP(data)
		if err != nil {
			return animation{}, err
		}
		total := 1
		if r.chunks[0].kind == "ANMF" {
			total = len(r.chunks)
		}
		return animation{total, r.next}, nil
	case "PNG":
		r, err := newAPNG(data)
		if err != nil {
			return animation{}, err
		}
		if len(r.list) > 1 {
			return animation{len(r.list), r.next}, nil
		}
	}
	return animation{1, func() (*RGB, error) { return decode(data, o) }}, nil
}

func animationFrames(
	ctx context.Context, data []byte, f *format, n int, o *options,
) ([]*RGB, error) {
	w, h, err := f.size(data)
	if err == nil {
		err = o.limits.checkSize(w, h)
	}
	if err != nil {
		return nil, within(f, err)
	}
	a, err := openAnimation(data, f, o)
	if err != nil {
		return nil, within(f, err)
	}
	if a.total > o.limits.Frames {
		return nil, limitErrorf("Frames", "the animation has more than %d frames", o.limits.Frames)
	}
	wanted := sample(a.total, n)
	if len(wanted) == 0 {
		return nil, within(f, imageErrorf("has no frame"))
	}
	if err := checkAll(len(wanted), w, h, o); err != nil {
		return nil, err
	}
	frames := make([]*RGB, 0, len(wanted))
	for i := 0; len(frames) < len(wanted); i++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		m, err := a.next()
		if err != nil {
			return nil, fmt.Errorf("frame %d: %w", i, within(f, err))
		}
		if i == wanted[len(frames)] {
			frames = append(frames, m)
		}
	}
	return frames, nil
}

// checkAll bounds the pixels of all frames together.
func checkAll(n, w, h int, o *options) error {
	if w*h > o.limits.Pixels/n {
		return limitErrorf("Pixels", "%d frames of %dx%d pixels are more than %d in all: ask for fewer",
			n, w, h, o.limits.Pixels)
	}
	return nil
}

func directoryFrames(
	ctx context.Context, path string, n int, o *options, opts []Option,
) ([]*RGB, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fileError(err)
	}
	var files []string
	suffixes := Suffixes()
	for _, e := range entries {
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if slices.Contains(suffixes, strings.ToLower(filepath.Ext(e.Name()))) {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, imageErrorf("has no image files (%s)", strings.Join(suffixes, " "))
	}
	if len(files) > o.limits.Frames {
		return nil, limitErrorf("Frames", "has %d images, the limit is %d", len(files), o.limits.Frames)
	}
	wanted := sample(len(files), n)
	frames := make([]*RGB, len(wanted))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, k := range wanted {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			m, err := DecodeFile(files[k], opts...)
			if err == nil {
				err = checkAll(len(wanted), m.Width, m.Height, o)
			}
			frames[i] = m
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return frames, nil
}
