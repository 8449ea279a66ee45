//go:build !unix

package enginebench

import "time"

// processTime is not known here.
func processTime() time.Duration { return 0 }
