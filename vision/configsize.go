package vision

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
)

// edges applies what a class does with edges where it is not what they say.
func (c *config) edges(f family, p *Preprocessor) {
	bare := json.Unmarshal(c.Size, new(int64)) == nil
	switch {
	case f.kind == clip && !c.fast || f.kind == convNext: // they look at the shortest alone
		if p.size.shortest > 0 {
			p.size.longest = 0
		}
	case f.kind == sam && bare:
		p.size = sizeRule{longest: p.size.shortest}
	case f.kind == sam && p.size.longest > 0:
		p.size.shortest = 0
	case f.kind == detr && bare:
		p.size.longest = orElse(c.MaxSize, 1333)
	case f.kind == explicit && c.MaxSize != nil && p.size.shortest > 0 && p.size.longest == 0:
		p.size.longest = *c.MaxSize
	}
}

// checkSize refuses sizes that the class fails with when it resizes.
func (c *config) checkSize(f family, p *Preprocessor) error {
	if !p.doResize || f.kind == explicit || f.kind == donut || c.fast {
		return nil
	}
	s := p.size
	switch {
	case f.kind == clip && s.shortest == 0 && s.height == 0:
		return imageErrorf("CLIPImageProcessor needs size.shortest_edge, or height and width")
	case f.kind == detr && s.height == 0 && (s.shortest == 0 || s.longest == 0):
		return imageErrorf("DetrImageProcessor needs size.shortest_edge and longest_edge")
	case f.kind == sam && s.longest == 0:
		return imageErrorf("SamImageProcessor needs size.longest_edge")
	case (f.square || f.kind == siglip) && s.height == 0:
		return imageErrorf("size needs height and width")
	}
	return nil
}

// page fills the fields of p that only Donut has. The size configured is the page's, and pictures
// are resized to its shorter side.
func (c *config) page(p *Preprocessor) error {
	if p.doCrop || !isNull(c.PadSize) {
		return imageErrorf("DonutImageProcessor knows no do_center_crop and no pad_size")
	}
	if p.size.height == 0 {
		return imageErrorf("DonutImageProcessor needs size.height and size.width")
	}
	if bytes.HasPrefix(bytes.TrimSpace(c.Size), []byte("[")) {
		// DonutFeatureExtractor lists the width first.
		p.size.height, p.size.width = p.size.width, p.size.height
	}
	p.page = p.size
	p.size = sizeRule{shortest: min(p.page.height, p.page.width)}
	p.doAlign, p.doThumbnail = orElse(c.DoAlign, false), orElse(c.DoThumbnail, true)
	p.plainThumbnail = c.ThumbnailAs5
	p.padPage, p.doPad = p.doPad, false
	return nil
}

// parseSize reads a size in one of its spellings; each number is 1 or more.
func parseSize(field string, raw json.RawMessage, bareIsSquare bool) (s sizeRule, err error) {
	// 64 bits everywhere, so that a size is too large and not senseless where int is smaller.
	var n int64
	var list []int64
	var object map[string]*int64
	pixels := func(n int64) int { return int(min(max(n, math.MinInt32), math.MaxInt32)) }
	switch {
	case json.Unmarshal(raw, &n) == nil:
		if bareIsSquare {
			s = square(pixels(n))
		} else {
			s.shortest = pixels(n)
		}
	case json.Unmarshal(raw, &list) == nil:
		switch len(list) {
		case 1:
			return parseSize(field, fmt.Appendf(nil, "%d", list[0]), bareIsSquare)
		case 2:
			s = sizeRule{height: pixels(list[0]), width: pixels(list[1])}
		default:
			return s, imageErrorf("%s lists %d numbers, not height and width", field, len(list))
		}
	case json.Unmarshal(raw, &object) == nil:
		for key, val := range object {
			if val == nil {
				continue
			}
			switch key {
			case "height":
				s.height = pixels(*val)
			case "width":
				s.width = pixels(*val)
			case "shortest_edge":
				s.shortest = pixels(*val)
			case "longest_edge":
				s.longest = pixels(*val)
			default:
				return s, imageErrorf("%s.%s is not understood", field, key)
			}
			if *val <= 0 {
				return s, imageErrorf("%s.%s is %d", field, key, *val)
			}
		}
	default:
		return s, imageErrorf("%s: %.60s is neither a number, a list nor an object of numbers",
			field, raw)
	}
	if max(s.height, s.width, s.shortest, s.longest) > defaultMaxSide {
		return s, limitErrorf("", "%s: %.60s is over %d pixels a side", field, raw, defaultMaxSide)
	}
	byEdges := s.shortest > 0 || s.longest > 0
	bySides := s.height > 0 && s.width > 0
	if byEdges == bySides || byEdges && (s.height != 0 || s.width != 0) {
		return s, imageErrorf("%s: %.60s gives neither height and width nor an edge", field, raw)
	}
	return s, nil
}

// parsePixels reads Qwen2VLImageProcessor's size, whose edges are numbers of pixels, and which older
// files give as min_pixels and max_pixels. Version 4.57.6 does not look at it, others do.
func parsePixels(raw json.RawMessage) (pixels [2]int, err error) {
	var size struct {
		Least        int `json:"min_pixels"`
		Most         int `json:"max_pixels"`
		ShortestEdge int `json:"shortest_edge"`
		LongestEdge  int `json:"longest_edge"`
	}
	if err := json.Unmarshal(raw, &size); err != nil {
		return pixels, imageErrorf("size: %w", err)
	}
	pixels = [2]int{cmp.Or(size.ShortestEdge, size.Least), cmp.Or(size.LongestEdge, size.Most)}
	if min(pixels[0], pixels[1]) < 1 {
		return pixels, imageErrorf("Qwen2VLImageProcessor needs size.shortest_edge and longest_edge")
	}
	return pixels, nil
}
