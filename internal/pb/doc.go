// Package pb is the ONNX protobuf schema in Go. onnx.proto is the file of that name in the wheel of
// PyPI onnx 1.17.0 (Apache-2.0), unchanged; onnx.pb.go is what protoc-gen-go makes of it. Package
// onnx is the way in for everybody else.
package pb

// protoc is any release from 3.21 on, such as the one in PyPI grpcio-tools: python3 -m
// grpc_tools.protoc takes the same flags. protoc-gen-go is
// google.golang.org/protobuf/cmd/protoc-gen-go v1.36.12.
//
//go:generate protoc --go_out=. --go_opt=paths=source_relative --go_opt=Monnx.proto=github.com/crossattn/xpipe/internal/pb onnx.proto
