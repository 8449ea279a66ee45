package vision

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/internal/bom"
)

// The statistics that image processors fall back on.
var (
	clipMean  = [3]float64{0.48145466, 0.4578275, 0.40821073}
	clipStd   = [3]float64{0.26862954, 0.26130258, 0.27577711}
	halfMean  = [3]float64{0.5, 0.5, 0.5}
	imageMean = [3]float64{0.485, 0.456, 0.406}
	imageStd  = [3]float64{0.229, 0.224, 0.225}
)

// family holds what an image processor class of transformers does where its configuration is
// silent, and the rules that only that class knows.
type family struct {
	size      sizeRule
	square    bool // a bare number means both sides, not the shorter one
	resample  Filter
	crop      bool
	cropSize  sizeRule
	mean, std [3]float64
	pad       bool
	padSize   sizeRule
	kind      familyKind
}

type familyKind int

const (
	plain        familyKind = iota
	convNext                // crop_pct decides between crop and stretch
	efficientNet            // rescale_offset, include_top
	idefics                 // image_size; always rescales; blends alpha with white
	donut                   // do_align_long_axis, do_thumbnail; a page that pictures are put on
	explicit                // no class named: everything that matters must be said
)

func square(n int) sizeRule { return sizeRule{height: n, width: n} }

// families is by class name without "ImageProcessor", "ImageProcessorFast" or the older
// "FeatureExtractor". Source: the image_processing_*.py of transformers 4.57.6.
var families = map[string]family{
	"":             {kind: explicit},
	"Blip":         {size: square(384), square: true, resample: Bicubic, mean: clipMean, std: clipStd},
	"CLIP":         {size: sizeRule{shortest: 224}, resample: Bicubic, crop: true, cropSize: square(224), mean: clipMean, std: clipStd},
	"ChineseCLIP":  {size: sizeRule{shortest: 224}, resample: Bicubic, crop: true, cropSize: square(224), mean: clipMean, std: clipStd},
	"ConvNext":     {size: sizeRule{shortest: 384}, resample: Bilinear, mean: halfMean, std: halfMean, kind: convNext},
	"DeiT":         {size: square(256), square: true, resample: Bicubic, crop: true, cropSize: square(224), mean: halfMean, std: halfMean},
	"Detr":         {size: sizeRule{shortest: 800, longest: 1333}, resample: Bilinear, mean: imageMean, std: imageStd, pad: true},
	"Donut":        {size: sizeRule{height: 2560, width: 1920}, square: true, resample: Bilinear, mean: halfMean, std: halfMean, pad: true, kind: donut},
	"EfficientNet": {size: square(346), square: true, resample: Nearest, cropSize: square(289), mean: halfMean, std: halfMean, kind: efficientNet},
	"Idefics":      {size: square(224), square: true, resample: Bicubic, mean: clipMean, std: clipStd, kind: idefics},
	"Sam":          {size: sizeRule{longest: 1024}, resample: Bilinear, mean: imageMean, std: imageStd, pad: true, padSize: square(1024)},
	"Siglip":       {size: square(224), square: true, resample: Bicubic, mean: halfMean, std: halfMean},
	"ViT":          {size: square(224), square: true, resample: Bilinear, mean: halfMean, std: halfMean},
}

// config is the union of the fields that are understood.
type config struct {
	ImageProcessorType   string `json:"image_processor_type"`
	FeatureExtractorType string `json:"feature_extractor_type"`

	DoResize      *bool           `json:"do_resize"`
	Size          json.RawMessage `json:"size"`
	MaxSize       *int            `json:"max_size"`
	ImageSize     json.RawMessage `json:"image_size"`
	UseSquareSize *bool           `json:"use_square_size"`
	Resample      *Filter         `json:"resample"`
	CropPct       *float64        `json:"crop_pct"`
	DoCenterCrop  *bool           `json:"do_center_crop"`
	CropSize      json.RawMessage `json:"crop_size"`
	DoRescale     *bool           `json:"do_rescale"`
	RescaleFactor *float64        `json:"rescale_factor"`
	RescaleOffset *bool           `json:"rescale_offset"`
	IncludeTop    *bool           `json:"include_top"`
	DoNormalize   *bool           `json:"do_normalize"`
	ImageMean     json.RawMessage `json:"image_mean"`
	ImageStd      json.RawMessage `json:"image_std"`
	DoConvertRGB  *bool           `json:"do_convert_rgb"`
	DoPad         *bool           `json:"do_pad"`
	PadSize       json.RawMessage `json:"pad_size"`
	DoThumbnail   *bool           `json:"do_thumbnail"`
	DoAlign       *bool           `json:"do_align_long_axis"`
	DataFormat    string          `json:"data_format"`
	NumChannels   *int            `json:"num_channels"`
	ImageChannels *int            `json:"image_num_channels"`
	DefaultSquare *bool           `json:"default_to_square"`
}

// understood are the keys of config; inert are those that change no pixel.
var (
	understood = []string{
		"image_processor_type", "feature_extractor_type", "do_resize", "size", "max_size", "image_size",
		"use_square_size", "resample", "crop_pct", "do_center_crop", "crop_size", "do_rescale", "rescale_factor",
		"rescale_offset", "include_top", "do_normalize", "image_mean", "image_std", "do_convert_rgb", "do_pad",
		"pad_size", "do_thumbnail", "do_align_long_axis", "data_format", "num_channels", "image_num_channels",
		"default_to_square",
	}
	inert = []string{
		"processor_class", "_valid_processor_keys", "auto_map", "return_tensors", "device", "disable_grouping",
		"transformers_version", "model_input_names", "num_query_tokens", "image_seq_length", "feature_extractor",
		"tokenizer_class", "_name_or_path", "name_or_path", "do_reduce_labels", "return_segmentation_masks", "format",
		"do_convert_annotations", "mask_size", "mask_pad_size",
	}
)

// ParseConfig reads a preprocessor_config.json in any spelling of transformers up to 4.57.6: sizes
// as a number, a list or an object, image processors or the older feature extractors. Fields left
// out take the default of the class that image_processor_type names; without a class, the fields
// that decide pixels must be there. A field that is not known and could change pixels is an error,
// as is any other problem; all wrap ErrImage, or ErrLimit for a size beyond 1,048,576 pixels a
// side.
//
// WithLimits bounds what the Preprocessor makes, Pixels and Side: a picture, and a batch as a
// whole. It does not look at the pictures that it is given.
func ParseConfig(data []byte, opts ...Option) (*Preprocessor, error) {
	p, err := parseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("preprocessor configuration: %w", err)
	}
	p.limits = buildOptions(opts).limits
	return p, nil
}

func parseConfig(data []byte) (*Preprocessor, error) {
	data, err := bom.Strip(data)
	if err != nil {
		return nil, imageErrorf("%w", err)
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		return nil, imageErrorf("not a JSON object: %w", err)
	}
	for key, val := range keys {
		if isNull(val) || slices.Contains(understood, key) || slices.Contains(inert, key) {
			continue
		}
		if strings.HasPrefix(key, "do_") && string(bytes.TrimSpace(val)) == "false" {
			continue
		}
		return nil, imageErrorf("%q: %.60s is not understood and may change pixels", key, val)
	}
	var c config
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, imageErrorf("%w", err)
	}

	class := c.ImageProcessorType
	if class == "" {
		class = c.FeatureExtractorType
	}
	name := strings.TrimSuffix(class, "Fast")
	name = strings.TrimSuffix(strings.TrimSuffix(name, "ImageProcessor"), "FeatureExtractor")
	f, ok := families[name]
	if !ok {
		return nil, imageErrorf("image_processor_type %q is not supported", class)
	}
	return c.build(f)
}

func isNull(v json.RawMessage) bool { return len(v) == 0 || string(bytes.TrimSpace(v)) == "null" }

// need says that a field must be there because no class gives a default.
func need(field string) error {
	return imageErrorf("has no %q, and no image_processor_type to take its default from", field)
}

func (c *config) build(f family) (*Preprocessor, error) {
	p := &Preprocessor{
		doResize: orElse(c.DoResize, true),
		resample: f.resample,
		doCrop:   orElse(c.DoCenterCrop, f.crop),
		onWhite:  f.kind == idefics,
		doPad:    orElse(c.DoPad, f.pad),
	}
	if err := c.geometry(f, p); err != nil {
		return nil, err
	}
	if err := c.refuse(f); err != nil {
		return nil, err
	}
	return p, c.values(f, p)
}

// geometry fills the fields of p that say where pixels go.
func (c *config) geometry(f family, p *Preprocessor) (err error) {
	if f.kind == idefics {
		c.Size, p.doResize, p.doCrop = c.ImageSize, true, false
		if c.Resample != nil && *c.Resample != Bicubic {
			return imageErrorf("resample %d: IDEFICS always takes bicubic, 3", int(*c.Resample))
		}
	} else if !isNull(c.ImageSize) {
		return imageErrorf("image_size belongs to IdeficsImageProcessor; use size")
	}
	bareIsSquare := f.square
	if f.kind == explicit {
		bareIsSquare = !p.doCrop
	}
	if c.DefaultSquare != nil {
		bareIsSquare = *c.DefaultSquare
	}
	p.size = f.size
	if !isNull(c.Size) {
		if p.size, err = parseSize("size", c.Size, bareIsSquare); err != nil {
			return err
		}
	} else if f.kind == explicit && p.doResize {
		return need("size")
	}
	if c.MaxSize != nil && p.size.shortest > 0 && p.size.longest == 0 {
		p.size.longest = *c.MaxSize
	}
	if orElse(c.UseSquareSize, false) && p.size.shortest > 0 {
		p.size = square(p.size.shortest)
	}
	if f.kind == donut {
		if err := c.page(p); err != nil {
			return err
		}
	}

	p.cropSize = f.cropSize
	if !isNull(c.CropSize) {
		if p.cropSize, err = parseSize("crop_size", c.CropSize, true); err != nil {
			return err
		}
	} else if f.kind == explicit && p.doCrop {
		return need("crop_size")
	}
	if p.doCrop && (p.cropSize.height <= 0 || p.cropSize.width <= 0) {
		return imageErrorf("crop_size needs height and width")
	}
	p.padSize = f.padSize
	if p.doPad && !isNull(c.PadSize) {
		if p.padSize, err = parseSize("pad_size", c.PadSize, true); err != nil {
			return err
		}
		if p.padSize.height <= 0 || p.padSize.width <= 0 {
			return imageErrorf("pad_size needs height and width")
		}
	}

	if c.Resample != nil {
		p.resample = *c.Resample
	} else if f.kind == explicit && p.doResize {
		return need("resample")
	}
	if p.resample < 0 || int(p.resample) >= len(filterNames) {
		return imageErrorf("resample %d is not one of Pillow's filters 0 to 5", int(p.resample))
	}

	if f.kind == convNext {
		p.cropPct = orElse(c.CropPct, 224.0/256)
		if !(p.cropPct > 0 && p.cropPct <= 1) {
			return imageErrorf("crop_pct %v is not between 0 and 1", p.cropPct)
		}
		if p.doResize && (p.size.shortest == 0 || p.size.longest != 0) {
			return imageErrorf("ConvNextImageProcessor needs size.shortest_edge")
		}
	} else if c.CropPct != nil {
		return imageErrorf("crop_pct belongs to ConvNextImageProcessor")
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
	p.padPage, p.doPad = p.doPad, false
	return nil
}

// refuse reports settings that would change pixels in ways not supported here.
func (c *config) refuse(f family) error {
	channels := map[string]*int{"num_channels": c.NumChannels, "image_num_channels": c.ImageChannels}
	for name, n := range channels {
		if n != nil && *n != 3 {
			return imageErrorf("%s is %d: only pictures of 3 channels are made", name, *n)
		}
	}
	if c.DataFormat != "" && c.DataFormat != "channels_first" {
		return imageErrorf("data_format %q: only channels_first is made", c.DataFormat)
	}
	if f.kind != efficientNet && (orElse(c.RescaleOffset, false) || orElse(c.IncludeTop, false)) {
		return imageErrorf("rescale_offset and include_top belong to EfficientNetImageProcessor")
	}
	if f.kind != donut && (orElse(c.DoAlign, false) || orElse(c.DoThumbnail, false)) {
		return imageErrorf("do_align_long_axis and do_thumbnail belong to DonutImageProcessor")
	}
	return nil
}

// values fills p.table, what becomes of each 8-bit sample. The steps and their types are those of
// the reference, so that the results are too: rescale in float64, rounded to float32, the rest in
// float32.
func (c *config) values(f family, p *Preprocessor) error {
	rescale := orElse(c.DoRescale, true) || f.kind == idefics
	factor := orElse(c.RescaleFactor, 1.0/255)
	normalize := orElse(c.DoNormalize, true) || f.kind == idefics
	top := f.kind == efficientNet && orElse(c.IncludeTop, true)
	mean, std, err := c.statistics(f)
	if err != nil {
		return err
	}
	if f.kind == explicit && normalize && (isNull(c.ImageMean) || isNull(c.ImageStd)) {
		return need("image_mean and image_std")
	}
	for ch := range p.table {
		m, s := float32(mean[ch]), float32(std[ch])
		if (normalize || top) && s == 0 {
			return imageErrorf("image_std is 0")
		}
		for i := range p.table[ch] {
			v := float32(i)
			if rescale {
				v = float32(float64(i) * factor)
				if f.kind == efficientNet && orElse(c.RescaleOffset, false) {
					v--
				}
			}
			if normalize {
				v = (v - m) / s
			}
			if top {
				v /= s
			}
			p.table[ch][i] = v
		}
	}
	return nil
}

func (c *config) statistics(f family) (mean, std [3]float64, err error) {
	mean, std = f.mean, f.std
	if !isNull(c.ImageMean) {
		if mean, err = parseTriple("image_mean", c.ImageMean); err != nil {
			return mean, std, err
		}
	}
	if !isNull(c.ImageStd) {
		std, err = parseTriple("image_std", c.ImageStd)
	}
	return mean, std, err
}

// parseTriple reads a number for all channels or a list of three.
func parseTriple(field string, raw json.RawMessage) (v [3]float64, err error) {
	var one float64
	if json.Unmarshal(raw, &one) == nil {
		return [3]float64{one, one, one}, nil
	}
	var list []float64
	if err := json.Unmarshal(raw, &list); err != nil {
		return v, imageErrorf("%s: %w", field, err)
	}
	if len(list) != 3 {
		return v, imageErrorf("%s has %d values for 3 channels", field, len(list))
	}
	return [3]float64(list), nil
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
		return s, limitErrorf("%s: %.60s is over %d pixels a side", field, raw, defaultMaxSide)
	}
	byEdges := s.shortest > 0 || s.longest > 0
	bySides := s.height > 0 && s.width > 0
	if byEdges == bySides || byEdges && (s.height != 0 || s.width != 0) {
		return s, imageErrorf("%s: %.60s gives neither height and width nor an edge", field, raw)
	}
	return s, nil
}

func orElse[T any](p *T, def T) T {
	if p != nil {
		return *p
	}
	return def
}
