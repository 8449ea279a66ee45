package vision

import (
	"bytes"
	"encoding/json"
	"slices"
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
	reads     []string // the keys that this class reads beside common ones
}

type familyKind int

const (
	plain        familyKind = iota
	convNext                // crop_pct decides between crop and stretch
	efficientNet            // rescale_offset, include_top
	idefics                 // image_size; always rescales; blends alpha with white
	donut                   // do_align_long_axis, do_thumbnail; a page that pictures are put on
	clip                    // a longest edge does not count
	detr                    // both edges, or both sides
	sam                     // the longest edge alone
	siglip                  // both sides, though a bare number is an edge
	explicit                // no class named: everything that matters must be said
	idefics3                // do_image_splitting, max_image_size: squares
	qwen2VL                 // min_pixels, max_pixels: patches
	siglip2                 // max_num_patches: patches in a padded list
	lfm2VL                  // tile_size, encoder_patch_size: tiles, each a padded list of patches
	phi3V                   // num_crops: crops and the picture as a whole
	pixtralKind             // patch_size: whole patches, in the picture's shape
	mllama                  // max_image_tiles: tiles of a canvas
	bridgeTower             // size_divisor: sides that are multiples
	llavaNext               // image_grid_pinpoints: the picture, and squares of a canvas
	onevision               // do_image_splitting: as llavaNext, and the picture as one of several
	vilt                    // size_divisor: as bridgeTower, without a crop, and masks of pixels
	pix2struct              // max_patches: patches in a padded list, of floats
	idefics2                // do_image_splitting: quarters, in the picture's shape
	janusKind               // image_size, min_size: in the middle of a square
)

// config is the union of the fields that are understood.
type config struct {
	fast bool // the class is a Fast one

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
	PadAndMask    *bool           `json:"pad_and_return_pixel_mask"`
	PadSize       json.RawMessage `json:"pad_size"`
	DoThumbnail   *bool           `json:"do_thumbnail"`
	ThumbnailAs5  bool            `json:"thumbnail_as_transformers_5"` // tools/export writes it
	DoAlign       *bool           `json:"do_align_long_axis"`
	Pinpoints     json.RawMessage `json:"image_grid_pinpoints"`
	DataFormat    string          `json:"data_format"`
	NumChannels   *int            `json:"num_channels"`
	ImageChannels *int            `json:"image_num_channels"`
	DefaultSquare *bool           `json:"default_to_square"`
	DoSplit       *bool           `json:"do_image_splitting"`
	MaxImageSize  json.RawMessage `json:"max_image_size"`
	MinPixels     *int            `json:"min_pixels"`
	MaxPixels     *int            `json:"max_pixels"`
	PatchSize     *patchSide      `json:"patch_size"`
	MergeSize     *int            `json:"merge_size"`
	TemporalSize  *int            `json:"temporal_patch_size"`
	MaxNumPatches *int            `json:"max_num_patches"`
	SpatialMerge  *int            `json:"spatial_merge_size"`

	NumCrops         *int     `json:"num_crops"`
	Downsample       *int     `json:"downsample_factor"`
	MinTiles         *int     `json:"min_tiles"`
	MaxTiles         *int     `json:"max_tiles"`
	UseThumbnail     *bool    `json:"use_thumbnail"`
	MinImageTokens   *int     `json:"min_image_tokens"`
	MaxImageTokens   *int     `json:"max_image_tokens"`
	EncoderPatchSize *int     `json:"encoder_patch_size"`
	TileSize         *int     `json:"tile_size"`
	PixelTolerance   *float64 `json:"max_pixels_tolerance"`
	MaxImageTiles    *int     `json:"max_image_tiles"`
	SizeDivisor      *int     `json:"size_divisor"`
	MaxPatches       *int     `json:"max_patches"`
	IsVQA            *bool    `json:"is_vqa"`
	MinSize          *int     `json:"min_size"`

	Background json.RawMessage `json:"background_color"`
}

// understood are the keys of config; inert are those that change no pixel.
var (
	understood = append(slices.Clip(lfm2Keys), []string{
		"image_processor_type", "feature_extractor_type", "do_resize", "size", "max_size", "image_size",
		"use_square_size", "resample", "crop_pct", "do_center_crop", "crop_size", "do_rescale", "rescale_factor",
		"rescale_offset", "include_top", "do_normalize", "image_mean", "image_std", "do_convert_rgb", "do_pad",
		"pad_size", "do_thumbnail", "thumbnail_as_transformers_5", "do_align_long_axis", "data_format", "num_channels", "image_num_channels",
		"default_to_square", "pad_and_return_pixel_mask", "do_image_splitting", "max_image_size",
		"min_pixels", "max_pixels", "patch_size", "merge_size", "temporal_patch_size", "max_num_patches",
		"spatial_merge_size", "num_crops",
		"max_image_tiles", "size_divisor", "min_size", "background_color", "max_patches", "is_vqa",
	}...)
	inert = []string{
		"processor_class", "_valid_processor_keys", "auto_map", "return_tensors", "device", "disable_grouping",
		"transformers_version", "model_input_names", "num_query_tokens", "image_seq_length", "feature_extractor",
		"tokenizer_class", "_name_or_path", "name_or_path", "do_reduce_labels", "return_segmentation_masks", "format",
		"do_convert_annotations", "mask_size", "mask_pad_size", "video_sampling", "return_row_col_info",
		"tasks_answer_post_processing_type", "task_prompts_without_inputs", "task_prompts_with_input",
		"post_processor_config", "num_additional_image_tokens", "image_grid_pinpoints", "input_data_format",
		"num_img_tokens",
	}
)

// heardKeys are those of feature extractors of sounds, which models that see and hear have in the same
// file.
var heardKeys = []string{
	"chunk_length", "dither", "feature_size", "fft_length", "fft_overdrive", "frame_length", "frame_length_ms",
	"hop_length", "hop_length_ms", "input_scale_factor", "max_frequency", "mel_floor", "min_frequency", "n_fft",
	"n_samples", "nb_max_frames", "padding_side", "padding_value", "per_bin_mean", "per_bin_stddev", "preemphasis",
	"preemphasis_htk_flavor", "return_attention_mask", "sampling_rate",
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
		doPad:    orElse(c.PadAndMask, orElse(c.DoPad, f.pad)),
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
	} else if f.kind == janusKind {
		if isNull(c.Size) {
			c.Size = c.ImageSize
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
	if f.kind == qwen2VL {
		if err := c.patching(p); err != nil {
			return err
		}
	} else if f.kind == siglip2 {
		if err := c.naflexRule(p); err != nil {
			return err
		}
	} else if !isNull(c.Size) {
		if p.size, err = parseSize("size", c.Size, bareIsSquare); err != nil {
			return err
		}
		c.edges(f, p)
	} else if f.kind == explicit && p.doResize {
		return need("size")
	}
	if orElse(c.UseSquareSize, false) && p.size.shortest > 0 {
		p.size = square(p.size.shortest)
	}
	switch f.kind {
	case donut:
		err = c.page(p)
	case idefics3:
		err = c.tiling(p)
	case lfm2VL:
		err = c.lfm2Rule(p)
	case pixtralKind:
		err = c.pixtralRule(p)
	case phi3V:
		err = c.phi3Rule(p)
	case mllama:
		err = c.canvasRule(p)
	case bridgeTower:
		err = c.bridgeRule(p)
	case janusKind:
		err = c.janusRule(p)
	case llavaNext:
		err = c.anyresRule(p)
	case vilt:
		err = c.viltRule(p)
	case pix2struct:
		err = c.flattenedRule(p)
	case onevision:
		err = c.onevisionRule(f, p)
	case idefics2:
		err = c.quarters(p)
	}
	if err != nil {
		return err
	}
	if err := c.checkSize(f, p); err != nil {
		return err
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
	if p.doPad {
		p.padSize = f.padSize
	}
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
	if !slices.Contains([]familyKind{idefics2, idefics3, lfm2VL, onevision}, f.kind) && c.DoSplit != nil {
		return imageErrorf("do_image_splitting belongs to Idefics2ImageProcessor and Idefics3ImageProcessor")
	}
	if f.kind != idefics3 && !isNull(c.MaxImageSize) {
		return imageErrorf("max_image_size belongs to Idefics3ImageProcessor")
	}
	if f.kind != qwen2VL && (c.MinPixels != nil || c.MaxPixels != nil) {
		return imageErrorf("min_pixels and max_pixels belong to Qwen2VLImageProcessor")
	}
	if c.PatchSize != nil && !slices.Contains([]familyKind{qwen2VL, siglip2, pixtralKind, pix2struct}, f.kind) {
		return imageErrorf("patch_size belongs to Qwen2VLImageProcessor, Siglip2ImageProcessor, " +
			"PixtralImageProcessor and Pix2StructImageProcessor")
	}
	if f.kind != pix2struct && (c.MaxPatches != nil || orElse(c.IsVQA, false)) {
		return imageErrorf("max_patches and is_vqa belong to Pix2StructImageProcessor")
	}
	if f.kind != pixtralKind && c.SpatialMerge != nil {
		return imageErrorf("spatial_merge_size belongs to PixtralImageProcessor")
	}
	if f.kind != phi3V && c.NumCrops != nil {
		return imageErrorf("num_crops belongs to Phi3VImageProcessor")
	}
	if f.kind != lfm2VL && c.TileSize != nil {
		return imageErrorf("tile_size belongs to Lfm2VlImageProcessor")
	}
	if f.kind != siglip2 && f.kind != lfm2VL && c.MaxNumPatches != nil {
		return imageErrorf("max_num_patches belongs to Siglip2ImageProcessor")
	}
	if f.kind != mllama && c.MaxImageTiles != nil {
		return imageErrorf("max_image_tiles belongs to MllamaImageProcessor")
	}
	if f.kind != bridgeTower && f.kind != vilt && c.SizeDivisor != nil {
		return imageErrorf("size_divisor belongs to BridgeTowerImageProcessor and ViltImageProcessor")
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
	normalize := orElse(c.DoNormalize, true) || f.kind == idefics || f.kind == bridgeTower
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

func orElse[T any](p *T, def T) T {
	if p != nil {
		return *p
	}
	return def
}
