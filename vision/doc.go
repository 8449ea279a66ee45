// Package vision turns image files into model input.
//
// The models were trained on the pixels that Pillow and the slow image processors of Hugging Face
// transformers produce, so exactness against those is what this package is for: Decode gives the
// pixels of Pillow's
//
//	ImageOps.exif_transpose(Image.open(f)).convert("RGB")
//
// Resize gives those of Image.resize, and a Preprocessor, read from a preprocessor_config.json, the
// tensor that the reference feeds its model. The reference versions are Pillow 13.0.0 and
// transformers 4.57.6.
//
// Packages vision/avif and vision/heic add those formats to programs that import them, by
// RegisterFormat.
//
// Frames samples animations and videos. Thumbnail and Overlay make pictures for people to look at;
// no model sees those.
//
// The package knows nothing of graphs, tokens or bundles. Its parts that stand on their own lie in
// internal: jpeg (a decoder bit-exact with libjpeg-turbo) and resample (Pillow's fixed-point
// resampling, with vector kernels).
package vision
