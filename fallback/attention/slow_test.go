//go:build slow

package attention

import "testing"

// 4,096 queries over 65,536 keys within 64 MB: the scores alone would take 1 GiB.
func TestLongAttention(t *testing.T) {
	beyond, stats := measured(t, 4096, 65536, 64, MemoryLimit(64<<20))
	t.Logf("chunks of %d keys, %d bytes of scratch stated, %d allocated", stats.Chunk, stats.Scratch, beyond)
	if stats.Scratch > 64<<20 || beyond > 64<<20 {
		t.Error("more than 64 MB of scratch")
	}
}
