package speech

import "slices"

// Which words of a text that is written while the sound comes are final.

func (l *live) stuck() bool {
	if len(l.final) == 0 || len(l.before) > 0 || l.begins+l.seconds()-l.ends < liveStuck {
		return false
	}
	return l.spoken(l.ends + liveStuck)
}

func (l *live) finals(ids []int64, timed []word, ended float64) int {
	heard := l.heard(ids, timed, ended)
	if ended > 0 {
		return heard
	}
	late, old := l.begins+l.seconds()-liveLate, 0
	for _, w := range timed {
		if w.end > late || w.end-w.start < shortestWord {
			break // a word that takes no time was not heard at its place
		}
		old += len(w.ids)
	}
	return min(heard, max(l.agreed(ids), l.upTo(ids, old)))
}

func (l *live) heard(ids []int64, timed []word, ended float64) int {
	count := 0
	for _, w := range timed {
		if ended > 0 && w.start >= ended || !l.spoken(w.start) {
			return l.upTo(ids, count)
		}
		count += len(w.ids)
	}
	return len(ids)
}

func (l *live) spoken(from float64) bool {
	return l.Everything || l.source.speaks(int(from*float64(l.Extractor.Rate())))
}

func (l *live) pause() (ended, until float64) {
	if l.Everything {
		return 0, 0
	}
	rate := float64(l.Extractor.Rate())
	stop, settled := l.source.pause(l.span())
	if float64(settled-stop) < liveRest*rate || l.ends*rate > float64(settled) {
		return 0, 0
	}
	return float64(stop) / rate, float64(settled) / rate
}

func (l *live) upTo(ids []int64, n int) int {
	for i, id := range ids {
		if n == 0 {
			return i
		}
		if l.isText(id) {
			n--
		}
	}
	return len(ids)
}

func (l *live) agreed(ids []int64) int {
	words := l.words(ids)
	same := 0
	for same < min(len(words), len(l.before)) && words[same] == l.before[same] {
		same++
	}
	whole, parts := 0, splitWords(words, l.Language, l.text)
	for i, w := range parts {
		if whole+len(w.ids) > same || i == len(parts)-1 && !l.paused(ids) {
			break
		}
		whole += len(w.ids)
	}
	return l.upTo(ids, whole)
}

func (l *live) whole(ids []int64) int {
	window := slices.Concat(l.final, ids)
	isTime := func(i int) bool { return i >= 0 && window[i] >= l.tokens.FirstTime }
	for i := len(window) - 1; i >= len(l.final); i-- {
		if i == len(window)-1 && isTime(i) && !isTime(i-1) {
			break
		}
		if isTime(i) && isTime(i-1) {
			goesOn, cut := float64(window[i]-l.tokens.FirstTime)*step, len(l.samples) >= l.Extractor.Window()
			if goesOn > 0 && (cut || l.seconds()-goesOn >= cutLeast) {
				l.goesOn = goesOn
				return i - len(l.final)
			}
			break
		}
	}
	return len(ids)
}

func (l *live) paused(ids []int64) bool {
	if len(ids) == 0 || l.isText(ids[len(ids)-1]) {
		return false
	}
	return float64(ids[len(ids)-1]-l.tokens.FirstTime)*step < l.seconds()-livePause
}
