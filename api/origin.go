package api

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/speech"
)

// Origin says what made a line of results. Lines that a run adds to a file have the origin of those
// that are there, but for the version.
type Origin struct {
	Model     string   `json:"model"`      // its name, or that of its folder
	ModelHash string   `json:"model_hash"` // models.Bundle.Hash
	Version   string   `json:"version"`    // of xpipe
	Settings  Settings `json:"settings"`

	defaults Settings // of what Settings may say, to name a value where they do not
}

// Settings are what changes the results of a model and is not as the model has it, by names such as
// num_beams and question. How fast something runs, and on what, is none of them.
type Settings map[string]any

// NewOrigin says what makes results with a model. version is the program's; what settings does not
// say is as the model has it.
func NewOrigin(p *pipeline.Pipeline, version string, settings Settings) (*Origin, error) {
	hash, err := p.Bundle().Hash()
	if err != nil {
		return nil, err
	}
	if settings == nil {
		settings = Settings{}
	}
	defaults, err := generationOf(p, nil)
	if err != nil {
		return nil, err
	}
	if p.Abilities().Transcribe {
		maps.Copy(defaults, transcriptionOf(speech.DefaultOptions()))
	}
	return &Origin{p.Bundle().Name, hash, version, settings, defaults}, nil
}

// SetGeneration adds the parameters of decoding that options change from what the model has, by
// transformers' names.
func (s Settings) SetGeneration(p *pipeline.Pipeline, options []pipeline.GenerateOption) error {
	before, err := generationOf(p, nil)
	if err != nil {
		return err
	}
	after, err := generationOf(p, options)
	if err != nil {
		return err
	}
	for name, value := range after {
		if !reflect.DeepEqual(value, before[name]) {
			s[name] = value
		}
	}
	return nil
}

// generationOf are the parameters of decoding by their names.
func generationOf(
	p *pipeline.Pipeline, options []pipeline.GenerateOption,
) (map[string]any, error) {
	g, err := decode.LoadOptions(p.Bundle())
	if err != nil {
		return nil, err
	}
	for _, option := range options {
		option(&g)
	}
	all := map[string]any{}
	fields := reflect.ValueOf(g)
	for i := range fields.NumField() {
		if !fields.Type().Field(i).IsExported() {
			continue
		}
		value := fields.Field(i).Interface()
		if text, ok := value.(fmt.Stringer); ok {
			value = text.String()
		}
		all[snake(fields.Type().Field(i).Name)] = value
	}
	if g.MaxLength == 0 { // as --max-new-tokens leaves it
		delete(all, "max_length")
	}
	return all, nil
}

// snake writes a name of Go as transformers does: NumBeams is num_beams.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 && !unicode.IsUpper(rune(name[i-1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// mostListed is how long a list may be, as JSON, that every line of results repeats.
const mostListed = 256

// SetList adds a list, such as the labels of classify. Of a long one it adds the number and a hash.
func (s Settings) SetList(name string, list []string) {
	if len(list) == 0 {
		return
	}
	text, _ := json.Marshal(list) // strings can be encoded
	if len(text) <= mostListed {
		s[name] = list
		return
	}
	s[name] = fmt.Sprintf("%d, sha256:%.8x", len(list), sha256.Sum256(text))
}

// differs says how a line's origin differs from o, "" where it does not.
func (o *Origin) differs(line *Origin) string {
	switch {
	case line.Model != o.Model:
		return fmt.Sprintf("made with %s, not %s", line.Model, o.Model)
	case line.ModelHash != o.ModelHash:
		return fmt.Sprintf("made with another %s (%s, not %s)", o.Model,
			shortHash(line.ModelHash), shortHash(o.ModelHash))
	}
	before, now := plain(line.Settings), plain(o.Settings)
	known := plain(o.defaults)
	var all []string
	names := slices.AppendSeq(slices.Collect(maps.Keys(before)), maps.Keys(now))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		was, is := setting(name, before, known), setting(name, now, known)
		if was != is {
			all = append(all, fmt.Sprintf("%s, not %s", was, is))
		}
	}
	if len(all) == 0 {
		return ""
	}
	return "made with " + strings.Join(all, "; ")
}

// plain are settings as they are read back from JSON.
func plain(s Settings) Settings {
	read := Settings{}
	data, err := json.Marshal(s)
	if err == nil {
		err = json.Unmarshal(data, &read)
	}
	if err != nil {
		return s
	}
	return read
}

// setting names a setting with its value.
func setting(name string, s, defaults Settings) string {
	value, ok := s[name]
	if !ok {
		if value, ok = defaults[name]; !ok {
			return "no " + name
		}
	}
	text, _ := json.Marshal(value)
	return name + " " + string(text)
}

// shortHash is enough of a hash to tell two apart.
func shortHash(hash string) string { return hash[:min(len(hash), len("sha256:")+12)] }
