package audio

import (
	"context"
	"encoding/json"
	"math"

	"github.com/crossattn/xpipe/internal/bom"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// Clips makes log-mel features of sounds as ClapFeatureExtractor of transformers 4.57.6 does of one sound
// at a time: equal to 1e-4 of decibels. Shorter sounds are repeated and padded to a clip. Of longer ones
// the class takes crops at random; here they are those in the middle of where it may take them, so that
// a sound always gives the same. It is safe for use by several goroutines.
type Clips struct {
	e     *Extractor // its window is a clip
	fused bool       // a longer sound is four clips: the whole, shrunk, and three crops
	fill  string     // what becomes of shorter ones
}

// clipsType is the class of configurations that NewClips reads.
const clipsType = "ClapFeatureExtractor"

// IsClips says whether a preprocessor_config.json is one for NewClips, not for NewExtractor.
func IsClips(config []byte) bool { return extractorType(config) == clipsType }

// How the class fills a clip; anything else pads with zeros.
const (
	fillRepeat    = "repeat"    // again and again, to the end
	fillRepeatPad = "repeatpad" // as often as it fits, then zeros
)

// mostClipSamples bounds the sounds whose features are made as a whole: 93 minutes at 48 kHz.
const mostClipSamples = 1 << 28

// NewClips reads a preprocessor_config.json whose feature_extractor_type is ClapFeatureExtractor. Keys
// that are missing have the reference's defaults: 64 mels up to 14 kHz of 48 kHz, transforms of 1024
// samples every 480, clips of 10 s. Errors wrap ErrSound.
func NewClips(config []byte) (*Clips, error) {
	c := struct {
		Type       string  `json:"feature_extractor_type"`
		Mels       int     `json:"feature_size"`
		Rate       int     `json:"sampling_rate"`
		Hop        int     `json:"hop_length"`
		Seconds    int     `json:"max_length_s"`
		Length     int     `json:"fft_window_size"`
		Lowest     float64 `json:"frequency_min"`
		Highest    float64 `json:"frequency_max"`
		Truncation string  `json:"truncation"`
		Fill       string  `json:"padding"`
	}{Mels: 64, Rate: 48000, Hop: 480, Seconds: 10, Length: 1024, Highest: 14000, Truncation: "fusion", Fill: fillRepeatPad}
	config, err := bom.Strip(config)
	if err == nil {
		err = json.Unmarshal(config, &c)
	}
	switch {
	case err != nil:
		return nil, soundErrorf("preprocessor configuration: %w", err)
	case c.Type != clipsType:
		return nil, soundErrorf("preprocessor configuration: feature_extractor_type %q is not %s", c.Type, clipsType)
	case c.Truncation != "fusion" && c.Truncation != "rand_trunc":
		return nil, soundErrorf("preprocessor configuration: truncation %q is not supported; fusion and rand_trunc are",
			c.Truncation)
	case c.Mels < 1 || c.Mels > 1024, c.Rate < 1000 || c.Rate > 768000, c.Seconds < 1 || c.Seconds > 3600,
		c.Length < 2 || c.Length > 1<<15, c.Hop < 1 || c.Hop > c.Length, c.Seconds*c.Rate > mostWindow,
		c.Seconds*c.Rate/c.Hop > mostFeatures/c.Mels/4, c.Lowest < 0 || c.Highest <= c.Lowest || c.Highest > 1e6:
		return nil, soundErrorf("preprocessor configuration: feature_size %d, sampling_rate %d, max_length_s %d, "+
			"fft_window_size %d, hop_length %d, frequency_min %v or frequency_max %v is out of bounds",
			c.Mels, c.Rate, c.Seconds, c.Length, c.Hop, c.Lowest, c.Highest)
	}
	clips := &Clips{fused: c.Truncation == "fusion", fill: c.Fill}
	clips.e = newExtractor(c.Rate, c.Mels, c.Hop, c.Length, c.Seconds)
	if clips.fused {
		clips.e.bands = htkBands(c.Mels, c.Length, c.Rate, c.Lowest, c.Highest)
	} else {
		clips.e.bands = melBands(c.Mels, c.Length/2+1, c.Rate, c.Lowest, c.Highest)
	}
	return clips, nil
}

// Rate returns the samples a second that Prepare takes.
func (c *Clips) Rate() int { return c.e.rate }

// Prepare returns input_features [B,4,frames,mels] float32 in decibels of a configuration with fusion,
// [B,1,frames,mels] of another, one row a sound, and is_longer [B,1] bool: whether the crops of a row
// count. With fusion they always do, as where the class is given one sound. It makes Clips a
// media.Preparer. Items that are no sounds, empty ones and sounds of another rate give an error that
// wraps ErrSound.
func (c *Clips) Prepare(ctx context.Context, items []media.Item) (media.Prepared, error) {
	clips := 1
	if c.fused {
		clips = 4
	}
	size := clips * c.frames(c.e.window) * c.e.mels
	values, longer := make([]float32, len(items)*size), make([]bool, len(items))
	rows := make([][2]int, len(items))
	for i, item := range items {
		sound, err := soundOf(item, i, c.e.rate)
		if err != nil {
			return media.Prepared{}, err
		}
		switch n := len(sound.Samples); {
		case n == 0:
			return media.Prepared{}, soundErrorf("item %d is empty: it has no samples", i+1)
		case n > mostClipSamples && c.fused:
			return media.Prepared{}, soundErrorf("item %d lasts %.0f s, and the model hears %d s at most: cut it",
				i+1, sound.Seconds(), mostClipSamples/c.e.rate)
		}
		c.fillRow(ctx, values[i*size:][:size], sound.Samples)
		if err := ctx.Err(); err != nil {
			return media.Prepared{}, err
		}
		longer[i] = c.fused || len(sound.Samples) > c.e.window
		rows[i] = [2]int{i, i + 1}
	}
	features, err := tensor.New([]int{len(items), clips, c.frames(c.e.window), c.e.mels}, values)
	if err != nil {
		return media.Prepared{}, err
	}
	flags, err := tensor.New([]int{len(items), 1}, longer)
	return media.Prepared{Rows: rows, Tensors: map[string]*tensor.Tensor{
		"input_features": features, "is_longer": flags,
	}}, err
}

// fillRow makes the clips [clips,frames,mels] of a sound.
func (c *Clips) fillRow(ctx context.Context, dst, samples []float32) {
	over := len(samples) - c.e.window
	switch {
	case over > 0 && !c.fused:
		c.features(ctx, dst, samples[over/2:][:c.e.window])
		return
	case over <= 0:
		samples = c.filled(samples)
	}
	frames, total := c.frames(c.e.window), c.frames(len(samples))
	clip := frames * c.e.mels
	if frames == total {
		c.features(ctx, dst[:clip], samples)
		for at := clip; at < len(dst); at += clip {
			copy(dst[at:], dst[:clip])
		}
		return
	}
	whole := make([]float32, total*c.e.mels)
	c.features(ctx, whole, samples)
	shrink(dst[:clip], whole, c.e.mels)
	for i, from := range crops(total - frames + 1) {
		copy(dst[(i+1)*clip:][:clip], whole[from*c.e.mels:])
	}
}

// filled returns a sound that is no longer than a clip as a clip.
func (c *Clips) filled(samples []float32) []float32 {
	clip := make([]float32, c.e.window)
	repeats := 1
	switch c.fill {
	case fillRepeat:
		repeats = c.e.window/len(samples) + 1
	case fillRepeatPad:
		repeats = c.e.window / len(samples)
	}
	for i := range repeats {
		if at := i * len(samples); at < len(clip) {
			copy(clip[at:], samples)
		}
	}
	return clip
}

// crops returns where the crops begin, of so many places where they may: the middle of each third, as
// np.array_split divides them; 0 of a third without places.
func crops(places int) (from [3]int) {
	at := 0
	for i := range from {
		n := places / 3
		if i < places%3 {
			n++
		}
		if n > 0 {
			from[i] = at + n/2
		}
		at += n
	}
	return from
}

// frames returns how many frames a sound has: they are centred at its hops, the end included.
func (c *Clips) frames(samples int) int { return samples/c.e.hop + 1 }

// features computes dst [frames,mels] of samples, in decibels.
func (c *Clips) features(ctx context.Context, dst, samples []float32) {
	frames := c.frames(len(samples))
	logs := make([]float32, len(dst))
	c.e.logs(ctx, logs, frames, c.e.reflected(samples), frames)
	for b := range c.e.mels {
		for f, v := range logs[b*frames:][:frames] {
			dst[f*c.e.mels+b] = 10 * v
		}
	}
}

// shrink makes dst of src by interpolating between rows of a width, in float32 as
// torch.nn.functional.interpolate does (bilinear, align_corners=False, no antialiasing).
func shrink(dst, src []float32, width int) {
	in, out := len(src)/width, len(dst)/width
	scale := float32(in) / float32(out)
	for i := range out {
		place := max(scale*(float32(i)+0.5)-0.5, 0)
		at := min(int(math.Floor(float64(place))), in-1)
		part := min(max(place-float32(at), 0), 1)
		upper, lower := src[at*width:][:width], src[min(at+1, in-1)*width:][:width]
		for k := range width {
			dst[i*width+k] = (1-part)*upper[k] + part*lower[k]
		}
	}
}
