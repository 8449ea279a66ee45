package store

import "syscall"

// errQuota is Windows' word for a full disk (ERROR_DISK_FULL).
var errQuota error = syscall.Errno(112)
