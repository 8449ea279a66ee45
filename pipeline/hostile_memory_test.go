package pipeline

import (
	"bytes"
	"os"
	"runtime/debug"
	"strconv"

	"github.com/crossattn/xpipe/internal/cmem"
)

// residentMark measures what work takes of the machine at its worst, C's memory
// included, which Go's own account does not see.
type residentMark struct {
	start int64
	ok    bool // false where the system does not tell
}

// markResident gives back what is free, so that work has to ask for it again, and
// has the kernel forget the peak so far (proc_pid_clear_refs(5)).
func markResident() residentMark {
	debug.FreeOSMemory()
	cmem.Trim()
	if os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) != nil {
		return residentMark{}
	}
	start, ok := statusBytes("VmRSS:")
	return residentMark{start, ok}
}

// peak is the most there was since, in bytes above the start.
func (m residentMark) peak() int64 {
	high, _ := statusBytes("VmHWM:")
	return high - m.start
}

// statusBytes reads a line of /proc/self/status, which is in kB.
func statusBytes(key string) (int64, bool) {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, false
	}
	_, rest, found := bytes.Cut(data, []byte(key))
	fields := bytes.Fields(rest)
	if !found || len(fields) == 0 {
		return 0, false
	}
	kB, err := strconv.ParseInt(string(fields[0]), 10, 64)
	return kB << 10, err == nil
}
