package vectors

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// mapFile maps the file read-only. Whoever writes it never shortens it while it is of use.
func (v *File) mapFile(size int64) error {
	h, err := windows.CreateFileMapping(windows.Handle(v.f.Fd()), nil, windows.PAGE_READONLY, 0, 0, nil)
	if err != nil {
		return err
	}
	defer windows.CloseHandle(h) // the view keeps it
	at, err := windows.MapViewOfFile(h, windows.FILE_MAP_READ, 0, 0, uintptr(size))
	if err != nil {
		return err
	}
	v.mapped = unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), at)), size)
	v.unmap = func() error { return windows.UnmapViewOfFile(at) }
	return nil
}
