//go:build slow && unix

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// A batch that is killed at random moments and resumed loses no picture, captions none twice, and
// leaves no half line. -short kills 5 times, not 50.
func TestCaptionSurvivesKills(t *testing.T) {
	t.Parallel()
	kills := 50
	if testing.Short() {
		kills = 5
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "xpipe")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pictures := filepath.Join(dir, "pictures")
	if err := os.Mkdir(pictures, 0o777); err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range 400 {
		name := filepath.Join(pictures, fmt.Sprintf("%03d.png", i))
		if i%50 == 7 { // some are damaged, and are lines with an error
			if err := os.WriteFile(name, []byte("no picture"), 0o666); err != nil {
				t.Fatal(err)
			}
		} else if err := os.Link(apple, name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	out := filepath.Join(dir, "out.jsonl")
	run := func() *exec.Cmd {
		// A tiny model, so that most of the time goes to what is tested: the file.
		return exec.Command(binary, "caption", "--engine", "go", "--model", "../../testdata/families/blip2-opt/bundle", "--batch", "4", "--out", out, "--resume", pictures)
	}
	start := time.Now()
	if err := run().Run(); err == nil {
		t.Fatal("damaged pictures, and no failure reported")
	}
	whole := time.Since(start)
	killed := 0
	for killed < kills {
		if err := os.Remove(out); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for {
			cmd := run()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(rand.N(whole), func() { cmd.Process.Kill() })
			cmd.Wait()
			timer.Stop()
			if cmd.ProcessState.ExitCode() >= 0 { // it came to its end
				break
			}
			if killed++; killed >= kills {
				run().Run()
				break
			}
		}
		data, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		var seen []string
		for _, line := range lines(t, string(data)) {
			seen = append(seen, line["image"].(string))
		}
		slices.Sort(seen)
		if !slices.Equal(seen, names) {
			t.Fatalf("after %d kills: %d lines for %d pictures", killed, len(seen), len(names))
		}
	}
}
