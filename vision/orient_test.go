package vision

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

// Pixels and their alpha stand where turned says, for any size.
func TestOrient(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		m := newRGB(1+random.IntN(100), 1+random.IntN(100))
		for i := range m.Pix {
			m.Pix[i] = uint8(random.Uint32())
		}
		if random.IntN(2) == 0 {
			m.Alpha = make([]uint8, m.Width*m.Height)
			for i := range m.Alpha {
				m.Alpha[i] = uint8(random.Uint32())
			}
		}
		for orientation := range 10 {
			got, at := orient(m, orientation), turned(orientation, m.Width, m.Height)
			if at == nil {
				at = func(x, y int) (int, int) { return x, y }
			}
			for y := range got.Height {
				for x := range got.Width {
					sx, sy := at(x, y)
					if !slices.Equal(got.row(y)[4*x:4*x+4], m.row(sy)[4*sx:4*sx+4]) ||
						m.Alpha != nil && got.Alpha[y*got.Width+x] != m.Alpha[sy*m.Width+sx] {
						t.Fatalf("orientation %d of %dx%d: wrong at (%d, %d)", orientation, m.Width, m.Height, x, y)
					}
				}
			}
		}
	}
}

func BenchmarkOrient(b *testing.B) {
	m := newRGB(4000, 3000)
	for orientation := 2; orientation <= 8; orientation++ {
		b.Run(strconv.Itoa(orientation), func(b *testing.B) {
			for range b.N {
				orient(m, orientation)
			}
		})
	}
}
