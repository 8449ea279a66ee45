package photoprism

import (
	"cmp"
	_ "embed"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/pipeline"
)

//go:embed labels.txt
var labelsFile string

// usualLabels are those of labels.txt.
var usualLabels = parseVocabulary(labelsFile)

// vocabulary is a list of labels, and of phrases for each, by which a model knows things of the kind. A nil
// one is that of a model with classes of its own.
type vocabulary struct {
	all []string
	of  map[string]string // the label of each phrase
}

// parseVocabulary reads lines of a label, a colon and phrases with commas between them. Lines that begin
// with # are notes.
func parseVocabulary(text string) *vocabulary {
	v := &vocabulary{of: map[string]string{}}
	for line := range strings.Lines(text) {
		name, phrases, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		for phrase := range strings.SplitSeq(phrases, ",") {
			phrase = strings.TrimSpace(phrase)
			v.all = append(v.all, phrase)
			v.of[phrase] = name
		}
	}
	return v
}

func (v *vocabulary) phrases() []string {
	if v == nil {
		return nil
	}
	return v.all
}

// What is told of a picture: labels from least on, mostLabels of them, and the best in any case, since
// PhotoPrism takes an answer without labels for a failure.
const (
	least      = 0.1
	mostLabels = 8
	// leastSimilarity takes the place of least for models that give similarities alone: CLIP's
	// of a picture with a text that fits are from about 0.25 on.
	leastSimilarity = 0.25
)

// labels makes labels of scored phrases. The probability of a label is the sum of those of its phrases,
// since a thing is one of them; the similarity is the best one. Topicality is the confidence beside that
// of the best label.
func (v *vocabulary) labels(scored []pipeline.Label) []label {
	confidence := map[string]float64{}
	limit := least
	for _, s := range scored {
		name := s.Label
		if v != nil {
			name = v.of[s.Label]
		}
		if s.Unscaled {
			limit = leastSimilarity
			confidence[name] = max(confidence[name], s.Similarity)
			continue
		}
		confidence[name] += s.Probability
	}
	var list []label
	for name, c := range confidence {
		list = append(list, label{Name: name, Source: sourceImage, Confidence: min(c, 1)})
	}
	slices.SortFunc(list, byConfidence)
	n := 0
	for n < min(mostLabels, len(list)) && (n == 0 || list[n].Confidence >= limit) {
		n++
	}
	list = list[:n]
	for i := range list {
		list[i].Topicality = list[i].Confidence
		if best := list[0].Confidence; best > 0 {
			list[i].Topicality /= best
		}
	}
	return list
}

// merged joins the labels of two pictures, the larger confidence of each.
func merged(a, b []label) []label {
	for _, l := range b {
		i := slices.IndexFunc(a, func(other label) bool { return other.Name == l.Name })
		if i < 0 {
			a = append(a, l)
		} else if l.Confidence > a[i].Confidence {
			a[i] = l
		}
	}
	slices.SortFunc(a, byConfidence)
	return a
}

func byConfidence(a, b label) int {
	return cmp.Or(cmp.Compare(b.Confidence, a.Confidence), strings.Compare(a.Name, b.Name))
}
