package main

import . "github.com/mmcloughlin/avo/build"

// pause generates the wait of a few dozen cycles in a loop that looks at memory.
func pause() {
	TEXT("pauseX86", NOSPLIT, "func()")
	Doc("pauseX86 passes some ten nanoseconds.")
	PAUSE()
	RET()
}
