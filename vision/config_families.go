package vision

import "slices"

func square(n int) sizeRule { return sizeRule{height: n, width: n} }

// cropKeys, of which append makes copies, are those of classes that crop.
var cropKeys = slices.Clip([]string{"do_center_crop", "crop_size"})

// commonKeys are what every class reads but Idefics, which has no switches.
var commonKeys = []string{
	"do_resize", "size", "resample", "do_rescale", "rescale_factor", "do_normalize", "image_mean",
	"image_std",
}

// refusedKeys are no class's, but tell of a model for other pictures than those made here.
var refusedKeys = []string{"num_channels", "image_num_channels", "data_format"}

// families is by class name without "ImageProcessor", "ImageProcessorFast" or the older
// "FeatureExtractor". Source: the image_processing_*.py of transformers 4.57.6.
var families = map[string]family{
	"": {kind: explicit},
	"Bit": {
		size: sizeRule{shortest: 224}, resample: Bicubic, crop: true, cropSize: square(224), mean: clipMean, std: clipStd,
		kind: clip, reads: cropKeys,
	},
	"Blip": {size: square(384), square: true, resample: Bicubic, mean: clipMean, std: clipStd},
	"BridgeTower": {
		size: sizeRule{shortest: 288}, resample: Bicubic, crop: true, mean: clipMean, std: clipStd,
		kind: bridgeTower, reads: append(cropKeys, "size_divisor", "do_pad"),
	},
	"CLIP": {
		size: sizeRule{shortest: 224}, resample: Bicubic, crop: true, cropSize: square(224), mean: clipMean, std: clipStd,
		kind: clip, reads: append(cropKeys, "use_square_size"),
	},
	"ChineseCLIP": {
		size: sizeRule{shortest: 224}, resample: Bicubic, crop: true, cropSize: square(224), mean: clipMean, std: clipStd,
		kind: plain, reads: cropKeys,
	},
	"ConvNext": {
		size: sizeRule{shortest: 384}, resample: Bilinear, mean: halfMean, std: halfMean,
		kind: convNext, reads: []string{"crop_pct"},
	},
	"DeiT": {
		size: square(256), square: true, resample: Bicubic, crop: true, cropSize: square(224), mean: halfMean, std: halfMean,
		reads: cropKeys,
	},
	"Detr": {
		size: sizeRule{shortest: 800, longest: 1333}, resample: Bilinear, mean: imageMean, std: imageStd, pad: true,
		kind: detr, reads: []string{"max_size", "do_pad", "pad_size", "pad_and_return_pixel_mask"},
	},
	"Donut": {
		size: sizeRule{height: 2560, width: 1920}, square: true, resample: Bilinear, mean: halfMean, std: halfMean, pad: true,
		kind: donut, reads: []string{"do_thumbnail", "thumbnail_as_transformers_5", "do_align_long_axis", "do_pad"},
	},
	"EfficientNet": {
		size: square(346), square: true, resample: Nearest, cropSize: square(289), mean: halfMean, std: halfMean,
		kind: efficientNet, reads: append(cropKeys, "rescale_offset", "include_top"),
	},
	"Gemma3": {size: square(224), square: true, resample: Bilinear, mean: halfMean, std: halfMean},
	"Idefics": {
		size: square(224), square: true, resample: Bicubic, mean: clipMean, std: clipStd,
		kind: idefics, reads: []string{"image_size", "image_mean", "image_std", "rescale_factor"},
	},
	"Idefics2": {
		size: sizeRule{shortest: 378, longest: 980}, resample: Bilinear, mean: halfMean, std: halfMean, kind: idefics2,
		reads: []string{"do_image_splitting", "do_convert_rgb", "do_pad"},
	},
	"Idefics3": idefics3Family, "SmolVLM": idefics3Family,
	"LlavaOnevision": {
		size: square(384), square: true, resample: Bicubic, mean: clipMean, std: clipStd, kind: onevision,
		reads: []string{"image_grid_pinpoints", "do_pad", "do_convert_rgb", "do_image_splitting"},
	},
	"LlavaNext": {
		size: sizeRule{shortest: 224}, resample: Bicubic, mean: clipMean, std: clipStd, kind: llavaNext,
		reads: append(cropKeys, "image_grid_pinpoints", "do_pad", "do_convert_rgb"),
	},
	"Lfm2Vl": {
		size: square(512), square: true, resample: Bilinear, mean: halfMean, std: halfMean, kind: lfm2VL,
		reads: lfm2Keys,
	},
	"Pix2Struct": { // whose statistics are each picture's own
		std: [3]float64{1, 1, 1}, kind: pix2struct,
		reads: []string{"patch_size", "max_patches", "is_vqa", "do_convert_rgb"},
	},
	"Phi3V": {
		size: square(phi3Side), square: true, resample: Bilinear, mean: clipMean, std: clipStd, kind: phi3V,
		reads: []string{"num_crops"},
	},
	"Pixtral": {
		size: sizeRule{longest: 1024}, resample: Bicubic, mean: clipMean, std: clipStd, kind: pixtralKind,
		reads: []string{"patch_size", "spatial_merge_size", "do_convert_rgb"},
	},
	"Mllama": {
		size: square(224), square: true, resample: Bilinear, mean: imageMean, std: imageStd, kind: mllama,
		reads: []string{"max_image_tiles", "do_convert_rgb", "do_pad"},
	},
	"Qwen2VL": {
		resample: Bicubic, mean: clipMean, std: clipStd, kind: qwen2VL,
		reads: []string{"min_pixels", "max_pixels", "patch_size", "merge_size", "temporal_patch_size"},
	},
	"Sam": {
		size: sizeRule{longest: 1024}, resample: Bilinear, mean: imageMean, std: imageStd, pad: true, padSize: square(1024),
		kind: sam, reads: []string{"do_pad", "pad_size"},
	},
	"Siglip": {size: square(224), resample: Bicubic, mean: halfMean, std: halfMean, kind: siglip},
	// VLMImageProcessor is the class in the checkpoints, JanusImageProcessor that of transformers.
	"Janus": janusFamily, "VLM": janusFamily,
	"Siglip2": {
		resample: Bilinear, mean: halfMean, std: halfMean, kind: siglip2,
		reads: []string{"patch_size", "max_num_patches"},
	},
	"Vilt": {
		size: sizeRule{shortest: 384}, resample: Bicubic, mean: halfMean, std: halfMean, kind: vilt,
		reads: []string{"size_divisor", "do_pad", "pad_and_return_pixel_mask"},
	},
	"ViT": {size: square(224), square: true, resample: Bilinear, mean: halfMean, std: halfMean},
}

var lfm2Keys = []string{
	"downsample_factor", "do_image_splitting", "min_tiles", "max_tiles", "use_thumbnail", "min_image_tokens",
	"max_image_tokens", "encoder_patch_size", "tile_size", "max_pixels_tolerance",
}

var janusFamily = family{
	size: square(384), square: true, resample: Bicubic, mean: clipMean, std: clipStd, pad: true, kind: janusKind,
	reads: []string{"image_size", "min_size", "background_color", "do_pad"},
}

var idefics3Family = family{
	size: sizeRule{longest: 4 * 364}, resample: Lanczos, mean: halfMean, std: halfMean, kind: idefics3,
	reads: []string{"do_image_splitting", "max_image_size", "do_convert_rgb", "do_pad"},
}
