//go:build cgo && !noort

package ort

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/engine"
	"google.golang.org/protobuf/encoding/protowire"
)

// The fields of onnx.proto that lead to tensors, by message. Only tensors can name files.
var protoFields = map[string]map[protowire.Number]string{
	"ModelProto":    {7: "GraphProto", 25: "FunctionProto"},
	"FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
	"GraphProto":    {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
	"NodeProto":     {5: "AttributeProto"},
	"AttributeProto": {
		5: "TensorProto", 6: "GraphProto", 10: "TensorProto", 11: "GraphProto",
		22: "SparseTensorProto", 23: "SparseTensorProto",
	},
	"SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
	"TensorProto":       {13: "StringStringEntryProto"},
}

// maxDepth bounds graphs in nodes in graphs, as protobuf itself does.
const maxDepth = 100

// externalFiles lists the files that the tensors of a graph name, each once. It walks the protobuf
// without decoding it, so that files outside the graph's folder are refused before anything is
// opened. The error completes a sentence that starts with the graph's name.
func externalFiles(graph []byte) ([]string, error) {
	if len(graph) == 0 {
		return nil, errors.New("is empty")
	}
	var files []string
	err := walkProto(graph, "ModelProto", 0, func(entry []byte) error {
		key, value, err := stringEntry(entry)
		if err != nil || key != "location" {
			return err
		}
		file := path.Clean(value)
		outside := !fs.ValidPath(file) || file == "." || strings.ContainsAny(value, "\\\x00") ||
			slices.Contains(strings.Split(value, "/"), "..") ||
			!filepath.IsLocal(filepath.FromSlash(file))
		if outside {
			return fmt.Errorf("keeps data in %q, which may lie outside of its folder", value)
		}
		if !slices.Contains(files, file) {
			files = append(files, file)
		}
		return nil
	})
	return files, err
}

var errProto = errors.New("is no ONNX graph, or damaged")

// walkProto calls visit with every StringStringEntryProto of a tensor below a message.
func walkProto(b []byte, message string, depth int, visit func([]byte) error) error {
	if message == "StringStringEntryProto" {
		return visit(b)
	}
	if depth > maxDepth {
		return errors.New("holds graphs in graphs too deep")
	}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errProto
		}
		b = b[n:]
		inner := protoFields[message][number]
		if inner == "" || kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
				return errProto
			}
			b = b[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return errProto
		}
		if err := walkProto(value, inner, depth+1, visit); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func stringEntry(b []byte) (key, value string, err error) {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return "", "", errProto
		}
		b = b[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
				return "", "", errProto
			}
			b = b[n:]
			continue
		}
		text, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return "", "", errProto
		}
		switch number {
		case 1:
			key = string(text)
		case 2:
			value = string(text)
		}
		b = b[n:]
	}
	return key, value, nil
}

// externalPlace is the way by which ONNX Runtime reads a graph's external data.
type externalPlace struct {
	graph   string // open the graph from this path: its data lies beside it
	folder  string // open the graph from memory: its data lies here
	cleanup func()
}

// placeExternal checks that the files exist. Files of a source on a disk stay in place, and ONNX
// Runtime opens the graph by its path, so that a graph and data that are symbolic links into one
// folder (as in Hugging Face's cache) stay together; it refuses links to anywhere else. Files of a
// source that is embedded or archived are copied to a temporary folder.
func placeExternal(
	ctx context.Context, source engine.Source, files []string,
) (externalPlace, error) {
	place := externalPlace{cleanup: func() {}}
	if len(files) == 0 {
		return place, nil
	}
	base := path.Dir(source.Name)
	for _, file := range files {
		info, err := fs.Stat(source.FS, path.Join(base, file))
		if err != nil {
			return place, fmt.Errorf("%w: its external data: %w", engine.ErrGraph, err)
		}
		if !info.Mode().IsRegular() {
			return place, fmt.Errorf("%w: its external data %s is no file", engine.ErrGraph, file)
		}
	}
	if disk, ok := source.Path(); ok {
		place.graph = disk
		return place, nil
	}
	folder, err := os.MkdirTemp("", "xpipe-graph-*")
	if err != nil {
		return place, fmt.Errorf("%w: %w", engine.ErrEngine, err)
	}
	place.folder, place.cleanup = folder, func() { os.RemoveAll(folder) }
	for _, file := range files {
		copied := filepath.Join(folder, filepath.FromSlash(file))
		if err := copyOut(ctx, source.FS, path.Join(base, file), copied); err != nil {
			place.cleanup()
			return place, err
		}
	}
	return place, nil
}

func copyOut(ctx context.Context, fsys fs.FS, from, to string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	src, err := fsys.Open(from)
	if err != nil {
		return fmt.Errorf("%w: %w", engine.ErrGraph, err)
	}
	defer src.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrEngine, err)
	}
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("%w: %w", engine.ErrEngine, err)
	}
	_, err = io.Copy(dst, src)
	if closeErr := dst.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("%w: %w", engine.ErrEngine, err)
	}
	return nil
}
