package audio

import "github.com/crossattn/xpipe/media"

// Sound is a decoded mono sound as a media.Item.
type Sound struct {
	Rate    int       // samples a second
	Samples []float32 // from -1 to 1; more where the file is louder than its scale
}

// Kind returns media.Sounds.
func (*Sound) Kind() media.Kind { return media.Sounds }

// Seconds returns how long the sound lasts.
func (s *Sound) Seconds() float64 { return float64(len(s.Samples)) / float64(s.Rate) }

// soundOf returns the item of an index as a sound of a rate; the error wraps ErrSound.
func soundOf(item media.Item, index, rate int) (*Sound, error) {
	sound, ok := item.(*Sound)
	if !ok || sound == nil {
		return nil, soundErrorf("item %d is no sound", index+1)
	}
	if sound.Rate != rate {
		return nil, soundErrorf("item %d has %d samples a second, and the model hears %d: resample it",
			index+1, sound.Rate, rate)
	}
	return sound, nil
}
