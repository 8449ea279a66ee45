package kernel

import "syscall"

// hugePages asks for large pages, which the system may give or not.
func hugePages(b []byte) { syscall.Madvise(b, syscall.MADV_HUGEPAGE) }
