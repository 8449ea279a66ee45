package resample

import "image"

// ResizeReduced resizes src to the size of dst as Image.resize of Pillow does with a reducing_gap
// of gap: a picture that becomes much smaller is first reduced by whole factors, after which it
// still has at least gap times the width and height of dst, for the filter f to work on.
func ResizeReduced(dst, src Pixels, f Filter, gap float64) {
	w, h := dst.Width, dst.Height
	win := image.Rect(0, 0, w, h)
	fx := max(int(float64(src.Width)/float64(w)/gap), 1)
	fy := max(int(float64(src.Height)/float64(h)/gap), 1)
	if f == Nearest || fx == 1 && fy == 1 {
		Resize(dst, src, w, h, f, win)
		return
	}
	tmp := scratch((src.Width+fx-1)/fx, (src.Height+fy-1)/fy)
	reduce(tmp.Pixels, src, fx, fy)
	// The reference passes the part to resize in single precision.
	right := float64(float32(float64(src.Width) / float64(fx)))
	bottom := float64(float32(float64(src.Height) / float64(fy)))
	resizePart(dst, tmp.Pixels, right, bottom, w, h, f, win)
	tmp.free()
}

// reduce makes each pixel of dst the mean of fx by fy pixels of src, of fewer at the right and
// bottom (src/libImaging/Reduce.c).
func reduce(dst, src Pixels, fx, fy int) {
	for y := range dst.Height {
		block := src.rows(y*fy, min((y+1)*fy, src.Height))
		for x := range dst.Width {
			lo, hi := x*fx, min((x+1)*fx, src.Width)
			n := uint32((hi - lo) * block.Height)
			r, g, b := n/2, n/2, n/2
			for sy := range block.Height {
				for px := block.row(sy)[4*lo : 4*hi]; len(px) >= 4; px = px[4:] {
					r, g, b = r+uint32(px[0]), g+uint32(px[1]), b+uint32(px[2])
				}
			}
			// The reference divides by a multiplication, whose factor it finds in single precision.
			by := uint32(float32(1<<32) / float32(n<<8))
			d := dst.row(y)[4*x : 4*x+4]
			d[0], d[1], d[2], d[3] = uint8(r*by>>24), uint8(g*by>>24), uint8(b*by>>24), 255
		}
	}
}
