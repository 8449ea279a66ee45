//go:build slow && unix

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A library whose run is killed at random moments, while files come, change, move and go, has after one
// whole run what a new library of the same files has. -short kills 5 times, not 40.
func TestIndexSurvivesKills(t *testing.T) {
	t.Parallel()
	kills := 40
	if testing.Short() {
		kills = 5
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "xpipe")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	files := filepath.Join(dir, "files")
	from, err := filepath.Glob(pictures + "/*.png")
	if err != nil || len(from) < 8 {
		t.Fatal(from, err)
	}
	put := func(i int) {
		data, err := os.ReadFile(from[rand.N(len(from))])
		if err != nil {
			t.Fatal(err)
		}
		folder := filepath.Join(files, fmt.Sprint(i%7))
		os.MkdirAll(folder, 0o777)
		// Bytes behind the picture make its content another one.
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%03d.png", i)), fmt.Append(data, i), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 300 {
		put(i)
	}
	index := func(store string) *exec.Cmd {
		return exec.Command(binary, "index", files, "--engine", "go", "--quiet", "--store", store)
	}
	listed := func(store string, args ...string) string {
		t.Helper()
		args = append([]string{"find", "--engine", "go", "--store", store, "--json", "--limit", "0"}, args...)
		out, err := exec.Command(binary, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	store := filepath.Join(dir, "library.db")
	for n := range kills {
		cmd := index(store)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(rand.N(1500*time.Millisecond), func() { cmd.Process.Kill() })
		cmd.Wait()
		timer.Stop()
		for range 5 {
			put(rand.N(300))
			os.Remove(filepath.Join(files, "3", fmt.Sprintf("%03d.png", rand.N(300))))
		}
		if n%3 == 0 { // a folder moves, and back
			other := filepath.Join(files, "moved")
			if os.Rename(filepath.Join(files, "5"), other) != nil {
				os.MkdirAll(filepath.Join(files, "5"), 0o777)
				os.Rename(other, filepath.Join(files, "5", "again"))
			}
		}
	}
	fresh := filepath.Join(dir, "fresh.db")
	for _, store := range []string{store, fresh} {
		if out, err := index(store).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for _, args := range [][]string{{"--all"}, {"--like", pictures + "/apple.png"}, {"--duplicates"}} {
		got, want := listed(store, args...), listed(fresh, args...)
		if args[0] == "--like" { // equal pictures stand in the order in which they came
			got, want = fmt.Sprint(len(got)), fmt.Sprint(len(want))
		}
		if got == want && len(want) > 2 {
			continue
		}
		old, fresh := slices.Collect(strings.Lines(got)), slices.Collect(strings.Lines(want))
		missing := slices.DeleteFunc(slices.Clone(fresh), func(l string) bool { return slices.Contains(old, l) })
		more := slices.DeleteFunc(old, func(l string) bool { return slices.Contains(fresh, l) })
		t.Errorf("%v: after %d kills the library has %d lines, and a new one %d; it lacks\n%s\nand has\n%s", args, kills,
			len(old)+len(missing), len(fresh), missing, more)
	}
}
