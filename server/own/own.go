// Package own is xpipe's own dialect: /xpipe/v1/VERB answers with the lines that the command's verb
// prints with --json, from a form whose fields have the names of the verb's flags.
package own

import (
	"net/http"
	"slices"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// Dialect answers errors as the command does with --json.
var Dialect = &web.Dialect{
	Name: "xpipe",
	Fail: func(w http.ResponseWriter, status int, kind api.Kind, message string) {
		web.WriteJSON(w, status, map[string]string{"error": message, "kind": kind.Name})
	},
}

// prefix is what paths of the dialect begin with.
const prefix = "/xpipe/v1/"

// Routes lists the dialect's routes. version is the program's, which lines of results name.
func Routes(s *serving.Service, media *web.Media, version string) []web.Route {
	h := handlers{service: s, media: media, version: version}
	var routes []web.Route
	for _, v := range verbs {
		routes = append(routes, web.Route{Pattern: "POST " + prefix + v.name, Handler: Dialect.Handle(h.run(v))})
	}
	return routes
}

type handlers struct {
	service *serving.Service
	media   *web.Media
	version string
}

// verb is a verb of the command over HTTP.
type verb struct {
	name, summary string
	fields        []field
	lines         string // what its lines are called in docs.ResultsSchema
	failures      string // what stands in the place of one of several files that failed; "": nothing
	run           func(*query) error
}

// verbs lists the dialect's verbs.
var verbs = []verb{
	{"caption", "Describe pictures in a few words", with(generationFields, pictures,
		field{name: "raw-prompt", also: "prompt", usage: "the prompt as the model reads it, markup included; a model " +
			"that reads text alone takes it without a picture"}),
		"caption", "failure", (*query).caption},
	{"ask", "Answer questions about pictures and documents", with(slices.Concat(generationFields, documentFields), pictures,
		field{name: "question", also: "questions", many: true, usage: "a question about each picture"},
		field{name: "choice", many: true, usage: "one of the answers to pick among"},
		field{name: "choices", many: true, commas: true, usage: "answers to pick among, with commas between, such as yes,no"},
		field{name: "shot", many: true, file: true, usage: "the picture of an example before the question; shot-text says " +
			"what the model should write of it"},
		field{name: "shot-text", many: true, usage: "the text of an example, in the order of shot"},
		field{name: "raw-prompt", also: "prompt", usage: "the prompt as the model reads it, in the question's place"}),
		"answer", "failure", (*query).ask},
	{"match", "Say how well texts fit a picture", with(nil, pictures,
		field{name: "text", also: "texts", many: true, needed: true, usage: "a text to compare each picture with"}),
		"match", "failure", (*query).match},
	{"classify", "Pick the label that fits a picture best, without training", with(nil, pictures,
		field{name: "label", many: true, usage: "a label; a model that was trained on classes of its own takes none"},
		field{name: "labels", many: true, commas: true, usage: "labels with commas between, such as cat,dog"},
		field{name: "top", kind: "integer", usage: "the best so many alone; 0: all"}),
		"label", "failure", (*query).classify},
	{"embed", "Turn pictures or texts into vectors that can be compared", with(nil, pictures,
		field{name: "text", also: "texts", many: true, usage: "a text to embed, behind the pictures"}),
		"embedding", "failure", (*query).embed},
	{"attend", "Show where the model looked for each word", with(generationFields, pictures,
		field{name: "question", usage: "what is asked about the picture; without it the picture is described"},
		field{name: "text", usage: "make the model write this text instead of its own"},
		field{name: "pick", many: true, usage: "LAYER/HEAD or rollout for one stage"},
		field{name: "rollout", kind: "boolean", usage: "rollout in every stage"}),
		"attention", "", (*query).attend},
	{"transcribe", "Write down what is said in sounds", with(hearingFields,
		field{name: "audio", many: true, file: true, needed: true, usage: "a sound: WAV, FLAC, MP3, Ogg Vorbis or Ogg Opus"}),
		"transcript", "sound_failure", (*query).transcribe},
	{"read", "Write down what is written on pictures of pages", with(readingFields, pictures),
		"page", "page_failure", (*query).read},
	{"find", "Find pictures, pages and sounds in the server's library", with(findFields), "hit", "", (*query).find},
}
