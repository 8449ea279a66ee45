//go:build cgo && !noort

package ort

import (
	"fmt"
	"reflect"
	"unsafe"
)

// pointerIn reads a C pointer that onnxruntime_go does not export: it follows the named fields from
// the struct that p points to. Reflection turns an update that renames a field into an error, where
// an assumption about the layout would crash.
func pointerIn(p any, fields ...string) (unsafe.Pointer, error) {
	v := reflect.ValueOf(p)
	for _, name := range fields {
		if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
			return nil, fmt.Errorf("onnxruntime_go has changed: %T holds no struct with a field %q",
				p, name)
		}
		if v = v.Elem().FieldByName(name); !v.IsValid() {
			return nil, fmt.Errorf("onnxruntime_go has changed: %T lacks the field %q", p, name)
		}
	}
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return nil, fmt.Errorf("onnxruntime_go has changed: %T holds no pointer in %v", p, fields)
	}
	return v.UnsafePointer(), nil
}
