package vision

import (
	"encoding/json"
	"math"
)

// open_clip and timm configure torchvision's transforms. Sources: open_clip/transform.py of
// open_clip 3.2.0, timm/data/{config,transforms,transforms_factory}.py of timm 1.0.22,
// transforms/functional.py of torchvision 0.23.

// torchRule is how torchvision's transforms bring a picture to a size: resized, then cropped or
// padded in its middle.
type torchRule struct {
	fitted sizeRule // height and width to resize to, by mode
	mode   string   // resizeShortest, resizeLongest, resizeSquash
	// ratio says that resizeShortest is ResizeKeepRatio, which rounds; else torchvision's Resize,
	// which cuts off.
	ratio bool
	fill  [3]uint8 // what pads
}

const (
	resizeShortest = "shortest" // the shorter side fits, the longer one is cropped
	resizeLongest  = "longest"  // the longer side fits, the shorter one is padded
	resizeSquash   = "squash"   // both sides fit, the aspect is lost
)

// fit returns the size to which a picture of w by h pixels is resized.
func (t *torchRule) fit(w, h int) (int, int) {
	if t.mode == resizeSquash {
		return t.fitted.width, t.fitted.height
	}
	if t.mode == resizeShortest && !t.ratio {
		return sizeRule{shortest: t.fitted.height}.fit(w, h)
	}
	ratioW, ratioH := float64(w)/float64(t.fitted.width), float64(h)/float64(t.fitted.height)
	ratio := min(ratioW, ratioH)
	if t.mode == resizeLongest {
		ratio = max(ratioW, ratioH)
	}
	side := func(n int) int { return max(int(math.RoundToEven(float64(n)/ratio)), 1) }
	return side(w), side(h)
}

// centre crops or pads one axis of n pixels to size as torchvision's center_crop does: pixels lo to
// hi are kept and start at offset.
func (t *torchRule) centre(n, size int) (lo, hi, offset int) {
	if size <= n {
		lo = int(math.RoundToEven(float64(n-size) / 2))
		return lo, lo + size, 0
	}
	return 0, n, (size - n) / 2
}

// parseTorch reads a configuration of open_clip or timm; ok is false where keys are of neither.
func parseTorch(keys map[string]json.RawMessage) (p *Preprocessor, ok bool, err error) {
	for _, key := range []string{"pretrained_cfg", "preprocess_cfg"} {
		inside := map[string]json.RawMessage{}
		if isNull(keys[key]) {
			continue
		}
		if err := json.Unmarshal(keys[key], &inside); err != nil {
			return nil, true, imageErrorf("%s is not a JSON object: %w", key, err)
		}
		if key == "pretrained_cfg" {
			p, err = parseTimm(inside)
		} else {
			p, err = parseOpenCLIP(inside)
		}
		return p, true, err
	}
	if isNull(keys["interpolation"]) && isNull(keys["resize_mode"]) {
		return nil, false, nil
	}
	p, err = parseOpenCLIP(keys)
	return p, true, err
}

// torchConfig is the union of the keys that decide pixels.
type torchConfig struct {
	Size          json.RawMessage `json:"size"`       // open_clip: a side, or height and width
	InputSize     []int           `json:"input_size"` // timm: channels, height and width
	Mode          string          `json:"mode"`       // open_clip: RGB
	Mean          json.RawMessage `json:"mean"`
	Std           json.RawMessage `json:"std"`
	Interpolation string          `json:"interpolation"`
	ResizeMode    string          `json:"resize_mode"` // open_clip
	FillColor     json.RawMessage `json:"fill_color"`  // open_clip
	CropPct       float64         `json:"crop_pct"`    // timm: the share of the side that is kept
	CropMode      string          `json:"crop_mode"`   // timm: center, squash, border
	CropBorder    int             `json:"crop_border_pixels"`
}

// parseOpenCLIP reads open_clip's preprocess_cfg, which Jina-CLIP's preprocessor_config.json and
// Immich's visual/preprocess_cfg.json are, too: PreprocessCfg and image_transform of open_clip.
func parseOpenCLIP(keys map[string]json.RawMessage) (*Preprocessor, error) {
	c, err := torchKeys(keys)
	if err != nil {
		return nil, err
	}
	if c.Mode != "" && c.Mode != "RGB" {
		return nil, imageErrorf("mode %q: only RGB pictures are made", c.Mode)
	}
	p := &Preprocessor{doResize: true, doCrop: true, resample: Bicubic, cropSize: square(224)}
	if !isNull(c.Size) {
		if p.cropSize, err = parseSize("size", c.Size, true); err != nil {
			return nil, err
		}
		if p.cropSize.height == 0 {
			return nil, imageErrorf("size: %.60s is no height and width", c.Size)
		}
	}
	t := &torchRule{fitted: p.cropSize, mode: c.ResizeMode}
	switch t.mode {
	case "":
		t.mode = resizeShortest
	case resizeShortest, resizeLongest, resizeSquash:
	default:
		return nil, imageErrorf("resize_mode %q is not shortest, longest or squash", t.mode)
	}
	switch c.Interpolation {
	case "", "bicubic", "random": // image_transform takes random for bicubic where it trains nothing
	case "bilinear":
		p.resample = Bilinear
	default:
		return nil, imageErrorf("interpolation %q is not bicubic or bilinear", c.Interpolation)
	}
	if t.mode == resizeShortest && t.fitted.height != t.fitted.width {
		// ResizeKeepRatio is called with its own interpolation there.
		t.ratio, p.resample = true, Bicubic
	}
	if t.mode == resizeLongest && !isNull(c.FillColor) {
		fill, err := parseTriple("fill_color", c.FillColor)
		if err != nil {
			return nil, err
		}
		for i, v := range fill {
			t.fill[i] = uint8(min(max(v, 0), 255))
		}
	}
	p.torch = t
	return p, c.values(p, clipMean, clipStd)
}

// timmFilters are the interpolations of timm.
var timmFilters = map[string]Filter{
	"nearest": Nearest, "bilinear": Bilinear, "bicubic": Bicubic, "lanczos": Lanczos, "box": Box,
	"hamming": Hamming,
}

// parseTimm reads timm's pretrained_cfg: resolve_data_config and transforms_imagenet_eval of timm.
func parseTimm(keys map[string]json.RawMessage) (*Preprocessor, error) {
	c, err := torchKeys(keys)
	if err != nil {
		return nil, err
	}
	if c.InputSize == nil {
		c.InputSize = []int{3, 224, 224}
	}
	if len(c.InputSize) != 3 || c.InputSize[0] != 3 {
		return nil, imageErrorf("input_size %v is not 3 channels, a height and a width", c.InputSize)
	}
	height, width := c.InputSize[1], c.InputSize[2]
	if min(height, width) < 1 || max(height, width) > defaultMaxSide {
		return nil, imageErrorf("input_size is %v", c.InputSize)
	}
	if c.CropBorder != 0 {
		return nil, imageErrorf("crop_border_pixels is %d, and no border is cut off", c.CropBorder)
	}
	kept := c.CropPct
	if kept == 0 {
		kept = 0.875
	}
	if !(kept > 0.01 && kept <= 100) {
		return nil, imageErrorf("crop_pct is %v", kept)
	}
	p := &Preprocessor{
		doResize: true, doCrop: true, resample: Bicubic,
		cropSize: sizeRule{height: height, width: width},
	}
	if c.Interpolation != "" {
		var known bool
		if p.resample, known = timmFilters[c.Interpolation]; !known {
			return nil, imageErrorf("interpolation %q is none of timm's", c.Interpolation)
		}
	}
	t := &torchRule{fitted: sizeRule{
		height: int(math.Floor(float64(height) / kept)), width: int(math.Floor(float64(width) / kept)),
	}}
	if min(t.fitted.height, t.fitted.width) < 1 {
		return nil, imageErrorf("input_size %v with crop_pct %v leaves nothing", c.InputSize, kept)
	}
	p.torch = t
	if err := c.values(p, imageMean, imageStd); err != nil {
		return nil, err
	}
	switch c.CropMode {
	case "", "center":
		t.mode = resizeShortest
		if t.fitted.height != t.fitted.width {
			// ResizeKeepRatio is called with its own interpolation there.
			t.ratio, p.resample = true, Bilinear
		}
	case "squash":
		t.mode = resizeSquash
	case "border":
		t.mode = resizeLongest
		mean, err := c.triple("mean", c.Mean, imageMean)
		if err != nil {
			return nil, err
		}
		for i, v := range mean {
			t.fill[i] = uint8(min(max(math.RoundToEven(255*v), 0), 255))
		}
	default:
		return nil, imageErrorf("crop_mode %q is not center, squash or border", c.CropMode)
	}
	return p, nil
}

func torchKeys(keys map[string]json.RawMessage) (c torchConfig, err error) {
	all, err := json.Marshal(keys)
	if err == nil {
		err = json.Unmarshal(all, &c)
	}
	if err != nil {
		return c, imageErrorf("%w", err)
	}
	return c, nil
}

func (c *torchConfig) triple(
	field string, raw json.RawMessage, byDefault [3]float64,
) ([3]float64, error) {
	if isNull(raw) {
		return byDefault, nil
	}
	return parseTriple(field, raw)
}

// values fills p.table as ToTensor and Normalize do, in float32.
func (c *torchConfig) values(p *Preprocessor, mean, std [3]float64) (err error) {
	if mean, err = c.triple("mean", c.Mean, mean); err != nil {
		return err
	}
	if std, err = c.triple("std", c.Std, std); err != nil {
		return err
	}
	for ch := range p.table {
		m, s := float32(mean[ch]), float32(std[ch])
		if s == 0 {
			return imageErrorf("std is 0")
		}
		for i := range p.table[ch] {
			p.table[ch][i] = (float32(i)/255 - m) / s
		}
	}
	return nil
}
