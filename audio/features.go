package audio

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/crossattn/xpipe/audio/internal/fft"
	"github.com/crossattn/xpipe/internal/bom"
	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// Extractor makes log-mel features as WhisperFeatureExtractor of transformers 4.57.6 does in NumPy:
// equal to 1e-4, in fact to float32's rounding. It is safe for use by several goroutines.
type Extractor struct {
	rate, mels, hop, window int // window: samples of the longest input, chunk_length seconds
	transform               *fft.Real
	hann                    []float64
	bands                   *kernel.Bands
	normalize               bool
}

// mostWindow bounds the samples of a window, and mostFeatures the values that it becomes: an hour at
// 16 kHz in windows of Whisper's steps stays below both.
const mostWindow, mostFeatures = 1 << 26, 1 << 27

// NewExtractor reads a preprocessor_config.json whose feature_extractor_type is
// WhisperFeatureExtractor. Keys that are missing, and nil, have the reference's defaults: 80 mels of 16 kHz,
// transforms of 400 samples every 160, windows of 30 s. Errors wrap ErrSound.
func NewExtractor(config []byte) (*Extractor, error) {
	c := struct {
		Type      string  `json:"feature_extractor_type"`
		Mels      int     `json:"feature_size"`
		Rate      int     `json:"sampling_rate"`
		Hop       int     `json:"hop_length"`
		Seconds   int     `json:"chunk_length"`
		Length    int     `json:"n_fft"`
		Padding   float64 `json:"padding_value"`
		Dither    float64 `json:"dither"`
		Normalize bool    `json:"do_normalize"`
	}{Mels: 80, Rate: 16000, Hop: 160, Seconds: 30, Length: 400}
	var err error
	if len(config) > 0 {
		if config, err = bom.Strip(config); err == nil {
			err = json.Unmarshal(config, &c)
		}
	}
	switch {
	case err != nil:
		return nil, soundErrorf("preprocessor configuration: %w", err)
	case c.Type != "" && c.Type != "WhisperFeatureExtractor":
		return nil, soundErrorf("preprocessor configuration: feature_extractor_type %q is not supported; "+
			"WhisperFeatureExtractor is", c.Type)
	case c.Mels < 1 || c.Mels > 1024, c.Rate < 1000 || c.Rate > 768000, c.Seconds < 1 || c.Seconds > 3600,
		c.Length < 2 || c.Length > 1<<16, c.Hop < 1 || c.Hop > c.Length:
		return nil, soundErrorf("preprocessor configuration: feature_size %d, sampling_rate %d, chunk_length %d, "+
			"n_fft %d or hop_length %d is out of bounds", c.Mels, c.Rate, c.Seconds, c.Length, c.Hop)
	case c.Hop > c.Seconds*c.Rate, c.Seconds*c.Rate > mostWindow, c.Seconds*c.Rate/c.Hop > mostFeatures/c.Mels:
		return nil, soundErrorf("preprocessor configuration: chunk_length %d of sampling_rate %d, cut every %d samples "+
			"(hop_length) into feature_size %d, makes no features or over %d", c.Seconds, c.Rate, c.Hop, c.Mels, mostFeatures)
	case c.Padding != 0:
		return nil, soundErrorf("preprocessor configuration: padding_value %v is not supported; 0 is", c.Padding)
	case c.Dither != 0:
		return nil, soundErrorf("preprocessor configuration: dither %v adds noise, which is not supported", c.Dither)
	}
	e := newExtractor(c.Rate, c.Mels, c.Hop, c.Length, c.Seconds)
	e.bands, e.normalize = melBands(c.Mels, c.Length/2+1, c.Rate, 0, 8000), c.Normalize
	return e, nil
}

// newExtractor returns an Extractor without bands, of transforms of length samples every hop and of
// windows of seconds.
func newExtractor(rate, mels, hop, length, seconds int) *Extractor {
	e := &Extractor{rate: rate, mels: mels, hop: hop, window: seconds * rate,
		transform: fft.New(length), hann: make([]float64, length)}
	for i := range e.hann { // periodic
		e.hann[i] = 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(length))
	}
	return e
}

// ReadConfig reads the preprocessor configuration of a folder and returns its name: that of
// transformers 4, or the processor_config.json of transformers 5, of which its feature_extractor is
// returned. If there is none the error is that of the first.
func ReadConfig(read func(name string) ([]byte, error)) (data []byte, name string, err error) {
	name = "preprocessor_config.json"
	data, err = read(name)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return data, name, err
	}
	const processor = "processor_config.json"
	other, otherErr := read(processor)
	if otherErr != nil {
		return nil, name, err
	}
	var file struct {
		Extractor json.RawMessage `json:"feature_extractor"`
	}
	if other, otherErr = bom.Strip(other); otherErr == nil {
		otherErr = json.Unmarshal(other, &file)
	}
	if otherErr != nil {
		return nil, processor, soundErrorf("%s: %w", processor, otherErr)
	}
	if file.Extractor == nil {
		return nil, name, err
	}
	return file.Extractor, processor, nil
}

// Rate returns the samples a second that Features takes.
func (e *Extractor) Rate() int { return e.rate }

// Mels returns the number of mel bands of a frame.
func (e *Extractor) Mels() int { return e.mels }

// Window returns the samples of a window: 480,000 of Whisper.
func (e *Extractor) Window() int { return e.window }

// Hop returns the samples from one frame to the next.
func (e *Extractor) Hop() int { return e.hop }

// Prepare returns input_features [B,mels,frames] float32, one row a sound, each cut or padded with
// zeros to a window. It makes an Extractor a media.Preparer. Items that are no sounds, and sounds of
// another rate, give an error that wraps ErrSound.
func (e *Extractor) Prepare(ctx context.Context, items []media.Item) (media.Prepared, error) {
	frames := e.window / e.hop
	values := make([]float32, len(items)*e.mels*frames)
	rows := make([][2]int, len(items))
	for i, item := range items {
		sound, err := soundOf(item, i, e.rate)
		if err != nil {
			return media.Prepared{}, err
		}
		samples := make([]float32, e.window)
		copy(samples, sound.Samples)
		if err := e.features(ctx, values[i*e.mels*frames:][:e.mels*frames], samples, len(sound.Samples)); err != nil {
			return media.Prepared{}, err
		}
		rows[i] = [2]int{i, i + 1}
	}
	t, err := tensor.New([]int{len(items), e.mels, frames}, values)
	if err != nil {
		return media.Prepared{}, err
	}
	return media.Prepared{Tensors: map[string]*tensor.Tensor{"input_features": t}, Rows: rows}, nil
}

// Features returns the log-mel features [mels,frames] of samples as they are, one frame a hop: what
// the reference computes with truncation=False. The values depend on the loudest of all frames.
func (e *Extractor) Features(ctx context.Context, samples []float32) (*tensor.Tensor, error) {
	frames := len(samples) / e.hop
	if len(samples) <= e.transform.Len()/2 {
		return nil, soundErrorf("%d samples are too few for a transform of %d", len(samples), e.transform.Len())
	}
	values := make([]float32, e.mels*frames)
	if err := e.features(ctx, values, samples, len(samples)); err != nil {
		return nil, err
	}
	return tensor.New([]int{e.mels, frames}, values)
}

// features computes dst [mels,frames] of samples, of which the first heard are not padding.
func (e *Extractor) features(ctx context.Context, dst []float32, samples []float32, heard int) error {
	if e.normalize {
		samples = normalized(samples, min(heard, len(samples)))
	}
	frames := len(samples) / e.hop
	power := e.logs(ctx, dst, frames, e.reflected(samples), frames)
	if err := ctx.Err(); err != nil {
		return err
	}
	scaled(dst, dst, float32(logPower(power)-8))
	return nil
}

// reflected returns samples with half a transform's length of reflection at both ends.
func (e *Extractor) reflected(samples []float32) []float32 {
	n := e.transform.Len()
	padded := make([]float32, len(samples)+n)
	for i := range padded[:n/2] {
		padded[i] = samples[reflect(i-n/2, len(samples))]
	}
	copy(padded[n/2:], samples)
	for i := len(samples); i < len(samples)+n-n/2; i++ {
		padded[n/2+i] = samples[reflect(i, len(samples))]
	}
	return padded
}

// scaled makes features of logarithms of power, of which less than least count as that.
func scaled(dst, logs []float32, least float32) {
	kernel.Clip(dst, logs, least, float32(math.Inf(1)))
	kernel.Affine(dst, dst, 0.25, 1)
}

// overhang returns how many samples behind its place a frame needs.
func (e *Extractor) overhang() int { return e.transform.Len() - e.transform.Len()/2 }

// floor is the least power that counts; its logarithm is -10.
const floor = 1e-10

// logs writes the logarithms of the mel bands of frames, of which number f begins at samples[f*hop], to
// dst[band*stride+f], and returns the greatest power of all bands. Without dst it returns that alone.
// It uses as many goroutines as the work is worth.
func (e *Extractor) logs(ctx context.Context, dst []float32, stride int, samples []float32, frames int) float64 {
	workers := min(runtime.GOMAXPROCS(0), frames/64)
	if workers < 2 {
		return e.logsOf(ctx, dst, stride, samples, 0, frames)
	}
	loudest := make([]float64, workers)
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			loudest[w] = e.logsOf(ctx, dst, stride, samples, frames*w/workers, frames*(w+1)/workers)
		})
	}
	wait.Wait()
	return slices.Max(loudest)
}

// logsOf is logs of the frames from one up to but not including another, by one goroutine.
func (e *Extractor) logsOf(ctx context.Context, dst []float32, stride int, samples []float32, from, to int) float64 {
	const lanes = kernel.Signals
	scratch := e.transform.NewScratch()
	var room, few []float32 // for bands that are not kept, and for samples of fewer frames than are made at once
	var most float64
	for f := from; f < to; f += lanes {
		if f%256 < lanes && ctx.Err() != nil {
			return most
		}
		count := min(lanes, to-f)
		in := samples[f*e.hop:][:(count-1)*e.hop+e.transform.Len()]
		if count < lanes {
			few = make([]float32, (lanes-1)*e.hop+e.transform.Len())
			copy(few, in)
			in = few
		}
		if silent(in) {
			for b := 0; b < e.mels && dst != nil; b++ {
				clear(dst[b*stride+f:][:count])
			}
			continue
		}
		kernel.Windows(e.transform.Frame(scratch), in, e.hop, e.hann)
		power := e.transform.Power(scratch)
		if dst != nil && count == lanes {
			most = math.Max(most, e.bands.Sum(dst[f:], stride, power))
			continue
		}
		if room == nil {
			room = make([]float32, lanes*e.mels)
		}
		most = math.Max(most, e.bands.Sum(room, lanes, power))
		for b := 0; b < e.mels && dst != nil; b++ {
			copy(dst[b*stride+f:][:count], room[lanes*b:])
		}
	}
	for b := 0; b < e.mels && dst != nil; b++ {
		row := dst[b*stride+from : b*stride+to]
		kernel.Log10(row, row, floor)
	}
	return most
}

// silent says whether all samples are 0.
func silent(samples []float32) bool {
	return !slices.ContainsFunc(samples, func(v float32) bool { return v != 0 })
}

// reflect returns the place of a sample that lies before 0 or behind n, mirrored at the first or last.
func reflect(i, n int) int {
	if n == 1 {
		return 0
	}
	i %= 2 * (n - 1)
	if i < 0 {
		i += 2 * (n - 1)
	}
	if i >= n {
		i = 2*(n-1) - i
	}
	return i
}

// normalized returns samples with mean 0 and variance 1 over those heard, and 0 behind them. Source:
// zero_mean_unit_var_norm of feature_extraction_whisper.py.
func normalized(samples []float32, heard int) []float32 {
	out := make([]float32, len(samples))
	if heard == 0 {
		return out
	}
	var mean, variance float64
	for _, v := range samples[:heard] {
		mean += float64(v)
	}
	mean /= float64(heard)
	for _, v := range samples[:heard] {
		variance += (float64(v) - mean) * (float64(v) - mean)
	}
	scale := 1 / math.Sqrt(variance/float64(heard)+1e-7)
	for i, v := range samples[:heard] {
		out[i] = float32((float64(v) - mean) * scale)
	}
	return out
}
