package serving

import (
	"bufio"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// forgetProgram gives back pages of the program's own file, such as the embedded models, which starting
// and opening read once. Those that are used again come from the system's cache of the file. Mappings with
// a page that was written, as by the loader or a packer that unpacks a program, are left alone. Of the
// resident memory that saves 8 MiB at the start, 11 of 148 once clip-mini and blip2-mini are open, and 33 of
// 324 once whisper-mini is, too.
func forgetProgram() {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer maps.Close()
	var first, last uint64 // of a mapping of the program that nobody may write; 0: another
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) > 1 && len(fields[1]) == len("r-xp"):
			// 00400000-01245000 r-xp 00000000 fe:00 1234 /usr/bin/xpipe
			first, last = 0, 0
			if len(fields) == 6 && fields[5] == program && !strings.Contains(fields[1], "w") {
				from, to, _ := strings.Cut(fields[0], "-")
				first, _ = strconv.ParseUint(from, 16, 64)
				last, _ = strconv.ParseUint(to, 16, 64)
			}
		case fields[0] == "Anonymous:" && fields[1] == "0" && first < last:
			unix.Syscall(unix.SYS_MADVISE, uintptr(first), uintptr(last-first), unix.MADV_DONTNEED)
		}
	}
}
