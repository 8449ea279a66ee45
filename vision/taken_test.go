package vision

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"
	"time"
)

// Times and places are those that Pillow reads, of files that it wrote.
func TestTaken(t *testing.T) {
	t.Parallel()
	lines := bytes.Split(bytes.TrimSpace(pillow("taken.py", nil).Output(t)), []byte("\n"))
	if len(lines) < 36 {
		t.Fatalf("%d files", len(lines))
	}
	for _, line := range lines {
		var want struct {
			Name                string
			Data                []byte
			Time, Zone          string
			Latitude, Longitude *float64
		}
		if err := json.Unmarshal(line, &want); err != nil {
			t.Fatal(err)
		}
		got := TakenOf(want.Data)
		text := ""
		if !got.Time.IsZero() {
			text = got.Time.Format("2006:01:02 15:04:05")
		}
		if zone := got.Time.Format("-07:00"); text != want.Time || want.Zone != "" && zone != want.Zone {
			t.Errorf("%s: taken at %s %s, Pillow says %s %s", want.Name, text, zone, want.Time, want.Zone)
		}
		if same := func(got float64, want *float64) bool {
			return want == nil && math.IsNaN(got) || want != nil && math.Abs(got-*want) < 1e-6
		}; !same(got.Latitude, want.Latitude) || !same(got.Longitude, want.Longitude) {
			t.Errorf("%s: %v, %v", want.Name, got.Latitude, got.Longitude)
		}
		// Damaged files give less, and nothing worse.
		for n := range len(want.Data) {
			TakenOf(want.Data[:n])
			changed := bytes.Clone(want.Data)
			changed[n] ^= 0xff
			if at := TakenOf(changed); at.Time.After(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)) || at.Latitude > 90 {
				t.Errorf("%s, byte %d: %v", want.Name, n, at)
			}
		}
	}
}
