//go:build !cgo || noort

package cmem

// InUse returns the bytes that C has allocated and not freed; ok is false where there is no C.
func InUse() (bytes int64, ok bool) { return 0, false }

// Trim gives back to the system what C has freed.
func Trim() {}
