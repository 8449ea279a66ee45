package api

// Progress is the object on standard error every ten seconds while a run with --out goes on.
type Progress struct {
	Progress Counts `json:"progress"`
}

// Summary is the object on standard error at the end of a run with --out.
type Summary struct {
	Summary Counts `json:"summary"`
	// What was passed over in folders and shards, by suffix or reason.
	Skipped map[string]int `json:"skipped,omitempty"`
	// Whether the run ended before its pictures did; --resume goes on with it.
	Unfinished bool `json:"unfinished,omitempty"`
}

// Counts say how far a run is.
type Counts struct {
	Done    int     `json:"done"`            // pictures with a result, those of earlier runs included
	Before  int     `json:"before"`          // of Done, those of earlier runs
	Failed  int     `json:"failed"`          // in this run
	Total   int     `json:"total,omitempty"` // 0 where only the end tells
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"pictures_per_second"` // of this run; of transcribe sounds
	// AudioSeconds is how much of sounds is heard in this run.
	AudioSeconds float64 `json:"audio_seconds,omitempty"`
}
