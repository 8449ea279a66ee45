package pipeline

import (
	"bytes"
	"os"
	"runtime"
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

// mostIdle is what Go may hold free and resident when a measurement begins.
const mostIdle = 4 << 20

// markResident gives back what is free, so that work has to ask for it again, and has the kernel
// forget the peak so far (proc_pid_clear_refs(5)). C's free memory goes back each time; Go's, whose
// use allocatedBytes counts to the byte, only where it has become much, because that costs a
// collection.
func markResident() residentMark {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	if stats.HeapIdle-stats.HeapReleased > mostIdle {
		debug.FreeOSMemory()
	}
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
