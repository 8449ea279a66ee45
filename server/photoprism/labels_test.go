package photoprism

import (
	"math"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/pipeline"
)

// Each phrase belongs to one label, and a model takes all at once.
func TestUsualLabels(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	names := map[string]bool{}
	for _, phrase := range usualLabels.all {
		if phrase == "" || seen[phrase] || usualLabels.of[phrase] == "" {
			t.Errorf("the phrase %q is empty, or stands twice", phrase)
		}
		seen[phrase], names[usualLabels.of[phrase]] = true, true
	}
	const batch = 1024 // the default of pipeline.Limits.Batch
	if len(seen) > batch || len(names) != 202 {
		t.Errorf("%d phrases of %d labels", len(seen), len(names))
	}
}

func TestLabelsOfScores(t *testing.T) {
	t.Parallel()
	v := parseVocabulary("# notes: these\ndog: dog, puppy\ncat: cat\nbird: bird, owl, duck\n")
	got := v.labels([]pipeline.Label{
		{Label: "puppy", Probability: 0.4}, {Label: "bird", Probability: 0.3}, {Label: "dog", Probability: 0.2}, {Label: "cat", Probability: 0.05},
		{Label: "owl", Probability: 0.05},
	})
	if len(got) != 2 || got[0].Name != "dog" || got[1].Name != "bird" || math.Abs(got[0].Confidence-0.6) > 1e-9 ||
		math.Abs(got[1].Confidence-0.35) > 1e-9 || got[0].Topicality != 1 || math.Abs(got[1].Topicality-0.35/0.6) > 1e-9 {
		t.Errorf("%+v", got)
	}
	// A model that judges each phrase for itself.
	each := []pipeline.Label{{Label: "dog", Probability: 0.9}, {Label: "puppy", Probability: 0.8}, {Label: "owl", Probability: 0.2}}
	if got := v.labels(each); len(got) != 2 || got[0].Confidence != 0.9 || got[1].Confidence != 0.2 {
		t.Errorf("%+v", got)
	}
	// None fits well: the best is told all the same.
	if got := v.labels([]pipeline.Label{{Label: "cat", Probability: 0.05}, {Label: "dog", Probability: 0.04}}); len(got) != 1 || got[0].Name != "cat" {
		t.Errorf("%+v", got)
	}
	unscaled := []pipeline.Label{{Label: "cat", Similarity: 0.31, Unscaled: true}, {Label: "owl", Similarity: 0.27, Unscaled: true},
		{Label: "bird", Similarity: 0.2, Unscaled: true}, {Label: "dog", Similarity: 0.1, Unscaled: true}}
	if got := v.labels(unscaled); len(got) != 2 || got[0].Confidence != 0.31 || got[1].Name != "bird" || got[1].Confidence != 0.27 {
		t.Errorf("%+v", got)
	}
	// A model's own classes are labels by themselves.
	own := (*vocabulary)(nil).labels([]pipeline.Label{{Label: "tench", Probability: 0.9}, {Label: "eel", Probability: 0.1}})
	if names := []string{own[0].Name, own[1].Name}; !slices.Equal(names, []string{"tench", "eel"}) {
		t.Errorf("%+v", own)
	}
}
