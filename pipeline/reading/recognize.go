package reading

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
)

// batchSize is how many lines run through a graph at once, and leastWidth the pixels of a batch's
// width: RapidOCR's, and what a line says may hang on what stands beside it.
const (
	batchSize  = 6
	leastWidth = 320
	mostWidth  = 2560 // pixels of all lines that run at once, but for one line that is wider
)

// reading is what is read on a strip.
type reading struct {
	text       string
	confidence float64
	characters []character
}

// character is one of a line.
type character struct {
	text       string
	at         float64 // its middle, in units of the strip's width
	column     int
	confidence float64
}

// recognize reads strips, in batches of like widths; by write, where that is not nil.
func (r *Reader) recognize(
	ctx context.Context, strips []*strip, write func(context.Context, []*vision.RGB) ([]string, error),
) error {
	read := r.recognizeBatch
	if write != nil {
		read = func(ctx context.Context, batch []*strip) error { return writeBatch(ctx, batch, write) }
	}
	sorted := slices.Clone(strips)
	slices.SortStableFunc(sorted, func(a, b *strip) int { return cmp.Compare(a.ratio(), b.ratio()) })
	for batch := range slices.Chunk(sorted, batchSize) {
		if err := read(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// writeBatch has a batch written down.
func writeBatch(
	ctx context.Context, batch []*strip, write func(context.Context, []*vision.RGB) ([]string, error),
) error {
	lines := make([]*vision.RGB, len(batch))
	for i, s := range batch {
		lines[i] = s.picture
	}
	texts, err := write(ctx, lines)
	if err != nil {
		return err
	}
	if len(texts) != len(batch) {
		return errGraph("%d texts for %d lines", len(texts), len(batch))
	}
	for i, s := range batch {
		s.reading = spread(texts[i])
	}
	return nil
}

// spread is a reading of a text whose characters have no places: they stand evenly over the strip.
func spread(text string) reading {
	out := reading{text: strings.Join(strings.Fields(text), " "), confidence: 1}
	all := float64(utf8.RuneCountInString(out.text))
	for _, c := range out.text {
		n := len(out.characters)
		out.characters = append(out.characters, character{
			text: string(c), at: (float64(n) + 0.5) / all, column: n, confidence: 1,
		})
	}
	return out
}

// recognizeBatch reads a batch, all of its lines as wide as its widest one. Of wide lines a few run at
// once: what they say does not hang on each other, but memory does.
func (r *Reader) recognizeBatch(ctx context.Context, batch []*strip) error {
	widest := float64(leastWidth) / lineHeight
	for _, s := range batch {
		widest = max(widest, s.ratio())
	}
	w := int(lineHeight * widest)
	for part := range slices.Chunk(batch, max(1, mostWidth/w)) {
		if err := r.recognizeLines(ctx, part, w, widest); err != nil {
			return err
		}
	}
	return nil
}

// recognizeLines reads lines at a width in pixels, which is that of the ratio widest.
func (r *Reader) recognizeLines(ctx context.Context, lines []*strip, w int, widest float64) error {
	pixels := make([]float32, len(lines)*3*lineHeight*w)
	for i, s := range lines {
		put(pixels[i*3*lineHeight*w:], w, s.picture, s.width())
	}
	in, err := tensor.New([]int{len(lines), 3, lineHeight, w}, pixels)
	if err != nil {
		return err
	}
	out, err := r.Recognize(ctx, in)
	if err != nil {
		return err
	}
	classes := len(r.Characters) + 1
	if out.DType() != tensor.Float32 || out.Rank() != 3 || out.Dim(0) != len(lines) || out.Dim(2) != classes {
		return errGraph("the recognizer gives %v for %d lines and %d characters", out, len(lines), len(r.Characters))
	}
	columns := out.Dim(1)
	values := tensor.Data[float32](out)
	for i, s := range lines {
		s.reading = r.decode(values[i*columns*classes:][:columns*classes], float64(columns)*s.ratio()/widest)
	}
	return nil
}

// decode takes the likeliest class of each column, drops those that repeat the one before, and then
// blanks. The line has so many columns; those behind them are padding.
func (r *Reader) decode(values []float32, columns float64) reading {
	classes := len(r.Characters) + 1
	var out reading
	var text strings.Builder
	before := -1
	for c := range len(values) / classes {
		row := values[c*classes:][:classes]
		best := 0
		for i, v := range row {
			if v > row[best] {
				best = i
			}
		}
		if best != before && best != 0 {
			out.characters = append(out.characters, character{
				text: r.Characters[best-1], column: c, at: (float64(c) + 0.5) / columns,
				confidence: rounded(float64(row[best])),
			})
			text.WriteString(r.Characters[best-1])
			out.confidence += rounded(float64(row[best]))
		}
		before = best
	}
	out.text = text.String()
	if n := len(out.characters); n > 0 {
		out.confidence = rounded(out.confidence / float64(n))
	}
	return out
}

// rounded keeps five digits.
func rounded(v float64) float64 { return math.RoundToEven(v*1e5) / 1e5 }

// word is a Word, and the part of its strip that it takes, in units of the width.
type word struct {
	Word
	from, to float64
}

// apart is how many columns after the character before it a character begins a word.
const apart = 5

// words cuts a line into words: at white space and, where they are to be fine, at wide gaps and
// between Chinese, Japanese or Korean characters, each of which is one, and others. A character is as
// wide as those of its line stand apart in the mean.
func (r *reading) words(fine bool) []word {
	var groups [][]character
	ends := true // the next character begins a word
	for i, c := range r.characters {
		if strings.TrimSpace(c.text) == "" {
			ends = true
			continue
		}
		if fine && i > 0 {
			before := r.characters[i-1]
			ends = ends || c.column-before.column > apart || ideographic(c.text) || ideographic(before.text)
		}
		if ends {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], c)
		ends = false
	}
	width, several := 0.0, 0
	for _, g := range groups {
		if n := len(g) - 1; n > 0 {
			width += (g[n].at - g[0].at) / float64(n)
			several++
		}
	}
	if several > 0 {
		width /= float64(several)
	} else if n := len(r.characters); n > 0 {
		width = 1 / float64(n)
	}
	words := make([]word, len(groups))
	for i, g := range groups {
		w := &words[i]
		for _, c := range g {
			w.Text += c.text
			w.Confidence += c.confidence / float64(len(g))
		}
		w.from = max(g[0].at-width/2, 0)
		w.to = min(g[len(g)-1].at+width/2, 1)
		if i > 0 && words[i-1].to > w.from { // they meet in the middle
			middle := (words[i-1].to + w.from) / 2
			words[i-1].to, w.from = middle, middle
		}
		w.to = max(w.from, w.to)
	}
	return words
}

// ideographic says whether a character is written without blanks between words.
func ideographic(text string) bool {
	for _, r := range text {
		if unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) {
			return true
		}
	}
	return false
}
