package audio

import (
	"math"
	"slices"

	"github.com/crossattn/xpipe/audio/internal/fft"
	"github.com/crossattn/xpipe/internal/kernel"
)

// Span is a stretch of a sound, in samples: from one up to but not including another.
type Span struct{ From, To int }

// Voice finds where somebody speaks in a sound that is written to it piece by piece, in memory that
// does not grow with it. It goes by loudness and by how it changes: speech rises above what is heard
// around it for longer than a click, its spectrum moves all the time, and it is never a pure tone.
// Silence, hum, steady noise, clicks and tones are none; whispering is speech. It is not safe for use by
// several goroutines.
type Voice struct {
	rate, hop int
	transform *fft.Real
	scratch   *fft.Scratch
	window    []float64
	edges     []int // terms of the spectrum where bands begin, and the end of the last
	level     float64

	input  []float32 // what frames from the next on are made of
	total  int       // samples written
	closed bool
	frames []voiceFrame // known, from number first on
	first  int
	ready  int // frames whose lasts and smooth are known
	next   int // the frame to decide about
	run    voiceRun
	spans  []Span
}

// voiceFrame is what is known of 32 ms of a sound, in dB.
type voiceFrame struct {
	energy float32 // of full scale, 200 to 3900 Hz
	flat   float32 // geometric mean of the spectrum over its mean: near 0 of noise, far below of tones
	bands  [voiceBands]float32

	lasts  float32 // the least energy around
	smooth float32 // the mean energy around; infinite at the ends of the sound
}

// voiceRun is a stretch of frames that stand out.
type voiceRun struct {
	from, last            int // first and last of them
	active, moving, noisy int // how many stand out; whose spectrum moves; that are no tones
	speech                bool
	goesOn                bool      // it was cut from one before
	levels                []float32 // of all frames from the first on
}

const (
	voiceBands = 15
	quietest   = -70 // dB: less is never speech
	rise       = 6   // dB above the floor
	moves      = 4   // dB that bands change within 80 ms
	tonal      = -25 // dB: flatness of what is no tone

	// In frames of 10 ms:
	shortest   = 4   // half of what a sound must last to stand out, less a frame
	lag        = 4   // half of the time that changes are taken over
	before     = 300 // the floor is the quietest place so long before
	behind     = 150 // and behind
	pause      = 50  // ends a run
	margin     = 20  // around speech
	enough     = 8   // frames of speech
	longestRun = 3000 - 2*margin
)

// voiceEdges are the bands' borders in Hz: critical bands.
var voiceEdges = [voiceBands + 1]float64{200, 300, 400, 510, 630, 770, 920, 1080, 1270, 1480, 1720, 2000,
	2320, 2700, 3150, 3900}

// NewVoice returns a Voice of a sound of so many samples a second, at least 8,000. Errors wrap ErrSound.
func NewVoice(rate int) (*Voice, error) {
	if rate < 8000 {
		return nil, soundErrorf("a voice is looked for in sounds of 8,000 samples a second or more, not %d", rate)
	}
	n := 1 << int(math.Round(math.Log2(0.032*float64(rate))))
	v := &Voice{rate: rate, hop: rate / 100, transform: fft.New(n), window: make([]float64, n)}
	v.scratch = v.transform.NewScratch()
	var sum float64
	for i := range v.window {
		v.window[i] = 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(n))
		sum += v.window[i] * v.window[i]
	}
	v.level = 2 / (sum * float64(n))
	for _, f := range voiceEdges {
		v.edges = append(v.edges, int(math.Ceil(f*float64(n)/float64(rate))))
	}
	v.input = make([]float32, n/2)
	v.run.from = -1
	return v, nil
}

// Write adds samples. After Close it does nothing.
func (v *Voice) Write(samples []float32) {
	for len(samples) > 0 && !v.closed {
		n := min(len(samples), pieceSamples)
		v.input = append(v.input, samples[:n]...)
		v.total += n
		samples = samples[n:]
		v.hear(false)
		v.decide(v.first + len(v.frames) - behind)
	}
}

// Close says that there are no more samples.
func (v *Voice) Close() {
	if v.closed {
		return
	}
	v.closed = true
	v.input = append(v.input, make([]float32, v.transform.Len()+kernel.Signals*v.hop)...)
	v.hear(true)
	v.decide(v.first + len(v.frames))
	v.end()
	v.input, v.frames = nil, nil
}

// Spans returns the stretches with speech that were found since it was called last, in order and apart
// from each other: with some room around, and none longer than 30 s; longer ones are cut where they are
// quietest. What was written in the last seconds, or is not over, may still be missing before Close.
func (v *Voice) Spans() []Span {
	found := v.spans
	v.spans = nil
	return found
}

// Settled returns the sample before which everything is decided: spans that Spans has not returned yet
// begin there or later. speaking says that one may: that what is heard there sounds like speech so far.
func (v *Voice) Settled() (sample int, speaking bool) {
	if v.closed {
		return v.total, false
	}
	if v.run.from >= 0 {
		return max(0, v.run.from-margin) * v.hop, v.run.speech
	}
	return max(0, v.next-margin) * v.hop, false
}

// hear makes frames of the input, the last ones of a sound, too.
func (v *Voice) hear(last bool) {
	n, done := v.transform.Len(), 0
	for {
		in := v.input[done*v.hop:]
		count := min(kernel.Signals, v.total/v.hop-v.first-len(v.frames))
		if len(in) < n+(kernel.Signals-1)*v.hop || count < kernel.Signals && !last || count <= 0 {
			break
		}
		kernel.Windows(v.transform.Frame(v.scratch), in, v.hop, v.window)
		power := v.transform.Power(v.scratch)
		for l := range count {
			v.frames = append(v.frames, v.frame(power, l))
		}
		done += count
	}
	v.input = append(v.input[:0], v.input[done*v.hop:]...)
}

// frame makes a frame of the spectrum of signal l.
func (v *Voice) frame(power []float64, l int) (f voiceFrame) {
	const least = 1e-14
	decibels := func(p float64) float32 { return float32(10 * math.Log10(p)) }
	var sum, logs float64
	product := 1.0 // of some terms: one logarithm for all
	for b := range voiceBands {
		var band float64
		for k := v.edges[b]; k < v.edges[b+1]; k++ {
			p := power[kernel.Signals*k+l]*v.level + least
			band += p
			if product *= p; k%16 == 0 {
				logs += math.Log10(product)
				product = 1
			}
		}
		f.bands[b] = decibels(band + least)
		sum += band
	}
	logs += math.Log10(product)
	terms := float64(v.edges[voiceBands] - v.edges[0])
	f.energy, f.flat = decibels(sum), float32(10*(logs/terms-math.Log10(sum/terms)))
	return f
}

// at returns a frame; before the first and behind the last it is that.
func (v *Voice) at(i int) *voiceFrame {
	return &v.frames[min(max(i-v.first, 0), len(v.frames)-1)]
}

// decide goes through the frames up to one.
func (v *Voice) decide(end int) {
	v.prepare()
	for ; v.next < end; v.next++ {
		i := v.next
		if len(v.run.levels) > 0 {
			v.run.levels = append(v.run.levels, v.at(i).energy)
		}
		if v.lasting(i) > max(v.floor(i)+rise, quietest) {
			v.extend(i)
		}
		if v.run.from >= 0 && i-v.run.last > pause {
			v.end()
		}
		if len(v.run.levels) >= longestRun {
			v.cut()
		}
	}
	if done := v.next - before - 2*lag - v.first; done > before {
		v.frames = append(v.frames[:0], v.frames[done:]...)
		v.first += done
	}
}

// prepare takes each frame together with those around it, as soon as they are known.
func (v *Voice) prepare() {
	const half = 2
	known := v.first + len(v.frames)
	for ; v.ready < known && (v.closed || v.ready < known-shortest); v.ready++ {
		f := v.at(v.ready)
		f.lasts, f.smooth = f.energy, float32(math.Inf(1))
		for k := v.ready - shortest; k <= v.ready+shortest; k++ {
			f.lasts = min(f.lasts, v.at(k).energy)
		}
		if v.ready >= half && v.ready < known-half {
			f.smooth = 0
			for k := v.ready - half; k <= v.ready+half; k++ {
				f.smooth += v.at(k).energy / (2*half + 1)
			}
		}
	}
}

// lasting returns the level that the sound keeps up around a frame: what is shorter does not count.
func (v *Voice) lasting(i int) float32 {
	most := float32(math.Inf(-1))
	for k := i - shortest; k <= i+shortest; k++ {
		most = max(most, v.at(k).lasts)
	}
	return most
}

// floor returns the level of the quietest place around a frame.
func (v *Voice) floor(i int) float32 {
	least := float32(math.Inf(1))
	from := max(i-before-v.first, 0)
	for k := range v.frames[from:min(i+behind-shortest+1-v.first, len(v.frames))] {
		least = min(least, v.frames[from+k].smooth)
	}
	return max(least, quietest-10)
}

// extend adds a frame to the run.
func (v *Voice) extend(i int) {
	r := &v.run
	if r.from < 0 {
		*r = voiceRun{from: i, levels: append(r.levels[:0], v.at(i).energy)}
	}
	r.last = i
	r.active++
	if v.change(i) >= moves {
		r.moving++
	}
	if v.at(i).flat > tonal {
		r.noisy++
	}
	moving, noisy := float64(r.moving)/float64(r.active), float64(r.noisy)/float64(r.active)
	// A melody moves from note to note, and hardly ever has noise; speech has much of either.
	r.speech = r.active >= enough && moving >= 0.3 && noisy >= 0.07 && max(moving, noisy) >= 0.5
}

// change returns by how many dB the bands change around a frame, on average; loud ones weigh more, as
// much as their amplitude.
func (v *Voice) change(i int) float64 {
	var sum, weights float64
	a, b := v.at(i-lag), v.at(i+lag)
	for k, from := range a.bands {
		w := math.Pow(10, float64(max(from, b.bands[k]))/20)
		sum += w * math.Abs(float64(from-b.bands[k]))
		weights += w
	}
	return sum / weights
}

// end ends the run and keeps it if it is speech.
func (v *Voice) end() {
	if v.run.from >= 0 {
		v.add(v.run.last + 1 + margin)
	}
	v.run.from, v.run.levels = -1, v.run.levels[:0]
}

// cut ends a run that is too long at the quietest place of its second half.
func (v *Voice) cut() {
	levels := v.run.levels
	half := len(levels) / 2
	at := half
	for i := half; i < len(levels)-2*margin; i++ {
		if levels[i] < levels[at] {
			at = i
		}
	}
	v.add(v.run.from + at)
	v.run.from += at
	v.run.goesOn = true
	v.run.levels = slices.Delete(levels, 0, at)
}

// add adds the run up to a frame to the spans, if it is speech.
func (v *Voice) add(to int) {
	from := v.run.from
	if !v.run.goesOn {
		from = max(from-margin, 0)
	}
	if v.run.speech {
		v.spans = append(v.spans, Span{from * v.hop, min(to*v.hop, v.total)})
	}
}

// JoinSpans makes one of spans that follow each other, with what lies between, as long as it is at most
// so many samples.
func JoinSpans(spans []Span, most int) []Span {
	var joined []Span
	for _, s := range spans {
		if n := len(joined) - 1; n >= 0 && s.To-joined[n].From <= most {
			joined[n].To = s.To
		} else {
			joined = append(joined, s)
		}
	}
	return joined
}
