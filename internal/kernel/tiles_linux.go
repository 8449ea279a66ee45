//go:build amd64

package kernel

import (
	"sync"
	"syscall"
)

// allowTiles asks Linux, once, to let this process use the tile registers of AMX, and says whether
// it does.
var allowTiles = sync.OnceValue(func() bool {
	const requestPermission, tileData = 0x1023, 18 // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
	_, _, errno := syscall.RawSyscall(syscall.SYS_ARCH_PRCTL, requestPermission, tileData, 0)
	return simulated || errno == 0
})
