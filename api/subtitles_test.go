package api

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/pipeline"
)

// Files are those of openai-whisper's writers, to the byte; testdata/speech/subtitles.py makes them.
func TestSubtitlesEqualOpenAIs(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../testdata/speech/subtitles.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			Name     string
			Segments []struct {
				Start, End float64
				Text       string
				Words      []struct {
					Word       string
					Start, End float64
				}
			}
			Written []struct {
				Options struct {
					Width     int  `json:"max_line_width"`
					Count     int  `json:"max_line_count"`
					PerLine   int  `json:"max_words_per_line"`
					Highlight bool `json:"highlight_words"`
				}
				Files map[string]string
			}
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	files := 0
	for _, c := range golden.Cases {
		heard := &pipeline.Transcript{}
		for _, s := range c.Segments {
			segment := pipeline.Segment{Start: s.Start, End: s.End, Text: s.Text}
			for _, w := range s.Words {
				segment.Words = append(segment.Words, pipeline.SpokenWord{Start: w.Start, End: w.End, Text: w.Word})
			}
			heard.Segments = append(heard.Segments, segment)
		}
		for _, written := range c.Written {
			o := written.Options
			for name, want := range written.Files {
				form, ok := TranscriptFormOf(name)
				if !ok {
					t.Fatal(name)
				}
				var got strings.Builder
				options := SubtitleOptions{o.Width, o.Count, o.PerLine, o.Highlight}
				if err := form.Write(&got, heard, options); err != nil {
					t.Fatal(err)
				}
				if files++; got.String() != want {
					t.Errorf("%s.%s with %+v:\n%s\nopenai-whisper writes\n%s", c.Name, name, o, got.String(), want)
				}
			}
		}
	}
	if files < 70 {
		t.Errorf("%d files", files)
	}
}

// What a model may write ends no cue and no row, and times that are none do no harm.
func TestSubtitlesOfOddTexts(t *testing.T) {
	t.Parallel()
	heard := &pipeline.Transcript{Segments: []pipeline.Segment{
		{Start: math.NaN(), End: -1, Text: "one\n\n\ntwo"},
		{Start: math.Inf(1), End: 2, Text: "x\r\ny"},
	}}
	for name, want := range map[string]string{
		"srt": "1\n00:00:00,000 --> 00:00:00,000\none\ntwo\n\n2\n00:00:00,000 --> 00:00:02,000\nx\r\ny\n\n",
		"tsv": "start\tend\ttext\n0\t0\tone   two\n0\t2000\tx  y\n",
	} {
		form, _ := TranscriptFormOf(name)
		var got strings.Builder
		if err := form.Write(&got, heard, SubtitleOptions{}); err != nil || got.String() != want {
			t.Errorf("%s: %q, %v", name, got.String(), err)
		}
	}
	heard.Segments = []pipeline.Segment{{Words: []pipeline.SpokenWord{{Text: " a"}, {Text: " -->"}, {Text: " b"}}}}
	form, _ := TranscriptFormOf("vtt")
	var got strings.Builder
	if form.Write(&got, heard, SubtitleOptions{}); strings.Count(got.String(), "-->") != 1 {
		t.Errorf("an arrow of a text stands in a cue: %q", got.String())
	}
}

func ExampleTranscriptForm_Write() {
	heard := &pipeline.Transcript{Segments: []pipeline.Segment{
		{Start: 0, End: 2.5, Text: " Ask not what your country can do for you."},
	}}
	form, _ := TranscriptFormOf("srt")
	form.Write(os.Stdout, heard, SubtitleOptions{})
	fmt.Println(Clock(3661.5))
	// Output:
	// 1
	// 00:00:00,000 --> 00:00:02,500
	// Ask not what your country can do for you.
	//
	// 01:01:01.500
}
