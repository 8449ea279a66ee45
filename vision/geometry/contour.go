package geometry

// around are the eight neighbours of a pixel, clockwise from the one to the left.
var around = [8]Pixel{{-1, 0}, {-1, -1}, {0, -1}, {1, -1}, {1, 0}, {1, 1}, {0, 1}, {-1, 1}}

// Contours returns the borders of the regions of a mask, w pixels wide, in which all but 0 is
// inside: outer borders and those of holes, each as the pixels of the region that lie on it, at
// corners of the border alone. Regions are connected by eight neighbours. The order is that of
// OpenCV's findContours (RETR_LIST, CHAIN_APPROX_SIMPLE), the last found first; most bounds their
// number from that end. The mask is overwritten.
//
// It follows Suzuki and Abe, Topological Structural Analysis of Digitized Binary Images by Border
// Following, 1985.
func Contours(mask []uint8, w, most int) [][]Pixel {
	if w <= 0 || most <= 0 {
		return nil
	}
	h := len(mask) / w
	// A frame of zeros spares all looks over the edge.
	stride := w + 2
	marks := make([]int8, stride*(h+2))
	for y := range h {
		for x, v := range mask[y*w : (y+1)*w] {
			if v != 0 {
				marks[(y+1)*stride+x+1] = inside
			}
		}
	}
	f := follower{marks: marks, stride: stride}
	for i, p := range around {
		f.step[i] = p.Y*stride + p.X
	}
	var found [][]Pixel
	for y := 1; y <= h; y++ {
		for x := 1; x <= w; x++ {
			at := y*stride + x
			switch m := marks[at]; {
			case m == inside && marks[at-1] == 0:
				found = append(found, f.follow(at, 0))
			case m != 0 && m != closed && marks[at+1] == 0:
				found = append(found, f.follow(at, 4))
			}
		}
	}
	n := len(found)
	for i := range n / 2 {
		found[i], found[n-1-i] = found[n-1-i], found[i]
	}
	return found[:min(n, most)]
}

// What is known of a pixel of a region: nothing, that it lies on a border, or on one that has the
// outside to its right.
const (
	inside int8 = 1
	passed int8 = 2
	closed int8 = 3
)

// follower walks along borders.
type follower struct {
	marks  []int8
	stride int
	step   [8]int
}

// follow returns the border that begins at a pixel, whose neighbour in direction from is outside.
func (f *follower) follow(start, from int) []Pixel {
	pixel := func(at int) Pixel { return Pixel{at%f.stride - 1, at/f.stride - 1} }
	// The pixel before the first one on the border, found clockwise.
	last := from
	for {
		last = (last + 1) & 7
		if last == from {
			f.marks[start] = closed
			return []Pixel{pixel(start)} // it stands alone
		}
		if f.marks[start+f.step[last]] != 0 {
			break
		}
	}
	end := start + f.step[last]
	var border []Pixel
	at, back := start, last
	before := (last + 4) & 7 // the direction in which the walk came
	for {
		// The next pixel, counterclockwise from the one that the walk came from.
		next := back
		right := false // the pixel to the right was looked at, and is outside
		for {
			next = (next + 7) & 7
			if f.marks[at+f.step[next]] != 0 {
				break
			}
			right = right || next == 4
		}
		if right {
			f.marks[at] = closed
		} else if f.marks[at] == inside {
			f.marks[at] = passed
		}
		if next != before {
			border = append(border, pixel(at))
		}
		before = next
		if at+f.step[next] == start && at == end {
			return border
		}
		at += f.step[next]
		back = (next + 4) & 7
	}
}
