package fallback

import (
	"strings"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/kernel"
)

// Open is New for a table of engines: it also describes which kernels this processor gets. It never
// fails.
func Open(engine.Config) (engine.Engine, engine.Description, error) {
	found := engine.Description{Summary: "plain Go kernels", Built: true,
		Kernels: kernel.Features()}
	if len(found.Kernels) > 0 {
		found.Summary = "assembly kernels for " + strings.Join(found.Kernels, ", ")
	} else {
		found.Advice = []engine.Advice{{
			Missing: "fast kernels of the Go engine",
			Do: "they need a processor with AVX2 and FMA, and a program built without the tag noasm; " +
				"without them the Go engine is many times slower, so prefer ort",
		}}
	}
	bf16, int8 := kernel.Narrow()
	found.Summary += "; precision bf16 " + bf16 + ", int8 " + int8
	return New(), found, nil
}
