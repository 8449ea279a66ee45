//go:build !unix

package kernel

// mapPages gives nothing here: memory is allocated.
func mapPages(int) []byte { return nil }

func unmapPages([]byte) {}
