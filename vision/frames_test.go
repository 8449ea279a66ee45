package vision

import (
	"context"
	"errors"
	"fmt"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMain makes the test binary stand in for ffmpeg where the variable asks.
func TestMain(m *testing.M) {
	if mode := os.Getenv("XPIPE_TEST_FFMPEG"); mode != "" {
		os.Exit(fakeFFmpeg(mode, os.Args[1:]))
	}
	debug.SetGCPercent(400) // a fifth of the tests' time went into collecting their pictures
	os.Exit(m.Run())
}

// fakeFFmpeg acts as ffmpeg does on a "video" of ten frames of 4x2 pixels, frame k of them grey k.
func fakeFFmpeg(mode string, args []string) int {
	if mode == "hang" {
		time.Sleep(time.Minute)
		return 0
	}
	byName := !slices.Contains(args, "pipe:0")
	if mode == "index-last" && !byName {
		io.Copy(io.Discard, os.Stdin)
		fmt.Fprintln(os.Stderr, "moov atom not found")
		return 1
	}
	if mode == "damaged" {
		fmt.Fprintln(os.Stderr, "pipe:0: Invalid data found when processing input")
		return 1
	}
	if !byName {
		if data, _ := io.ReadAll(os.Stdin); string(data) != "a video" {
			fmt.Fprintln(os.Stderr, "did not get the file")
			return 1
		}
	}
	if slices.Contains(args, "framecrc") {
		fmt.Println("#software: test")
		for k := range 10 {
			fmt.Printf("0, %d, %d, 1, 100, 0x0\n", k, k)
		}
		return 0
	}
	filter := args[slices.Index(args, "-vf")+1]
	for k := range 10 {
		if filter != "null" && !strings.Contains(filter, fmt.Sprintf(`eq(n\,%d)`, k)) {
			continue
		}
		if mode == "huge" {
			fmt.Print("P6\n1000000 1000000\n255\n")
			continue
		}
		fmt.Print("P6\n4 2\n255\n", strings.Repeat(string([]byte{byte(k)}), 4*2*3))
		if mode == "cut" {
			fmt.Print("P6\n4 2\n255\nxyz")
			return 0
		}
	}
	return 0
}

func fakeVideo(t *testing.T, mode string) (path string, opt Option) {
	t.Helper()
	t.Setenv("XPIPE_TEST_FFMPEG", mode)
	path = filepath.Join(t.TempDir(), "video.mp4")
	if err := os.WriteFile(path, []byte("a video"), 0o666); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path, WithFFmpeg(self)
}

func TestVideoFrames(t *testing.T) {
	for _, mode := range []string{"works", "index-last"} {
		path, opt := fakeVideo(t, mode)
		for n, want := range map[int][]uint8{1: {0}, 4: {0, 2, 5, 7}, 10: {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 50: {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}} {
			frames, err := Frames(context.Background(), path, n, opt)
			if err != nil {
				t.Fatalf("%s, %d: %v", mode, n, err)
			}
			var got []uint8
			for _, m := range frames {
				got = append(got, m.Pix[0])
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %d frames are %v, want %v", mode, n, got, want)
			}
		}
	}
}

func TestVideoErrors(t *testing.T) {
	for mode, want := range map[string]string{
		"damaged": "Invalid data found",
		"cut":     "unexpected EOF",
		"huge":    "the limit is",
	} {
		path, opt := fakeVideo(t, mode)
		_, err := Frames(context.Background(), path, 3, opt)
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, ErrImage) && !errors.Is(err, ErrLimit) {
			t.Errorf("%s: %v, want %q", mode, err, want)
		}
	}
	path, _ := fakeVideo(t, "works")
	_, err := Frames(context.Background(), path, 3, WithFFmpeg("/nowhere/ffmpeg"))
	if !errors.Is(err, ErrImage) || !strings.Contains(err.Error(), "needs ffmpeg") {
		t.Errorf("without ffmpeg: %v", err)
	}
	_, err = Frames(context.Background(), path, 3, WithFFmpeg(os.Args[0]), WithoutFFmpeg())
	if !errors.Is(err, ErrImage) || !strings.Contains(err.Error(), "switched off") {
		t.Errorf("with ffmpeg switched off: %v", err)
	}
	_, opt := fakeVideo(t, "works")
	if _, err = Frames(context.Background(), path, 3, opt, WithLimits(Limits{Frames: 5})); !errors.Is(err, ErrLimit) {
		t.Errorf("more frames than the limit: %v", err)
	}
}

func TestVideoCancel(t *testing.T) {
	path, opt := fakeVideo(t, "hang")
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := Frames(ctx, path, 3, opt)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled: %v", err)
	}
	if d := time.Since(start); d > 30*time.Second {
		t.Errorf("came back after %v", d)
	}
}

// TestRealVideo has the real ffmpeg make videos and read them again. It needs ffmpeg on PATH, or
// XPIPE_FFMPEG.
func TestRealVideo(t *testing.T) {
	t.Parallel()
	ffmpeg := os.Getenv("XPIPE_FFMPEG")
	if ffmpeg == "" {
		ffmpeg = "ffmpeg"
	}
	if _, err := exec.LookPath(ffmpeg); err != nil {
		t.Skip("no ffmpeg on PATH nor in XPIPE_FFMPEG; TestVideoFrames covers the rest with a stand-in")
	}
	dir := t.TempDir()
	for k := range 12 {
		m := NewRGB(32, 16)
		for i := range m.Pix {
			if i%4 < 3 {
				m.Pix[i] = uint8(20 * k)
			}
		}
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%02d.png", k)))
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, m); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	for _, name := range []string{"index-last.mp4", "video.mkv", "video.avi"} {
		path := filepath.Join(dir, name)
		if out, err := exec.Command(ffmpeg, "-loglevel", "error", "-i", filepath.Join(dir, "%02d.png"), "-c:v", "mpeg4", "-q:v", "2", path).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		frames, err := Frames(context.Background(), path, 4, WithFFmpeg(ffmpeg))
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range frames {
			if got, want := int(m.Pix[0]), 20*3*i; got < want-4 || got > want+4 {
				t.Errorf("%s: frame %d is grey %s, want %d", name, i, strconv.Itoa(got), want)
			}
		}
		if len(frames) != 4 {
			t.Errorf("%s: %d frames", name, len(frames))
		}
	}
}

func TestFramesOfDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"orientation-1.jpg", "orientation-6.jpg", "rgb.png", "lossy.webp", "grey.bmp"} {
		data, err := os.ReadFile(testdata + "/images/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("no picture"), 0o666)
	frames, err := Frames(context.Background(), dir, 2)
	if err != nil {
		t.Fatal(err)
	}
	g := golden(t)
	if len(frames) != 2 || hash(packed(frames[0])) != g["grey.bmp"].RGB || hash(packed(frames[1])) != g["orientation-1.jpg"].RGB {
		t.Errorf("frames 0 and 2 of the directory, in the order of names, were expected")
	}
	if _, err := Frames(context.Background(), t.TempDir(), 2); !errors.Is(err, ErrImage) {
		t.Errorf("an empty directory: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Frames(ctx, dir, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestFramesEqualPillow compares every frame of every animation.
func TestFramesEqualPillow(t *testing.T) {
	t.Parallel()
	tested := 0
	for name, want := range golden(t) {
		if want.Frames == nil {
			continue
		}
		tested++
		t.Run(name, func(t *testing.T) {
			frames, err := Frames(context.Background(), testdata+"/images/"+name, 0)
			if err != nil {
				t.Fatal(err)
			}
			if len(frames) != len(want.Frames) {
				t.Fatalf("%d frames, Pillow has %d", len(frames), len(want.Frames))
			}
			for i, m := range frames {
				if hash(packed(m)) != want.Frames[i] {
					t.Errorf("frame %d differs from Pillow's", i)
					t.Log(explain(t, m, name, i))
				}
			}
			some, err := Frames(context.Background(), testdata+"/images/"+name, 3)
			if err != nil {
				t.Fatal(err)
			}
			for i, m := range some {
				if k := i * len(want.Frames) / 3; hash(packed(m)) != want.Frames[k] {
					t.Errorf("the sample's frame %d is not frame %d", i, k)
				}
			}
		})
	}
	if tested < 6 {
		t.Errorf("only %d animations", tested)
	}
}
