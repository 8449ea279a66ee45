package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/pipeline"
)

// questionsOf are the questions that words behind a picture make: several where each ends with a
// question mark or was quoted, as its spaces show, and else one, of all words.
func (env *environment) questionsOf(words []string) []string {
	whole := 0
	for _, word := range words {
		if strings.ContainsRune(strings.TrimSpace(word), ' ') || strings.HasSuffix(word, "?") {
			whole++
		}
	}
	if whole == len(words) {
		return words
	}
	one := strings.Join(words, " ")
	if whole > 0 && !(whole == 1 && strings.HasSuffix(words[len(words)-1], "?") &&
		!strings.Contains(words[len(words)-1], " ")) {
		env.warnf("read as one question: %q; for several give --question QUESTION for each", one)
	}
	return []string{one}
}

// checkTexts refuses texts, called what, that are surely something else: the path of a picture, or
// several labels with commas between; and those that are empty or stand there twice.
func checkTexts(verb, what string, texts []string) error {
	for i, text := range texts {
		switch {
		case verb == "ask": // its words may be one question
		case strings.TrimSpace(text) == "":
			return fmt.Errorf("%w: %s %d is empty", pipeline.ErrPrompt, what, i+1)
		case slices.Contains(texts[:i], text):
			return api.Usagef("%s: the %s %q is given twice, and would share its probability",
				verb, what, text)
		}
		if info, err := os.Stat(text); err == nil && info.Mode().IsRegular() &&
			filepath.Ext(text) != "" {
			instead := ""
			if verb == "ask" {
				instead = ", or give the question with --question"
			}
			return api.Usagef("%s: %q is a file and stands in a %s's place; the picture comes first; to "+
				"name several, quote a pattern such as 'photos/*.jpg'%s", verb, text, what, instead)
		}
	}
	if len(texts) == 1 {
		if parts := strings.Split(texts[0], ","); what == "label" && len(parts) > 1 {
			return api.Usagef("%s: %q is one label; give each as an argument of its own: %s",
				verb, texts[0], quoted(parts))
		}
	}
	return nil
}

// quoted are words as a shell takes them.
func quoted(words []string) string {
	list := make([]string, len(words))
	for i, word := range words {
		list[i] = strings.TrimSpace(word)
		if strings.ContainsAny(list[i], " '\"$&|;<>()*?[]{}\\`!#~") || list[i] == "" {
			list[i] = "'" + strings.ReplaceAll(list[i], "'", `'\''`) + "'"
		}
	}
	return strings.Join(list, " ")
}

// hintAlone says that the one text there is was compared with nothing, where its probability of
// exactly 1 shows that.
func (env *environment) hintAlone(what string, texts int, probability float64) {
	if texts == 1 && probability == 1 {
		env.warnf("a single %s always has the probability 1, for it is compared with the others; "+
			"give two or more", what)
	}
}

// warnUnscaled says that a model's scores are no probabilities, and what would make them so.
func (env *environment) warnUnscaled(p *pipeline.Pipeline) {
	var config struct {
		Initial *float64 `json:"logit_scale_init_value"`
	}
	where := ""
	if p.Bundle().JSON("config.json", &config) == nil && config.Initial != nil {
		where = " (config.json has the value that training began with)"
	}
	env.warnf("%s has no trained logit scale%s: these are similarities, not probabilities; model.onnx, or a "+
		"projection.safetensors with logit_scale, would have it", p.Bundle().Name, where)
}

// choicesOf are the answers of --choices without spaces around them.
func choicesOf(choices []string) ([]string, error) {
	list := make([]string, len(choices))
	for i, choice := range choices {
		if list[i] = strings.TrimSpace(choice); list[i] == "" {
			return nil, api.Usagef("--choices %q has an empty answer", strings.Join(choices, ","))
		}
		if slices.Contains(list[:i], list[i]) {
			return nil, api.Usagef("--choices has %q twice, which would share its probability", list[i])
		}
	}
	return list, nil
}

// shotOf reads a --shot IMAGE=TEXT.
func shotOf(arg string) (api.Example, error) {
	image, text, ok := strings.Cut(arg, "=")
	if !ok || image == "" || strings.TrimSpace(text) == "" {
		return api.Example{}, api.Usagef("--shot %q is not IMAGE=TEXT", arg)
	}
	return api.Example{Image: api.Name(image), Text: text}, nil
}
