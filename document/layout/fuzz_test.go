package layout_test

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/document/layout"
)

// FuzzLayout lays boxes of any kind out: each is in the order once, and nothing panics.
func FuzzLayout(f *testing.F) {
	f.Add([]byte("01234567890123456789012345678901234567890123456789"), 0.7)
	f.Add(binary.LittleEndian.AppendUint32(nil, 0x7fc00000), math.NaN())
	f.Fuzz(func(t *testing.T, data []byte, aspect float64) {
		var boxes []document.Box
		page := &document.Page{Number: 1, Width: 600 * aspect, Height: 600}
		for ; len(data) >= 8 && len(boxes) < 300; data = data[8:] {
			v := func(i int) float64 { return float64(int16(binary.LittleEndian.Uint16(data[2*i:]))) / 20_000 }
			b := document.Box{X0: v(0), Y0: v(1), X1: v(0) + v(2), Y1: v(1) + v(3)}
			if data[0] == 0x7f {
				b.X1 = math.NaN()
			}
			if data[0] == 0x7e {
				b.Y1 = math.Inf(1)
			}
			boxes = append(boxes, b)
			switch data[7] % 4 {
			case 0:
				page.Rules = append(page.Rules, b)
			case 1:
				page.Figures = append(page.Figures, b)
			default:
				page.Words = append(page.Words, document.Word{Text: []string{"a", "b:", "1.", "c-"}[data[6]%4], Box: b,
					Size: float64(data[5] % 20), Bold: data[4]%2 == 0, Angle: float64(data[3] % 2 * 90)})
			}
		}
		order := layout.Order(boxes, aspect)
		slices.Sort(order)
		for i, k := range order {
			if i != k {
				t.Fatalf("%v", order)
			}
		}
		if len(order) != len(boxes) {
			t.Fatalf("%d of %d", len(order), len(boxes))
		}
		document.Markdown(layout.Analyze(page))
		layout.Pairs(page)
	})
}
