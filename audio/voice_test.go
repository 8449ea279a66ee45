package audio_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/internal/sweep"
)

// spoken returns where a Voice hears speech in samples that it gets piece by piece.
func spoken(t *testing.T, samples []float32, rate, piece int) []audio.Span {
	t.Helper()
	v, err := audio.NewVoice(rate)
	if err != nil {
		t.Fatal(err)
	}
	var spans []audio.Span
	for len(samples) > 0 {
		n := min(piece, len(samples))
		v.Write(samples[:n])
		samples = samples[n:]
		spans = append(spans, v.Spans()...)
	}
	v.Close()
	return append(spans, v.Spans()...)
}

// noises makes 40 sounds without speech at 16,000 samples a second: silence, dither, hums with
// harmonics, noises, clicks, chords, arpeggios, sirens and the tones of telephones.
func noises() map[string][]float32 {
	const rate = 16000
	r := rand.New(rand.NewPCG(40, 40))
	out := map[string][]float32{}
	// put keeps a sound at a level in dB, as it is where that is above 0.
	put := func(name string, seconds, level float64, f func(t float64) float64) {
		x := make([]float32, int(seconds*rate))
		var sum float64
		for i := range x {
			v := f(float64(i) / rate)
			sum += v * v
			x[i] = float32(v)
		}
		if level <= 0 {
			scale := float32(math.Pow(10, level/20) / math.Sqrt(sum/float64(len(x))))
			for i := range x {
				x[i] *= scale
			}
		}
		out[name] = x
	}
	put("silence", 5, 1, func(float64) float64 { return 0 })
	put("long silence", 12, 1, func(float64) float64 { return 0 })
	put("dither", 8, 1, func(float64) float64 { return float64(r.IntN(3)-1) / 32768 })
	put("more dither", 10, 1, func(float64) float64 { return r.NormFloat64() / 16384 })
	for _, hertz := range []float64{50, 60, 100} {
		for _, level := range []float64{-40, -25, -12} {
			parts, phases := make([]float64, 13), make([]float64, 13)
			for k := range parts {
				parts[k], phases[k] = (0.2+0.8*r.Float64())/float64(k+1), 6*r.Float64()
			}
			put(fmt.Sprint("hum of ", hertz, ", ", level), 7, level, func(t float64) (v float64) {
				for k, part := range parts {
					v += part * math.Sin(2*math.Pi*hertz*float64(k+1)*t+phases[k])
				}
				return v
			})
		}
	}
	for _, level := range []float64{-50, -35, -20} {
		put(fmt.Sprint("white noise, ", level), 9, level, func(float64) float64 { return r.NormFloat64() })
		var slow [3]float64
		put(fmt.Sprint("pink noise, ", level), 9, level, func(float64) float64 { // Kellet's filter
			w := r.NormFloat64()
			slow[0] = 0.99765*slow[0] + 0.099046*w
			slow[1] = 0.963*slow[1] + 0.2965164*w
			slow[2] = 0.57*slow[2] + 1.0526913*w
			return slow[0] + slow[1] + slow[2] + 0.1848*w
		})
		var brown float64
		put(fmt.Sprint("brown noise, ", level), 9, level, func(float64) float64 {
			brown = 0.995*brown + r.NormFloat64()
			return brown
		})
	}
	for i, every := range []float64{1.6, 0.27, 0.13} { // seconds between clicks, on average
		since, loud, pitch := 0.0, 0.0, 0.0
		fade := []float64{2500, 800, 400}[i]
		put(fmt.Sprint("clicks ", i+1), 8, 1, func(float64) float64 {
			if since += 1.0 / rate; r.Float64() < 1/(every*rate) {
				since, loud, pitch = 0, 0.1+0.7*r.Float64(), 3000+25000*r.Float64()
			}
			return loud * math.Exp(-since*fade) * math.Sin(since*pitch)
		})
	}
	partials := [][]int{{1}, {1, 2, 3, 4, 6, 8}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}, {1, 2, 3, 4}}
	note := func(hertz, t, seconds, fade float64, partials []int) (v float64) {
		for _, k := range partials {
			if f := hertz * float64(k); f < 7500 {
				v += math.Sin(2*math.Pi*f*t) / float64(k)
			}
		}
		return v * min(1, t/0.01, (seconds-t)/0.02) * math.Exp(-t*fade)
	}
	for i, ks := range partials {
		roots := []float64{220, 196, 262, 174.6, 220, 330, 147, 196}
		put(fmt.Sprint("chords ", i+1), 8, -20, func(t float64) (v float64) {
			for _, up := range []float64{0, 4 - float64(int(t)%2), 7} {
				v += note(roots[int(t)]*math.Pow(2, up/12), t-math.Floor(t), 1, []float64{0.5, 1, 2, 0}[i], ks)
			}
			return v
		})
		length := []float64{0.15, 0.2, 0.25, 0.3}[i]
		put(fmt.Sprint("arpeggio ", i+1), 48*length, -20, func(t float64) float64 {
			n := int(t / length)
			up := []float64{0, 4, 7, 12, 7, 4}[n%6]
			return note(220*math.Pow(2, up/12), t-float64(n)*length, length, []float64{6, 3, 5, 2}[i], ks)
		})
	}
	for i, hertz := range []func(t float64) float64{
		func(t float64) float64 { return 700 + 400*math.Sin(2*math.Pi*0.4*t) },
		func(t float64) float64 { return 440 + 145*math.Floor(math.Mod(t, 1.2)/0.6) },
		func(t float64) float64 { return 600 + 900*math.Mod(3*t, 1) },
		func(t float64) float64 { return 400 * math.Pow(2, 0.75-0.75*math.Cos(2*math.Pi*0.2*t)) },
	} {
		phase := 0.0
		put(fmt.Sprint("siren ", i+1), 9, -18, func(t float64) (v float64) {
			phase += 2 * math.Pi * hertz(t) / rate
			for _, k := range partials[i] {
				if float64(k)*hertz(t) < 7500 {
					v += math.Sin(phase*float64(k)) / float64(k)
				}
			}
			return v
		})
	}
	for name, tone := range map[string][4]float64{ // two frequencies, seconds on and in all
		"dial tone": {350, 440, 1, 1}, "ring": {440, 480, 1, 3}, "busy": {480, 620, 0.5, 1},
	} {
		put(name, 8, -15, func(t float64) float64 {
			if math.Mod(t, tone[3]) >= tone[2] {
				return 0
			}
			return math.Sin(2*math.Pi*tone[0]*t) + math.Sin(2*math.Pi*tone[1]*t)
		})
	}
	return out
}

// At least 95 % of sounds without speech have none.
func TestVoiceHearsNothing(t *testing.T) {
	t.Parallel()
	heard, sounds := []string{}, noises()
	for name, samples := range sounds {
		if !sweep.KeepsName(name, 3) {
			continue
		}
		if spans := spoken(t, samples, 16000, 1<<20); len(spans) > 0 {
			heard = append(heard, fmt.Sprint(name, spans))
		}
	}
	if slices.Sort(heard); len(sounds) != 40 || len(heard) > 2 {
		t.Errorf("speech in %d of %d: %q", len(heard), len(sounds), heard)
	}
	t.Log(heard)
}

// phrase makes seconds of something like speech: syllables, five a second, of a pitch that glides and
// three formants that move, or of noise where it is whispered.
func phrase(r *rand.Rand, rate int, seconds float64, whispered bool) []float32 {
	out := make([]float32, int(seconds*float64(rate)))
	var formants, next [3]float64
	for i := range 3 {
		formants[i] = []float64{500, 1500, 2500}[i]
		next[i] = formants[i]
	}
	var state [3][2]float64
	phase := 0.0
	for i := range out {
		t := float64(i) / float64(rate)
		if i%(rate/5) == 0 {
			next = [3]float64{250 + 550*r.Float64(), 900 + 1300*r.Float64(), 2300 + 700*r.Float64()}
		}
		source := r.NormFloat64()
		if syllable := math.Mod(5*t, 1); !whispered && syllable > 0.25 {
			hertz := 120 + 40*math.Sin(2*math.Pi*0.7*t) + 10*math.Sin(2*math.Pi*2.3*t)
			before := math.Floor(phase)
			phase += hertz / float64(rate)
			source = 0.05 * source
			if math.Floor(phase) > before {
				source += math.Sqrt(float64(rate) / hertz)
			}
		}
		var v float64
		for f := range formants {
			formants[f] += (next[f] - formants[f]) * 20 / float64(rate)
			a := math.Exp(-math.Pi * 90 / float64(rate))
			y := source + 2*a*math.Cos(2*math.Pi*formants[f]/float64(rate))*state[f][0] - a*a*state[f][1]
			state[f] = [2]float64{y, state[f][0]}
			v += y / float64(f+1)
		}
		out[i] = float32(0.004 * v * math.Pow(math.Sin(math.Pi*math.Mod(5*t, 1)), 2))
	}
	return out
}

// Speech is found where it is, whispered, in noise and quiet, too; how it is written changes nothing.
func TestVoiceHearsSpeech(t *testing.T) {
	t.Parallel()
	for _, rate := range []int{8000, 16000, 22050} {
		for _, kind := range []string{"clear", "whispered", "quiet", "in noise"} {
			r := rand.New(rand.NewPCG(1, uint64(rate)))
			said := phrase(r, rate, 3, kind == "whispered")
			var power float64
			for _, v := range said {
				power += float64(v) * float64(v) / float64(len(said))
			}
			samples := slices.Concat(make([]float32, 2*rate), said, make([]float32, 4*rate), said[:rate], make([]float32, rate))
			for i := range samples {
				switch kind {
				case "quiet":
					samples[i] *= 0.05
				case "in noise": // 5 dB below
					samples[i] += float32(math.Sqrt(power) * 0.56 * r.NormFloat64())
				}
			}
			spans := spoken(t, samples, rate, len(samples))
			near := func(sample int, second float64) bool { return math.Abs(float64(sample)/float64(rate)-second) < 0.4 }
			if len(spans) != 2 || !near(spans[0].From, 2) || !near(spans[0].To, 5) || !near(spans[1].From, 9) || !near(spans[1].To, 10) {
				t.Errorf("%s at %d: %v", kind, rate, spans)
			}
			for _, piece := range []int{1000, 4001} {
				if got := spoken(t, samples, rate, piece); !slices.Equal(got, spans) {
					t.Errorf("%s at %d, pieces of %d: %v, want %v", kind, rate, piece, got, spans)
				}
			}
		}
	}
	sound, err := audio.DecodeFile(t.Context(), filepath.Join(soundsDir, "16.wav"))
	if err != nil {
		t.Fatal(err)
	}
	if spans := spoken(t, sound.Samples[:50], 16000, 50); len(spans) != 0 {
		t.Error("speech in 50 samples:", spans)
	}
	if _, err := audio.NewVoice(4000); err == nil {
		t.Error("a rate of 4000 is taken")
	}
}

// Speech without a pause is cut into spans of at most 30 s that follow each other, and spans are joined to
// no more.
func TestVoiceCuts(t *testing.T) {
	t.Parallel()
	const rate = 8000
	samples := phrase(rand.New(rand.NewPCG(3, 3)), rate, 100, false)
	spans := spoken(t, samples, rate, 3000)
	if len(spans) < 4 {
		t.Fatal(spans)
	}
	for i, s := range spans {
		if s.To-s.From > 30*rate || s.From >= s.To || i > 0 && s.From != spans[i-1].To {
			t.Errorf("span %d of %v", i, spans)
		}
	}
	if spans[0].From > rate || spans[len(spans)-1].To < 99*rate {
		t.Error("not all of it:", spans)
	}
	got := audio.JoinSpans([]audio.Span{{0, 10}, {20, 25}, {26, 40}, {41, 80}, {90, 95}}, 30)
	if want := []audio.Span{{0, 25}, {26, 40}, {41, 80}, {90, 95}}; !slices.Equal(got, want) {
		t.Error(got)
	}
}

func BenchmarkVoice(b *testing.B) {
	samples := longSound()[:30*16000]
	for b.Loop() {
		v, err := audio.NewVoice(16000)
		if err != nil {
			b.Fatal(err)
		}
		v.Write(samples)
		v.Close()
	}
}
