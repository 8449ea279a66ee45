//go:build linux && cgo && !noort

package ort

import (
	"bufio"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// mask reads a set of signals of this process, such as SigIgn.
func mask(t *testing.T, name string) uint64 {
	t.Helper()
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), name+":"); ok {
			m, err := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
	}
	t.Fatalf("/proc/self/status has no %s", name)
	return 0
}

// A provider that replaces handlers is played by signal.Ignore, which tells the kernel as a
// provider would.
func TestSignalsAreRestored(t *testing.T) {
	caught, ignored := mask(t, "SigCgt"), mask(t, "SigIgn")
	restore := saveSignals()
	signal.Ignore(syscall.SIGUSR2, syscall.SIGHUP)
	defer signal.Reset(syscall.SIGUSR2, syscall.SIGHUP)
	if mask(t, "SigIgn") == ignored {
		t.Fatal("nothing was changed")
	}
	restore()
	if c, i := mask(t, "SigCgt"), mask(t, "SigIgn"); c != caught || i != ignored {
		t.Errorf("caught %x, ignored %x; before %x and %x", c, i, caught, ignored)
	}
	// Go still turns a fault into a panic, and the panic can be recovered.
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	var nothing *int
	*nothing = 1
}
