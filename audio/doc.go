// Package audio turns sound files into model input.
//
// Decode and Open read WAV, the formats that RegisterFormat adds, such as those of package
// audio/codecs, and whatever else an ffmpeg on PATH reads, into mono samples of one rate. Channels are
// averaged; Resample changes the rate by a windowed sinc. Streams take bounded memory, however long
// they are.
//
// An Extractor, read from a preprocessor_config.json, makes of samples the tensor that the reference
// feeds its model: the log-mel features of Whisper, whose reference is WhisperFeatureExtractor of
// transformers 4.57.6. A Spectrogram makes them of a sound of any length while it is read, as
// openai-whisper cuts its windows from the whole sound. Waves, Frames and Clips are what other models
// take: the samples, features of a sound as long as it is, and features of clips of one length. A Voice
// finds where somebody speaks.
//
// The package knows nothing of graphs, tokens or bundles. The Fourier transform stands on its own in
// internal/fft; its arithmetic lies in internal/kernel.
package audio
