//go:build cgo && !noort

// Package cmem reads C's own account of its memory, for tests that look for leaks: what Go's
// runtime does not see.
package cmem

/*
#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
#if __GLIBC_PREREQ(2, 33)
static long long in_use(void) { struct mallinfo2 m = mallinfo2(); return (long long)(m.uordblks + m.hblkhd); }
#else
static long long in_use(void) { return -1; }
#endif
static void trim(void) { malloc_trim(0); }
#else
static long long in_use(void) { return -1; }
static void trim(void) {}
#endif
*/
import "C"

// InUse returns the bytes that C has allocated and not freed; ok is false where the C library does
// not tell.
func InUse() (bytes int64, ok bool) {
	n := int64(C.in_use())
	return n, n >= 0
}

// Trim gives back to the system what C has freed, where that can be done.
func Trim() { C.trim() }
