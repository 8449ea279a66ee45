package vision

import (
	"encoding/json"
	"strconv"
)

// maxDivisor bounds size_divisor, far above the 32 of released models.
const maxDivisor = 1 << 10

// bridgeRule reads the keys that only BridgeTowerImageProcessor has. Pictures are always cropped and
// normalised, whatever the file says: BridgeTowerProcessor asks for it at each call
// (processing_bridgetower.py, transformers 4.57.6).
func (c *config) bridgeRule(p *Preprocessor) error {
	if p.size.shortest <= 0 {
		return imageErrorf("BridgeTowerImageProcessor needs size.shortest_edge")
	}
	p.divisor = orElse(c.SizeDivisor, 32)
	if p.divisor < 1 || p.divisor > maxDivisor {
		return imageErrorf("size_divisor is %d, not 1 to %d", p.divisor, maxDivisor)
	}
	edge := p.size.shortest
	if !isNull(c.CropSize) {
		rule, err := parseSize("crop_size", c.CropSize, false)
		if err != nil {
			return err
		}
		if edge = rule.shortest; edge <= 0 {
			return imageErrorf("BridgeTowerImageProcessor needs crop_size.shortest_edge")
		}
	}
	c.CropSize = json.RawMessage(strconv.Itoa(edge)) // a square
	p.doCrop, p.doPad = true, false
	return nil
}

// fitDivided returns the size to which a picture of w by h pixels is resized so that its shorter side
// is shortest, unless the longer one passes 1333/800 of that; both are then cut to multiples of divisor
// (get_resize_output_image_size of image_processing_bridgetower.py).
func fitDivided(w, h, shortest, divisor int) (int, int) {
	shorter := float64(shortest)
	longer := float64(int(1333.0 / 800 * shorter))
	scale := shorter / float64(min(w, h))
	width, height := shorter, float64(scale*float64(h))
	if h < w {
		width, height = float64(scale*float64(w)), shorter
	}
	if most := max(width, height); most > longer {
		scale = longer / most
		width, height = float64(scale*width), float64(scale*height)
	}
	cut := func(n float64) int { return int(n+0.5) / divisor * divisor }
	return cut(width), cut(height)
}
