package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/pipeline"
)

// hearing is a second and a half of a tone of 1 kHz that begins after half a second, and three words.
func hearing() *HearingView {
	samples := make([]float32, 24000)
	for i := 8000; i < len(samples); i++ {
		samples[i] = float32(0.5 * math.Sin(2*math.Pi*float64(i)/16))
	}
	return &HearingView{
		Name: "a <b>.wav", Sound: &audio.Sound{Rate: 16000, Samples: samples},
		Transcript: &pipeline.Transcript{Text: "one </script> two three", Segments: []pipeline.Segment{
			{Start: 0.5, End: 1.2, Words: []pipeline.SpokenWord{
				{Start: 0.5, End: 0.8, Text: " one", Probability: 0.5}, {Start: 0.9, End: 1.2, Text: " </script>", Probability: 1},
			}},
			{Start: 1.2, End: 1.5, Text: "two three"},
		}},
	}
}

func TestHearingPage(t *testing.T) {
	t.Parallel()
	node := nodeOf(t)
	var page bytes.Buffer
	if err := hearing().WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	if between(t, page.String(), "<script>\n", "</script>") != hearingScript {
		t.Fatal("the page has another script than the file")
	}
	if strings.Contains(page.String(), "a <b>.wav") || strings.Contains(page.String(), "http") {
		t.Error("a name is not escaped, or the page needs another")
	}
	text := between(t, page.String(), `id="data">`, "</script>")
	var data hearingData
	if err := json.Unmarshal([]byte(text), &data); err != nil {
		t.Fatal(err)
	}
	checkPageSound(t, data.Sound)
	cmd := exec.CommandContext(t.Context(), node, "-e", hearingScript+`
const data = JSON.parse(require("fs").readFileSync(0, "utf8")), cells = Uint8Array.from(Buffer.from(data.cells, "base64"));
const image = pixels(data, cells, 1, 25), lit = c => Array.from({ length: data.mels }, (_, m) => image[4 * ((data.mels - 1 - m) * 25 + c)]);
console.log(JSON.stringify({ lines: strips(data, 1), at: [0.4, 0.5, 0.85, 1.19, 1.3, 2].map(s => wordAt(data, s)),
  columns: data.columns, low: cells[10 * data.mels + 20], loudest: lit(5).indexOf(Math.max(...lit(5))) }));`)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Lines []struct {
			Start float64
			Words []struct {
				Index       int
				Left, Width float64
			}
		}
		At                    []int
		Columns, Low, Loudest int
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Lines) != 2 || len(got.Lines[0].Words) != 2 || len(got.Lines[1].Words) != 1 ||
		math.Abs(got.Lines[0].Words[1].Width-0.1) > 1e-9 || math.Abs(got.Lines[1].Words[0].Left-0.2) > 1e-9 {
		t.Errorf("lines %+v", got.Lines)
	}
	if want := []int{-1, 0, -1, 1, 2, -1}; !slices.Equal(got.At, want) {
		t.Errorf("words at times: %v, want %v", got.At, want)
	}
	// 1 kHz is a quarter of the way up the mel scale's 64 bands to 8 kHz.
	if got.Columns != 75 || got.Low != 0 || got.Loudest < 18 || got.Loudest > 26 {
		t.Errorf("%d columns, %d in silence, the loudest band is %d", got.Columns, got.Low, got.Loudest)
	}
}

// checkPageSound checks that a page's sound is the view's, to 16 bits.
func checkPageSound(t *testing.T, uri string) {
	t.Helper()
	file, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(uri, "data:audio/wav;base64,"))
	if err != nil {
		t.Fatal(err)
	}
	sound, err := audio.Decode(t.Context(), bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	want := hearing().Sound
	if sound.Rate != want.Rate || len(sound.Samples) != len(want.Samples) {
		t.Fatalf("%d samples at %d", len(sound.Samples), sound.Rate)
	}
	for i, v := range sound.Samples {
		if math.Abs(float64(v-want.Samples[i])) > 1.0/(1<<15) {
			t.Fatalf("sample %d is %v, want %v", i, v, want.Samples[i])
		}
	}
}

func TestHearingPageLimits(t *testing.T) {
	t.Parallel()
	v := hearing()
	v.Sound = &audio.Sound{Rate: 1000, Samples: make([]float32, 1000*HearingPageSeconds+1)}
	if err := v.WriteHTML(&bytes.Buffer{}); !errors.Is(err, pipeline.ErrLimit) {
		t.Errorf("a long sound: %v", err)
	}
	v.Sound = &audio.Sound{Rate: 16000}
	if err := v.WriteHTML(&bytes.Buffer{}); !errors.Is(err, audio.ErrSound) {
		t.Errorf("no sound: %v", err)
	}
}
