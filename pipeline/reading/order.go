package reading

import "github.com/crossattn/xpipe/vision/geometry"

type box struct{ left, top, right, bottom float64 }

type place struct {
	box, block, row int
	gap             bool
}

func boxesOf(strips []*strip, turn int) []box {
	out := make([]box, len(strips))
	_ = geometry.Quad{}
	return out
}

func inOrder(boxes []box) []place {
	out := make([]place, len(boxes))
	for i := range out {
		out[i] = place{box: i, row: i}
	}
	return out
}
