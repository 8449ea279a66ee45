package store

import "syscall"

// errQuota says that the user may not store more.
var errQuota error = syscall.EDQUOT
