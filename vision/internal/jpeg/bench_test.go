package jpeg

import (
	"os"
	"testing"
)

func BenchmarkDecode(b *testing.B) {
	for _, f := range []string{"vga", "12mp"} {
		data, err := os.ReadFile("../../../build/scratch-vision/" + f + ".jpg")
		if err != nil {
			b.Skip(err)
		}
		b.Run(f, func(b *testing.B) {
			for b.Loop() {
				if _, err := Decode(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
