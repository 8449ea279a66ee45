package api

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"html/template"
	"io"
	"math"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/tensor"
)

// The page holds all it needs. Its first script has the arithmetic, the second draws and plays.
var (
	//go:embed hearing_page.html
	hearingPage string
	//go:embed hearing_page.js
	hearingScript string

	hearingTemplate = template.Must(template.New("hearing").Parse(hearingPage))
)

// HearingView is a sound with what is said in it, for people: each word over the sound it came from.
type HearingView struct {
	Name       string
	Sound      *audio.Sound // of one channel
	Transcript *pipeline.Transcript
	MadeBy
}

const (
	// HearingPageSeconds bounds the sound of a page, which lies in it whole: 32 kB a second at 16 kHz.
	HearingPageSeconds = 15 * 60
	pageMels           = 64
)

// hearingData is what the scripts work on.
type hearingData struct {
	Sound   string        `json:"sound"` // data URI of a WAV file
	Seconds float64       `json:"seconds"`
	Mels    int           `json:"mels"`
	Columns int           `json:"columns"` // of the spectrogram
	Rate    float64       `json:"rate"`    // columns a second
	Cells   string        `json:"cells"`   // uint8 [columns,mels] in base64; a byte is a place on the scale
	Words   []hearingWord `json:"words"`
	Heat    [][3]uint8    `json:"heat"` // the colour scale
}

type hearingWord struct {
	Text        string  `json:"text"`
	Start       float64 `json:"start"`
	End         float64 `json:"end"`
	Probability float64 `json:"p"`
}

// WriteHTML writes one page without dependencies: the sound's spectrogram, with each word over the sound it
// came from, and the sound, of which a word plays its own. Segments without words stand for themselves.
// Sounds of over 15 minutes give an error that wraps pipeline.ErrLimit.
func (v *HearingView) WriteHTML(w io.Writer) error {
	if v.Sound == nil || v.Sound.Rate <= 0 || len(v.Sound.Samples) == 0 {
		return fmt.Errorf("%w: there is no sound to show", audio.ErrSound)
	}
	seconds := v.Sound.Seconds()
	if seconds > HearingPageSeconds {
		return fmt.Errorf("%w: the sound lasts %.0f seconds, and a page holds one of %d at most: cut it",
			pipeline.ErrLimit, seconds, HearingPageSeconds)
	}
	data := &hearingData{
		Sound:   "data:audio/wav;base64," + base64.StdEncoding.EncodeToString(wavOf(v.Sound)),
		Seconds: seconds, Words: v.words(), Heat: heatScale(),
	}
	if err := data.setCells(v.Sound); err != nil {
		return err
	}
	err := hearingTemplate.Execute(w, struct {
		Title, Text, Made string
		Data              *hearingData
		Script            template.JS
	}{v.Name, v.Transcript.Text, v.MadeBy.String(), data, template.JS(hearingScript)})
	if err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

func (v *HearingView) words() []hearingWord {
	words := []hearingWord{}
	for _, s := range v.Transcript.Segments {
		if s.Words == nil {
			words = append(words, hearingWord{trimmed(s.Text), rounded(s.Start), rounded(s.End), math.Exp(s.LogProb)})
		}
		for _, w := range s.Words {
			words = append(words, hearingWord{trimmed(w.Text), rounded(w.Start), rounded(w.End), w.Probability})
		}
	}
	return words
}

// setCells makes the spectrogram, in steps of 20 ms.
func (d *hearingData) setCells(sound *audio.Sound) error {
	hop, window := sound.Rate/50, 1
	extractor, err := audio.NewExtractor(fmt.Appendf(nil,
		`{"feature_size": %d, "sampling_rate": %d, "hop_length": %d, "n_fft": %d, "chunk_length": %d}`,
		pageMels, sound.Rate, hop, 2*hop, window))
	if err != nil {
		return err
	}
	s := extractor.NewSpectrogram()
	s.Write(sound.Samples)
	s.Close()
	step := extractor.Window() / hop
	cells := make([]byte, 0, s.Frames()*pageMels)
	for from := 0; from < s.Frames(); from += step {
		features, err := s.Window(from, step) // within 2 below the greatest
		if err != nil {
			return err
		}
		values, columns := tensor.Data[float32](features), features.Dim(2)
		most := float32(s.Loudest()+4) / 4
		for c := range min(step, s.Frames()-from) {
			for m := range pageMels {
				share := (values[m*columns+c] - most + 2) / 2
				cells = append(cells, byte(255*min(max(share, 0), 1)))
			}
		}
	}
	d.Mels, d.Columns, d.Rate = pageMels, s.Frames(), float64(sound.Rate)/float64(hop)
	d.Cells = base64.StdEncoding.EncodeToString(cells)
	return nil
}

// wavOf returns a sound as a WAV file of 16 bits.
func wavOf(s *audio.Sound) []byte {
	const head, format = 36, 16 // bytes behind the file's first 8, and of the format
	size := uint32(2 * len(s.Samples))
	rate := uint32(s.Rate)
	var b bytes.Buffer
	for _, part := range []any{
		[]byte("RIFF"), head + size, []byte("WAVEfmt "), uint32(format), uint16(1), uint16(1), rate, 2 * rate,
		uint16(2), uint16(16), []byte("data"), size,
	} {
		b.Write(little(part))
	}
	samples := make([]int16, len(s.Samples))
	for i, v := range s.Samples {
		n := math.RoundToEven(float64(v) * (1 << 15))
		samples[i] = int16(min(max(n, math.MinInt16), math.MaxInt16))
	}
	b.Write(little(samples))
	return b.Bytes()
}

// little returns numbers as little-endian bytes.
func little(v any) []byte {
	b, _ := binary.Append(nil, binary.LittleEndian, v)
	return b
}
