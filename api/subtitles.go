package api

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/crossattn/xpipe/pipeline"
)

// TranscriptForm is a form of file that a transcript is written as: that of the writer of the same name
// in openai-whisper 20250625 (utils.py). Lines end with a line feed, text is UTF-8.
type TranscriptForm struct {
	Name  string // which is the suffix, without its dot
	Timed bool   // whether it says when something is spoken
	Cues  bool   // whether SubtitleOptions change it
	write func(w io.Writer, t *pipeline.Transcript, o SubtitleOptions)
}

// TranscriptForms are the forms there are.
var TranscriptForms = []TranscriptForm{
	{"srt", true, true, writeSRT},
	{"vtt", true, true, writeVTT},
	{"tsv", true, false, writeTSV},
	{"txt", false, false, writeTXT},
}

// TranscriptFormOf finds a form by its name.
func TranscriptFormOf(name string) (TranscriptForm, bool) {
	i := slices.IndexFunc(TranscriptForms, func(f TranscriptForm) bool { return f.Name == name })
	if i < 0 {
		return TranscriptForm{}, false
	}
	return TranscriptForms[i], true
}

// Suffix is what names of such files end in.
func (f TranscriptForm) Suffix() string { return "." + f.Name }

// Write writes a transcript.
func (f TranscriptForm) Write(w io.Writer, t *pipeline.Transcript, o SubtitleOptions) error {
	out := bufio.NewWriter(w)
	f.write(out, t, o)
	return out.Flush()
}

// SubtitleOptions say how the words of .srt and .vtt are laid out. They need words with times; 0 leaves
// a bound out.
type SubtitleOptions struct {
	LineWidth int // most characters of a line
	// LineCount is the most lines shown at once. With it and LineWidth, cues take no heed of segments.
	LineCount    int
	WordsPerLine int
	Highlight    bool // show a cue once for each of its words, which is underlined
}

// cue is a text that is shown for a time.
type cue struct {
	start, end float64 // seconds
	text       string
}

func writeSRT(w io.Writer, t *pipeline.Transcript, o SubtitleOptions) {
	for i, c := range cues(t, o) {
		fmt.Fprintf(w, "%d\n%s --> %s\n%s\n\n", i+1, clock(c.start, true, ','),
			clock(c.end, true, ','), c.text)
	}
}

func writeVTT(w io.Writer, t *pipeline.Transcript, o SubtitleOptions) {
	fmt.Fprint(w, "WEBVTT\n\n")
	for _, c := range cues(t, o) {
		fmt.Fprintf(w, "%s --> %s\n%s\n\n", Clock(c.start), Clock(c.end), c.text)
	}
}

func writeTSV(w io.Writer, t *pipeline.Transcript, _ SubtitleOptions) {
	fmt.Fprint(w, "start\tend\ttext\n")
	blank := strings.NewReplacer("\t", " ", "\n", " ", "\r", " ")
	for _, s := range t.Segments {
		fmt.Fprintf(w, "%d\t%d\t%s\n", wholeMillis(s.Start), wholeMillis(s.End),
			blank.Replace(trimmed(s.Text)))
	}
}

func writeTXT(w io.Writer, t *pipeline.Transcript, _ SubtitleOptions) {
	for _, s := range t.Segments {
		fmt.Fprintln(w, trimmed(s.Text))
	}
}

// Clock is a time as .vtt has it: minutes, seconds and milliseconds, behind hours where there are some.
func Clock(seconds float64) string { return clock(seconds, false, '.') }

func clock(seconds float64, hours bool, point rune) string {
	ms := wholeMillis(seconds)
	text := fmt.Sprintf("%02d:%02d%c%03d", ms/60_000%60, ms/1000%60, point, ms%1000)
	if h := ms / 3_600_000; hours || h > 0 {
		text = fmt.Sprintf("%02d:", h) + text
	}
	return text
}

// wholeMillis rounds as Python does: halves to the even neighbour. What is no time counts as 0.
func wholeMillis(seconds float64) int64 {
	if !(seconds > 0) || math.IsInf(seconds, 0) {
		return 0
	}
	return int64(math.RoundToEven(seconds * 1000))
}

// trimmed is a text without the white space around it, as Python's str.strip sees that.
func trimmed(text string) string { return strings.TrimFunc(text, isBlank) }

func isBlank(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// cues divides a transcript. Where segments have words they alone count.
func cues(t *pipeline.Transcript, o SubtitleOptions) []cue {
	worded := func(s pipeline.Segment) bool { return len(s.Words) > 0 }
	var all []cue
	if !slices.ContainsFunc(t.Segments, worded) {
		for _, s := range t.Segments {
			all = append(all, cue{s.Start, s.End, cueText(trimmed(s.Text))})
		}
		return all
	}
	for _, words := range layOut(t.Segments, o) {
		if o.Highlight {
			all = append(all, highlighted(words)...)
			continue
		}
		all = append(all, cue{words[0].Start, words[len(words)-1].End, cueText(joined(words))})
	}
	return all
}

// cueText is a text without what would end its cue, or begin another one. openai-whisper lets an
// arrow between words stand.
func cueText(text string) string {
	text = strings.ReplaceAll(text, "-->", "->")
	for strings.Contains(text, "\n\n") {
		text = strings.ReplaceAll(text, "\n\n", "\n")
	}
	return text
}

func joined(words []pipeline.SpokenWord) string {
	var b strings.Builder
	for _, w := range words {
		b.WriteString(w.Text)
	}
	return b.String()
}

// highlighted shows a cue once for each of its words, and between them without a mark.
func highlighted(words []pipeline.SpokenWord) []cue {
	var all []cue
	last := words[0].Start
	plain := joined(words)
	for i, w := range words {
		if wholeMillis(last) != wholeMillis(w.Start) {
			all = append(all, cue{last, w.Start, cueText(plain)})
		}
		marked := slices.Clone(words)
		marked[i].Text = underlined(w.Text)
		all = append(all, cue{w.Start, w.End, cueText(joined(marked))})
		last = w.End
	}
	return all
}

// underlined marks a word, and not the white space in front of it.
func underlined(word string) string {
	text := strings.TrimLeftFunc(word, isBlank)
	return word[:len(word)-len(text)] + "<u>" + text + "</u>"
}

// longPause is how many seconds between the beginnings of words divide cues that take no heed of
// segments.
const longPause = 3

// noBound is more characters, and more words, than a line has.
const noBound = 1000

// layOut divides words into cues, and puts line feeds in front of those that begin a line: a port of
// SubtitlesWriter.iterate_subtitles.
func layOut(segments []pipeline.Segment, o SubtitleOptions) [][]pipeline.SpokenWord {
	l := layout{o: o, width: o.LineWidth, lines: 1, keep: o.LineCount == 0 || o.LineWidth == 0}
	if l.width == 0 {
		l.width = noBound
	}
	perLine := o.WordsPerLine
	if perLine == 0 {
		perLine = noBound
	}
	for _, s := range segments {
		if len(s.Words) > 0 {
			l.last = s.Words[0].Start
			break
		}
	}
	for _, s := range segments {
		for chunk := range slices.Chunk(s.Words, perLine) {
			for i, w := range chunk {
				l.add(w, i == 0)
			}
		}
	}
	if len(l.now) > 0 {
		l.cues = append(l.cues, l.now)
	}
	return l.cues
}

// layout is what layOut knows between two words.
type layout struct {
	o     SubtitleOptions
	width int
	keep  bool // cues end where segments do

	cues   [][]pipeline.SpokenWord
	now    []pipeline.SpokenWord // the cue that is being filled
	length int                   // of its last line, in characters
	lines  int                   // of it
	last   float64               // when the last word began
}

// add puts a word behind the others; first is the first of a segment, or of as many as a line has.
func (l *layout) add(w pipeline.SpokenWord, first bool) {
	pause := !l.keep && w.Start-l.last > longPause
	room := l.length+utf8.RuneCountInString(w.Text) <= l.width
	ends := first && len(l.now) > 0 && l.keep
	if l.length > 0 && room && !pause && !ends {
		l.length += utf8.RuneCountInString(w.Text)
	} else {
		w.Text = trimmed(w.Text)
		length := utf8.RuneCountInString(w.Text)
		switch {
		case ends, len(l.now) > 0 && l.o.LineCount > 0 && (pause || l.lines >= l.o.LineCount):
			l.cues = append(l.cues, l.now)
			l.now, l.lines = nil, 1
		case l.length > 0:
			l.lines++
			w.Text = "\n" + w.Text
		}
		l.length = length
	}
	l.now = append(l.now, w)
	l.last = w.Start
}
