package decode

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/graph"
)

// kindDefaults are the ids that transformers' configurations of decoders have where config.json
// leaves them out, by model_type.
var kindDefaults = map[string]string{
	"gpt2":  `{"bos_token_id":50256,"eos_token_id":50256}`,
	"trocr": `{"bos_token_id":0,"eos_token_id":2,"pad_token_id":1,"decoder_start_token_id":2}`,
	"mbart": `{"bos_token_id":0,"eos_token_id":2,"pad_token_id":1,"forced_eos_token_id":2}`,
	"bart": `{"bos_token_id":0,"eos_token_id":2,"pad_token_id":1,"decoder_start_token_id":2,` +
		`"forced_eos_token_id":2}`,
	"florence2_language": `{"bos_token_id":0,"eos_token_id":2,"pad_token_id":1,"decoder_start_token_id":2,` +
		`"forced_eos_token_id":2}`,
}

// generationKeys returns the keys of generation_config.json. A model without that file has them in
// config.json, as checkpoints of before did: the file's own keys and, where it says nothing, those
// of its section about the decoder (GenerationConfig.from_model_config of transformers 4.57).
func generationKeys(bundle *models.Bundle) (map[string]json.RawMessage, error) {
	keys := map[string]json.RawMessage{}
	err := bundle.JSON(generationConfig, &keys)
	if !errors.Is(err, fs.ErrNotExist) {
		return keys, err
	}
	if keys := genAIKeys(bundle); keys != nil {
		return keys, nil
	}
	return configKeys(bundle)
}

// configKeys returns what config.json says about generation.
func configKeys(bundle *models.Bundle) (map[string]json.RawMessage, error) {
	keys := map[string]json.RawMessage{}
	var config map[string]json.RawMessage
	if err := bundle.JSON("config.json", &config); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return keys, err
	}
	for _, name := range []string{"decoder", "text_config"} {
		var section map[string]json.RawMessage
		if config[name] == nil || json.Unmarshal(config[name], &section) != nil {
			continue
		}
		kind := "bart" // of Florence-2 where its section does not say
		if json.Unmarshal(section["model_type"], &kind) != nil && string(config["model_type"]) != `"florence2"` {
			kind = ""
		}
		defaults := map[string]json.RawMessage{}
		if text := kindDefaults[kind]; text != "" {
			json.Unmarshal([]byte(text), &defaults)
		}
		maps.Copy(keys, defaults)
		maps.Copy(keys, known(section))
	}
	maps.Copy(keys, known(config))
	return keys, nil
}

// genAIKeys returns what onnxruntime-genai's genai_config.json says of the search, but for
// max_length, which is the size of a buffer there; nil where there is no such file.
func genAIKeys(bundle *models.Bundle) map[string]json.RawMessage {
	var file struct {
		Model  map[string]json.RawMessage `json:"model"`
		Search map[string]json.RawMessage `json:"search"`
	}
	if bundle.JSON("genai_config.json", &file) != nil {
		return nil
	}
	keys := map[string]json.RawMessage{}
	maps.Copy(keys, known(file.Search))
	delete(keys, "max_length")
	if eos := file.Model["eos_token_id"]; eos != nil {
		keys["eos_token_id"] = eos
	}
	return keys
}

// known drops keys that are null.
func known(keys map[string]json.RawMessage) map[string]json.RawMessage {
	all := maps.Clone(keys)
	maps.DeleteFunc(all, func(_ string, v json.RawMessage) bool { return string(v) == "null" })
	return all
}

// StartToken returns the id that a decoder with an encoder starts from: decoder_start_token_id or,
// for a model in another tool's layout, bos_token_id, as transformers' generate does; config.json's
// where generation_config.json has none. given says which of the two. A bundle without one gives an error that wraps graph.ErrBundle.
func StartToken(bundle *models.Bundle) (id int64, given bool, err error) {
	keys, err := generationKeys(bundle)
	if err != nil {
		return 0, false, err
	}
	manifest := map[string]json.RawMessage{}
	if err := bundle.JSON(models.ManifestName, &manifest); err != nil {
		return 0, false, err
	}
	const start, bos, config = "decoder_start_token_id", "bos_token_id", "config.json"
	type place struct {
		file string
		keys map[string]json.RawMessage
		key  string
	}
	places := []place{{models.ManifestName, manifest, start}, {generationConfig, keys, start}}
	if bundle.Layout != "" {
		older, err := configKeys(bundle)
		if err != nil {
			return 0, false, err
		}
		places = append(places, place{config, older, start},
			place{generationConfig, keys, bos}, place{config, older, bos})
	}
	for _, c := range places {
		ids, err := oneOrMany(c.keys[c.key])
		if err != nil {
			return 0, false, fmt.Errorf("%w: %s: %s: %w", graph.ErrBundle, c.file, c.key, err)
		}
		if string(c.keys[c.key]) != "null" && len(ids) > 0 {
			return ids[0], c.key == start, nil
		}
	}
	return 0, false, fmt.Errorf("%w: neither %s nor %s has %s",
		graph.ErrBundle, models.ManifestName, generationConfig, start)
}

// refusedKeys are the keys of generation_config.json that change texts and that are not known here,
// with the values that leave texts as they are, beside null.
var refusedKeys = map[string][]string{
	"encoder_no_repeat_ngram_size": {"0"}, "encoder_repetition_penalty": {"1", "1.0"},
	"num_beam_groups": {"1"}, "diversity_penalty": {"0", "0.0"}, "penalty_alpha": {"0", "0.0"},
	"guidance_scale": {"1", "1.0"}, "force_words_ids": nil, "constraints": nil, "dola_layers": nil,
	"watermarking_config": nil, "token_healing": {"false"},
}

// refusedKey returns the first of refusedKeys that a file sets, with its value; "" where there is none.
func refusedKey(file map[string]json.RawMessage) string {
	for _, key := range slices.Sorted(maps.Keys(refusedKeys)) {
		value := string(file[key])
		if value != "" && value != "null" && !slices.Contains(refusedKeys[key], value) {
			return fmt.Sprintf("%s %.40s", key, value)
		}
	}
	return ""
}
