package family

import (
	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/graph"
)

// CLAP names the family of dual encoders of sounds and texts.
const CLAP models.Family = "clap"

var clapForms = [][]string{{graph.AudioEncoder, graph.TextEncoder}, {graph.Model}}

var clapRow = Family{
	Name: CLAP,
	Layouts: []models.Layout{{
		Type: "clap", Family: CLAP, Forms: clapForms,
		Roles: map[string]string{"audio_model": graph.AudioEncoder, "text_model": graph.TextEncoder},
		// RoBERTa's positions begin behind that of padding.
		Manifest: func(c models.Config) map[string]any {
			c.TextConfig.MaxPositions = max(0, c.TextConfig.MaxPositions-2)
			return dual(c, 512, "softmax", "masked", "This is a sound of {}.")
		},
	}},
	Open: func(o *graph.Opener, c *Config) (Model, error) {
		m := &clap{}
		return m, m.open(o, c, soundSide)
	},
}

// clap is a model of CLAP (Wu et al., 2211.06687).
type clap struct{ dualEncoder }

var soundSide = dualSide{
	kind: media.Sounds, role: graph.AudioEncoder, names: soundNames,
	projection: "audio_projection", logits: "logits_per_audio",
	blank: func(front media.Preparer) media.Item {
		sound := &audio.Sound{Samples: make([]float32, 1)}
		if hearer, ok := front.(interface{ Rate() int }); ok {
			sound.Rate = hearer.Rate()
		}
		return sound
	},
}
