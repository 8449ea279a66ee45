//go:build !unix

package onnx

import "io/fs"

// mapFile never maps here: the file is read.
func mapFile(fs.File, int64) (region, bool) { return region{}, false }
