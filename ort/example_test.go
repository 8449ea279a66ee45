package ort_test

import (
	"context"
	"fmt"
	"log"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/ort"
	"github.com/crossattn/xpipe/tensor"
)

// Run a graph that lies on disk, with a library that is named. There is no output to check: whether
// it is there depends on the machine.
func Example() {
	ctx := context.Background()
	e, err := ort.New(ort.WithLibrary("/usr/local/lib/libonnxruntime.so"))
	if err != nil {
		fmt.Println("going on without ONNX Runtime:", err)
		return
	}
	s, err := e.Open(ctx, engine.FileSource("vision_encoder.onnx"), engine.Options{Threads: 2})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	pixels, err := tensor.Zeros(tensor.Float32, 1, 3, 224, 224)
	if err != nil {
		log.Fatal(err)
	}
	out, err := s.Run(ctx, map[string]*tensor.Tensor{"pixel_values": pixels}, "image_embeds")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(out["image_embeds"])
}
