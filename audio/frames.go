package audio

import (
	"context"
	"encoding/json"
	"math"

	"github.com/crossattn/xpipe/audio/internal/fft"
	"github.com/crossattn/xpipe/internal/bom"
	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// Frames makes log-mel features of a sound as long as it is, as Gemma3nAudioFeatureExtractor of
// transformers 4.57.6 does: equal to 1e-4. It is safe for use by several goroutines.
type Frames struct {
	rate, mels, hop, length int // length: samples of a frame
	longest                 int // samples; what is behind them is not heard
	transform               *fft.Real
	hann                    []float64
	bands                   *kernel.Bands
	scale, emphasis, floor  float64
	late                    int // where a frame's first difference is: 1 where it is that of its second sample
	mean, deviation         []float64
}

// framesType is the class of configurations that NewFrames reads.
const framesType = "Gemma3nAudioFeatureExtractor"

// longestFrames is how many samples the class hears at most, and wholeSamples what it fills sounds up
// to a multiple of.
const longestFrames, wholeSamples = 480_000, 128

// IsFrames says whether a preprocessor_config.json is one for NewFrames, not for NewExtractor.
func IsFrames(config []byte) bool { return extractorType(config) == framesType }

// extractorType returns feature_extractor_type of a configuration; "" where it has none.
func extractorType(config []byte) string {
	var c struct {
		Type string `json:"feature_extractor_type"`
	}
	config, err := bom.Strip(config)
	if err != nil || json.Unmarshal(config, &c) != nil {
		return ""
	}
	return c.Type
}

// framesConfig are the keys of the class, by their names in the file.
type framesConfig struct {
	Type      string    `json:"feature_extractor_type"`
	Mels      int       `json:"feature_size"`
	Rate      int       `json:"sampling_rate"`
	FrameMS   float64   `json:"frame_length_ms"`
	HopMS     float64   `json:"hop_length_ms"`
	Length    int       `json:"frame_length"` // which the class writes, and does not read
	Hop       int       `json:"hop_length"`
	Lowest    float64   `json:"min_frequency"`
	Highest   float64   `json:"max_frequency"`
	Emphasis  float64   `json:"preemphasis"`
	HTK       bool      `json:"preemphasis_htk_flavor"`
	Overdrive bool      `json:"fft_overdrive"`
	Dither    float64   `json:"dither"`
	Scale     float64   `json:"input_scale_factor"`
	Floor     float64   `json:"mel_floor"`
	Padding   float64   `json:"padding_value"`
	Mean      []float64 `json:"per_bin_mean"`
	Deviation []float64 `json:"per_bin_stddev"`
}

// NewFrames reads a preprocessor_config.json whose feature_extractor_type is
// Gemma3nAudioFeatureExtractor. Keys that are missing have the reference's defaults: 128 mels from 125
// to 7600 Hz of 16 kHz, frames of 32 ms every 10 ms. Errors wrap ErrSound.
func NewFrames(config []byte) (*Frames, error) {
	c := framesConfig{Mels: 128, Rate: 16000, FrameMS: 32, HopMS: 10, Lowest: 125, Highest: 7600, Emphasis: 0.97,
		HTK: true, Overdrive: true, Scale: 1, Floor: 1e-5}
	config, err := bom.Strip(config)
	if err == nil {
		err = json.Unmarshal(config, &c)
	}
	if err != nil {
		return nil, soundErrorf("preprocessor configuration: %w", err)
	}
	// The class writes samples, and reads milliseconds.
	length, hop := c.Length, c.Hop
	if length == 0 {
		length = int(math.RoundToEven(float64(c.Rate) * c.FrameMS / 1000))
	}
	if hop == 0 {
		hop = int(math.RoundToEven(float64(c.Rate) * c.HopMS / 1000))
	}
	switch {
	case c.Type != framesType:
		return nil, soundErrorf("preprocessor configuration: feature_extractor_type %q is not %s", c.Type, framesType)
	case c.Mels < 1 || c.Mels > 1024, c.Rate < 1000 || c.Rate > 768000, length < 2 || length > 1<<15, hop < 1 || hop > length,
		c.Lowest < 0 || c.Highest <= c.Lowest || c.Highest > 1e6, c.Emphasis < 0 || c.Emphasis >= 1, c.Floor <= 0,
		math.IsNaN(c.Scale) || math.IsInf(c.Scale, 0):
		return nil, soundErrorf("preprocessor configuration: feature_size %d, sampling_rate %d, frames of %d samples every "+
			"%d, min_frequency %v, max_frequency %v, preemphasis %v, mel_floor %v or input_scale_factor %v is out of bounds",
			c.Mels, c.Rate, length, hop, c.Lowest, c.Highest, c.Emphasis, c.Floor, c.Scale)
	case c.Padding != 0:
		return nil, soundErrorf("preprocessor configuration: padding_value %v is not supported; 0 is", c.Padding)
	case c.Dither != 0:
		return nil, soundErrorf("preprocessor configuration: dither %v adds noise, which is not supported", c.Dither)
	case c.Mean != nil && len(c.Mean) != c.Mels, c.Deviation != nil && len(c.Deviation) != c.Mels:
		return nil, soundErrorf("preprocessor configuration: per_bin_mean or per_bin_stddev has not a value for each of %d mels",
			c.Mels)
	}
	terms := 1
	for terms < length {
		terms *= 2
	}
	if c.Overdrive {
		terms *= 2
	}
	f := &Frames{rate: c.Rate, mels: c.Mels, hop: hop, length: length, longest: longestFrames, transform: fft.New(terms),
		hann: make([]float64, terms), scale: c.Scale, emphasis: c.Emphasis, floor: c.Floor, mean: c.Mean, deviation: c.Deviation}
	if !c.HTK && c.Emphasis > 0 {
		f.late = 1
	}
	for i := range length { // and zeros behind it
		f.hann[i] = 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(length))
	}
	f.bands = htkBands(c.Mels, terms, c.Rate, c.Lowest, c.Highest)
	return f, nil
}

// htkBands returns a bank of triangles on HTK's mel scale, of height 1, over the terms of a transform of
// a length. Source: create_fb_matrix of feature_extraction_gemma3n.py.
func htkBands(count, length, rate int, lowest, highest float64) *kernel.Bands {
	mel := func(f float64) float64 { return 2595 * math.Log10(1+f/700) }
	low, high := mel(lowest), mel(highest)
	edges := make([]float64, count+2)
	for i := range edges {
		edges[i] = 700 * (math.Pow(10, (low+(high-low)*float64(i)/float64(count+1))/2595) - 1)
	}
	bands := &kernel.Bands{}
	for b := range count {
		first, weights := 0, []float64(nil)
		for k := range length/2 + 1 {
			f := float64(k) * float64(rate) / float64(length)
			w := math.Min((f-edges[b])/(edges[b+1]-edges[b]), (edges[b+2]-f)/(edges[b+2]-edges[b+1]))
			if w <= 0 {
				continue
			}
			if weights == nil {
				first = k
			}
			weights = append(weights, w)
		}
		bands.Add(first, weights)
	}
	return bands
}

// Rate returns the samples a second that Prepare takes.
func (f *Frames) Rate() int { return f.rate }

// Prepare returns input_features [frames,mels] float32, those of one sound behind those of another, which
// Rows tells apart, and input_features_mask [frames] bool, all true. A sound is heard to its 480,000th
// sample. It makes Frames a media.Preparer. Items that are no sounds, sounds of another rate, and those
// too short for a frame give an error that wraps ErrSound.
func (f *Frames) Prepare(ctx context.Context, items []media.Item) (media.Prepared, error) {
	var values []float32
	var rows [][2]int
	count := 0
	for i, item := range items {
		sound, err := soundOf(item, i, f.rate)
		if err != nil {
			return media.Prepared{}, err
		}
		made := f.features(sound.Samples)
		if err := ctx.Err(); err != nil {
			return media.Prepared{}, err
		}
		if len(made) == 0 {
			return media.Prepared{}, soundErrorf("item %d has %d samples, and the model hears %d or more",
				i+1, len(sound.Samples), f.length+1)
		}
		values = append(values, made...)
		rows = append(rows, [2]int{count, count + len(made)/f.mels})
		count += len(made) / f.mels
	}
	heard := make([]bool, count)
	for i := range heard {
		heard[i] = true
	}
	features, err := tensor.New([]int{count, f.mels}, values)
	if err != nil {
		return media.Prepared{}, err
	}
	mask, err := tensor.New([]int{count}, heard)
	return media.Prepared{Rows: rows, Tensors: map[string]*tensor.Tensor{
		"input_features": features, "input_features_mask": mask,
	}}, err
}

// features returns [frames,mels] of samples.
func (f *Frames) features(samples []float32) []float32 {
	samples = samples[:min(len(samples), f.longest)]
	whole := (len(samples) + wholeSamples - 1) / wholeSamples * wholeSamples
	frames := (whole-f.length-1)/f.hop + 1
	if whole < f.length+1 {
		return nil
	}
	const lanes = kernel.Signals
	// Differences of neighbours; a frame's first counts for nothing, by the window.
	emphatic := make([]float32, (frames+lanes)*f.hop+f.transform.Len())
	at := func(i int) float64 {
		if i >= len(samples) {
			return 0
		}
		return float64(samples[i]) * f.scale
	}
	for i := range min(whole, len(emphatic)+f.late) {
		if i >= f.late {
			before := 0.0
			if i > 0 {
				before = at(i - 1)
			}
			emphatic[i-f.late] = float32(at(i) - f.emphasis*before)
		}
	}
	values := make([]float32, frames*f.mels)
	scratch := f.transform.NewScratch()
	bands := make([]float32, lanes*f.mels)
	for first := 0; first < frames; first += lanes {
		kernel.Windows(f.transform.Frame(scratch), emphatic[first*f.hop:], f.hop, f.hann)
		power := f.transform.Power(scratch)
		for i, p := range power {
			power[i] = math.Sqrt(p)
		}
		f.bands.Sum(bands, lanes, power)
		for lane := range min(lanes, frames-first) {
			row := values[(first+lane)*f.mels:][:f.mels]
			for b := range row {
				v := math.Log(math.Max(float64(bands[lanes*b+lane]), f.floor))
				if f.mean != nil {
					v -= f.mean[b]
				}
				if f.deviation != nil {
					v /= f.deviation[b]
				}
				row[b] = float32(v)
			}
		}
	}
	return values
}
