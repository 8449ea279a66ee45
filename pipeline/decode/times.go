package decode

import "github.com/crossattn/xpipe/internal/kernel"

// Times are the rules of a text with times in it, such as Whisper's: it begins with a time, times
// stand in pairs, the end of a piece and the beginning of the next, unless the text ends behind one,
// and do not decrease. Source: ApplyTimestampRules of openai-whisper 20250625 (decoding.py), as
// WhisperTimeStampLogitsProcessor of transformers 4.57.6.
type Times struct {
	First int64 // the id of time 0; those behind it are later times
	End   int64 // the id that ends a text; those below it are text
	None  int64 // the id that says that a text has no times; it is never written. -1: there is none
	// Begun is how many ids at the end of the prompt are the text's beginning.
	Begun int
	// MostAtFirst is how many times behind First a text may begin with; negative: any.
	MostAtFirst int
}

// rule is a processor.
func (t *Times) rule(history []int64, generated int, scores []float32) {
	size := int64(len(scores))
	if t.First < 0 || t.First >= size || t.End < 0 || t.End > t.First {
		return
	}
	if t.None >= 0 && t.None < size {
		scores[t.None] = minusInf
	}
	generated = min(generated+t.Begun, len(history))
	written := history[len(history)-generated:]
	last := generated >= 1 && written[generated-1] >= t.First
	before := generated < 2 || written[generated-2] >= t.First
	switch {
	case last && before:
		clearRange(scores[t.First:])
	case last:
		clearRange(scores[:t.End])
	}
	for i := generated - 1; i >= 0; i-- {
		if latest := written[i]; latest >= t.First {
			if !last || before { // a piece is never empty, or its text would go on for ever
				latest++
			}
			clearRange(scores[t.First:min(latest, size)])
			break
		}
	}
	if generated == 0 {
		clearRange(scores[:t.First])
		if most := t.First + int64(t.MostAtFirst) + 1; t.MostAtFirst >= 0 && most < size {
			clearRange(scores[most:])
		}
	}
	// Where a time is likelier than any one text, it is a time.
	if times := scores[t.First:]; kernel.Max(times) > minusInf && logSumExp(times) > float64(kernel.Max(scores[:t.First])) {
		clearRange(scores[:t.First])
	}
}

func clearRange(scores []float32) {
	for i := range scores {
		scores[i] = minusInf
	}
}
