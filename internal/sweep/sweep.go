// Package sweep thins the longest sweeps of the tests. A test run takes a sample of each, the same
// each time; with the build tag slow it takes all: make test-full, which make test runs too.
package sweep

import (
	"hash/fnv"
	"testing"
)

// Count returns how many random cases a test makes: some, or all with the tag slow.
func Count(t testing.TB, some, all int) int {
	t.Helper()
	if Whole {
		return all
	}
	t.Logf("%d of %d cases; make test-full runs all", some, all)
	return some
}

// Keeps says whether a sample of one case in n has case i. Which it has is mixed, so that a sample
// of nested loops has values of each.
func Keeps(i, n int) bool {
	z := (uint64(i) + 1) * 0x9e3779b97f4a7c15 // splitmix64
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return Whole || (z^z>>31)%uint64(n) == 0
}

// KeepsName says whether a sample of one case in n has the case of this name.
func KeepsName(name string, n int) bool {
	h := fnv.New32a()
	h.Write([]byte(name))
	return Keeps(int(h.Sum32()), n)
}
