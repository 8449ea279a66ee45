package vision_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/crossattn/xpipe/vision"
)

// A picture file becomes model input in two steps.
func Example() {
	config, err := os.ReadFile("../testdata/vision/preprocessor_config.json")
	if err != nil {
		log.Fatal(err)
	}
	p, err := vision.ParseConfig(config)
	if err != nil {
		log.Fatal(err)
	}
	img, err := vision.DecodeFile("../testdata/vision/images/orientation-6.jpg")
	if err != nil {
		log.Fatal(err)
	}
	input, err := p.Preprocess(context.Background(), img)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(img.Bounds().Size(), input)
	// Output: (24,40) float32[1,3,224,224]
}

func ExampleFrames() {
	frames, err := vision.Frames(context.Background(), "../testdata/vision/images/animated.gif", 4)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(frames), frames[0].Bounds().Size())
	// Output: 4 (45,31)
}

func ExampleResize() {
	img := vision.NewRGB(640, 480)
	small, err := vision.Resize(img, 224, 224, vision.Bicubic)
	fmt.Println(small.Bounds().Size(), err)
	// Output: (224,224) <nil>
}
