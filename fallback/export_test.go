package fallback

import "github.com/crossattn/xpipe/engine"

// Operators counts what a run of all outputs runs, by operator: those of the graph that are left
// after folding and fusion, and fused ones, which begin with "xpipe.".
func Operators(s engine.Session) map[string]int {
	sched, err := s.(*session).schedule(nil)
	if err != nil {
		panic(err)
	}
	counts := map[string]int{}
	for _, step := range sched.steps {
		counts[step.op]++
	}
	return counts
}
