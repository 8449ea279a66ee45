package vision

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// reference is testdata/vision/benchmark_reference.py at work.
type reference struct {
	in  io.WriteCloser
	out *bufio.Scanner
}

func startReference(b *testing.B, args ...string) *reference {
	cmd := exec.Command(python(b), append([]string{testdata + "/benchmark_reference.py"}, args...)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); cmd.Wait() })
	return &reference{in, bufio.NewScanner(out)}
}

// run makes Pillow do its work once and returns how long that took.
func (r *reference) run(b *testing.B) time.Duration {
	fmt.Fprintln(r.in, 1)
	if !r.out.Scan() {
		b.Fatal("the reference stopped")
	}
	s, err := strconv.ParseFloat(r.out.Text(), 64)
	if err != nil {
		b.Fatal(err)
	}
	return time.Duration(s * float64(time.Second))
}

// beside times work and Pillow's in turns, on one thread, and reports the best of both, as other
// work on the machine only ever adds, and their ratio: below 1, we are the faster.
func beside(b *testing.B, ref *reference, work func()) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	work()
	var ours, theirs []time.Duration
	for b.Loop() {
		start := time.Now()
		work()
		ours = append(ours, time.Since(start))
		theirs = append(theirs, ref.run(b))
	}
	a, c := slices.Min(ours), slices.Min(theirs)
	b.ReportMetric(0, "ns/op") // it would hold both
	b.ReportMetric(float64(a.Microseconds())/1000, "ms")
	b.ReportMetric(float64(c.Microseconds())/1000, "pillow-ms")
	b.ReportMetric(float64(a)/float64(c), "ratio")
}

// BenchmarkResizeBesidePillow resizes at sizes that models use, into memory that is there: Go
// clears new memory, Pillow does not.
func BenchmarkResizeBesidePillow(b *testing.B) {
	for _, c := range []resizeCase{
		{f: Bicubic, w: 640, h: 480, ow: 224, oh: 224},
		{f: Bicubic, w: 640, h: 480, ow: 364, oh: 364},
		{f: Bicubic, w: 4000, h: 3000, ow: 224, oh: 224},
		{f: Bicubic, w: 500, h: 375, ow: 298, oh: 224},
		{f: Bicubic, w: 160, h: 120, ow: 224, oh: 224},
		{f: Bicubic, w: 1000, h: 4000, ow: 384, oh: 384},
		{f: Bilinear, w: 640, h: 480, ow: 224, oh: 224},
		{f: Lanczos, w: 1280, h: 960, ow: 336, oh: 336},
		{f: Box, w: 640, h: 480, ow: 224, oh: 224},
		{f: Hamming, w: 640, h: 480, ow: 224, oh: 224},
		{f: Nearest, w: 640, h: 480, ow: 346, oh: 346},
	} {
		b.Run(fmt.Sprintf("%v/%dx%d-%dx%d", c.f, c.w, c.h, c.ow, c.oh), func(b *testing.B) {
			ref := startReference(b, strings.Fields(fmt.Sprintf("resize %d %d %d %d %d", c.f, c.w, c.h, c.ow, c.oh))...)
			img := testPicture(1, c.w, c.h, 0)
			out := newRGB(c.ow, c.oh)
			beside(b, ref, func() {
				if err := resizeInto(out, img, c.ow, c.oh, c.f, out.Bounds()); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

// BenchmarkFileBesidePillow goes from a JPEG file to model input as BLIP-2 takes it.
func BenchmarkFileBesidePillow(b *testing.B) {
	dir := b.TempDir()
	if out, err := exec.Command(python(b), testdata+"/benchmark_reference.py", "make", dir).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	p, err := ParseConfig([]byte(blipConfig))
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"vga", "12mp"} {
		b.Run(name, func(b *testing.B) {
			path := filepath.Join(dir, name+".jpg")
			ref := startReference(b, "file", path)
			beside(b, ref, func() {
				m, err := DecodeFile(path)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := p.Preprocess(context.Background(), m); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

// blipConfig is the preprocessor_config.json of BLIP-2 checkpoints.
const blipConfig = `{
  "do_convert_rgb": true, "do_normalize": true, "do_rescale": true, "do_resize": true,
  "image_mean": [0.48145466, 0.4578275, 0.40821073],
  "image_processor_type": "BlipImageProcessor",
  "image_std": [0.26862954, 0.26130258, 0.27577711],
  "processor_class": "Blip2Processor", "resample": 3, "rescale_factor": 0.00392156862745098,
  "size": {"height": 224, "width": 224}
}`
