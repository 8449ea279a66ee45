//go:build race

package tokenize

// raceEnabled says that the race detector is on, under which the long comparisons stop early:
// TestConcurrent is there for races.
const raceEnabled = true
