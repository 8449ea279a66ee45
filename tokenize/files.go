package tokenize

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// Older checkpoints have no tokenizer.json but the files that it would be made of. This file makes
// it of those of byte-level BPE, as transformers' convert_slow_tokenizer.py does (4.57); what it
// cannot make exactly, it refuses.

// byteLevelBPE says how a tokenizer_class of tokenizer_config.json differs from GPT-2's.
var byteLevelBPE = map[string]struct {
	special map[string]string // what the class calls them where tokenizer_config.json does not
	qwen    bool              // NFC, and a pattern of its own
	roberta bool              // between <s> and </s>
	mask    bool              // <mask> takes the space before it
	clip    bool              // lower case, words that end in </w>, between the tokens bos and eos
}{
	"GPT2Tokenizer":    {special: gptTokens},
	"CodeGenTokenizer": {special: gptTokens},
	"Qwen2Tokenizer": {qwen: true, special: map[string]string{
		"unk_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}},
	"RobertaTokenizer": {roberta: true, mask: true, special: robertaTokens},
	"BartTokenizer":    {roberta: true, mask: true, special: robertaTokens},
	"CLIPTokenizer": {clip: true, special: map[string]string{"bos_token": "<|startoftext|>",
		"eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}},
}

var (
	gptTokens = map[string]string{"unk_token": "<|endoftext|>", "bos_token": "<|endoftext|>",
		"eos_token": "<|endoftext|>"}
	robertaTokens = map[string]string{"bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>",
		"cls_token": "<s>", "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"}
)

// qwenPattern is how Qwen2's tokenizer splits text.
const qwenPattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|` +
	`\s*[\r\n]+|\s+(?!\S)|\s+`

// clipPattern finds the words of CLIP's tokenizer.
const clipPattern = `'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`

// convert is what to do about files of which this package makes no tokenizer.json.
const convert = `make one with transformers: python -c "from transformers import AutoTokenizer as T; ` +
	`T.from_pretrained('DIR').save_pretrained('DIR')"`

// Load reads the tokenizer of a model's folder, whose files read gives: tokenizer.json or, without
// one, vocab.json and merges.txt of a byte-level BPE (GPT-2, CodeGen, Qwen2, RoBERTa, BART,
// CLIP). Errors
// wrap ErrTokenizer, or are those of read, fs.ErrNotExist where there is no tokenizer.
func Load(read func(name string) ([]byte, error)) (*Tokenizer, error) {
	data, err := read("tokenizer.json")
	if errors.Is(err, fs.ErrNotExist) {
		missing := err
		if data, err = fromFiles(read); errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w. A tokenizer is that file, or vocab.json with merges.txt: copy it from where "+
				"the model comes from, or %s", missing, convert)
		}
	}
	if err != nil {
		return nil, err
	}
	return New(data)
}

// addedJSON is an added token as tokenizer.json has it.
type addedJSON struct {
	ID         int64  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// slowFiles are the files of a tokenizer without tokenizer.json.
type slowFiles struct {
	config     map[string]json.RawMessage // of tokenizer_config.json
	special    map[string]json.RawMessage // of special_tokens_map.json
	added      map[string]int64           // of added_tokens.json
	vocabulary map[string]int64
	merges     []string
}

// fromFiles makes the content of a tokenizer.json; the error is fs.ErrNotExist where there is
// nothing to make it of.
func fromFiles(read func(name string) ([]byte, error)) ([]byte, error) {
	var f slowFiles
	merges, err := read("merges.txt")
	if errors.Is(err, fs.ErrNotExist) {
		for _, name := range []string{"tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.txt"} {
			if _, other := read(name); other == nil {
				return nil, refuse("there is no tokenizer.json, and none is made of %s; %s", name, convert)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	for name, to := range map[string]any{
		"vocab.json": &f.vocabulary, "tokenizer_config.json": &f.config,
		"special_tokens_map.json": &f.special, "added_tokens.json": &f.added,
	} {
		data, err := read(name)
		switch {
		case errors.Is(err, fs.ErrNotExist) && name != "vocab.json":
		case err != nil:
			return nil, err
		default:
			if err := json.Unmarshal(data, to); err != nil {
				return nil, refuse("%s: %v", name, err)
			}
		}
	}
	lines := strings.Split(string(merges), "\n")
	for i, line := range lines {
		line = strings.TrimRight(line, "\r")
		if line != "" && !(i == 0 && strings.HasPrefix(line, "#version")) {
			f.merges = append(f.merges, line)
		}
	}
	return f.tokenizerJSON()
}

// text returns a key of a configuration: a string, or an added token's content.
func text(config map[string]json.RawMessage, key string) string {
	var s string
	if json.Unmarshal(config[key], &s) == nil {
		return s
	}
	var token addedJSON
	json.Unmarshal(config[key], &token) // "" where it is neither
	return token.Content
}

func flag(config map[string]json.RawMessage, key string) (v bool) {
	json.Unmarshal(config[key], &v) // false where there is none
	return v
}

func (f *slowFiles) tokenizerJSON() ([]byte, error) {
	name := strings.TrimSuffix(text(f.config, "tokenizer_class"), "Fast")
	class, known := byteLevelBPE[name]
	if !known {
		return nil, refuse("there is no tokenizer.json, and of vocab.json and merges.txt none is made for "+
			"tokenizer_class %q of tokenizer_config.json; %s", name, convert)
	}
	token := func(role string) string {
		for _, config := range []map[string]json.RawMessage{f.config, f.special} {
			if s := text(config, role); s != "" {
				return s
			}
		}
		return class.special[role]
	}
	added, err := f.addedTokens(token, class.mask)
	if err != nil {
		return nil, err
	}
	id := func(s string) (int64, error) {
		for _, a := range added {
			if a.Content == s {
				return a.ID, nil
			}
		}
		if id, ok := f.vocabulary[s]; ok {
			return id, nil
		}
		return 0, refuse("vocab.json has no token %q", s)
	}
	prefix := flag(f.config, "add_prefix_space")
	level := map[string]any{"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": true}
	model := map[string]any{"type": "BPE", "vocab": f.vocabulary, "merges": f.merges}
	file := map[string]any{
		"version": "1.0", "added_tokens": added, "pre_tokenizer": level,
		"decoder": map[string]any{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
		"post_processor": map[string]any{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false,
			"use_regex": true},
		"model": model,
	}
	// between puts texts between two tokens, those of the roles.
	between := func(sep, cls string, trim, prefix bool) error {
		around := map[string]any{"type": "RobertaProcessing", "trim_offsets": trim, "add_prefix_space": prefix}
		for key, role := range map[string]string{"sep": sep, "cls": cls} {
			n, err := id(token(role))
			if err != nil {
				return err
			}
			around[key] = []any{token(role), n}
		}
		file["post_processor"] = around
		return nil
	}
	switch {
	case class.clip:
		file["normalizer"] = map[string]any{"type": "Sequence", "normalizers": []any{
			map[string]any{"type": "NFC"},
			map[string]any{"type": "Replace", "pattern": map[string]string{"Regex": `\s+`}, "content": " "},
			map[string]any{"type": "Lowercase"},
		}}
		level["add_prefix_space"] = false
		split := map[string]any{"type": "Split", "pattern": map[string]string{"Regex": clipPattern},
			"behavior": "Removed", "invert": true}
		file["pre_tokenizer"] = map[string]any{"type": "Sequence", "pretokenizers": []any{split, level}}
		model["unk_token"], model["end_of_word_suffix"] = token("unk_token"), "</w>"
		model["continuing_subword_prefix"] = ""
		if err := between("eos_token", "bos_token", false, false); err != nil {
			return nil, err
		}
	case class.qwen:
		level["use_regex"] = false
		file["normalizer"] = map[string]any{"type": "NFC"}
		split := map[string]any{"type": "Split", "pattern": map[string]string{"Regex": qwenPattern},
			"behavior": "Isolated", "invert": false}
		file["pre_tokenizer"] = map[string]any{"type": "Sequence", "pretokenizers": []any{split, level}}
	case class.roberta:
		if err := between("sep_token", "cls_token", true, prefix); err != nil {
			return nil, err
		}
	case flag(f.config, "add_bos_token"):
		begin := token("bos_token")
		n, err := id(begin)
		if err != nil {
			return nil, err
		}
		file["post_processor"] = beginsWith(begin, n)
	}
	return json.Marshal(file)
}

// beginsWith is a post-processor that puts one token before texts.
func beginsWith(token string, id int64) map[string]any {
	special := map[string]any{"SpecialToken": map[string]any{"id": token, "type_id": 0}}
	sequence := func(name string, kind int) map[string]any {
		return map[string]any{"Sequence": map[string]any{"id": name, "type_id": kind}}
	}
	return map[string]any{
		"type": "TemplateProcessing", "single": []any{special, sequence("A", 0)},
		"pair": []any{special, sequence("A", 0), sequence("B", 1)},
		"special_tokens": map[string]any{
			token: map[string]any{"id": token, "ids": []int64{id}, "tokens": []string{token}}},
	}
}

// addedTokens lists the tokens beside those that merges make, by id: those that
// tokenizer_config.json or added_tokens.json lists, and the special ones.
func (f *slowFiles) addedTokens(token func(role string) string, mask bool) ([]addedJSON, error) {
	var added []addedJSON
	has := func(s string) bool {
		return slices.ContainsFunc(added, func(a addedJSON) bool { return a.Content == s })
	}
	var listed map[string]addedJSON
	if raw := f.config["added_tokens_decoder"]; raw != nil {
		if err := json.Unmarshal(raw, &listed); err != nil {
			return nil, refuse("tokenizer_config.json: added_tokens_decoder: %v", err)
		}
	}
	for key, a := range listed {
		id, err := strconv.ParseInt(key, 10, 64)
		if err != nil {
			return nil, refuse("tokenizer_config.json: added_tokens_decoder: %q is no id", key)
		}
		a.ID = id
		added = append(added, a)
	}
	special := []string{}
	for _, role := range []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"} {
		if s := token(role); s != "" {
			special = append(special, s)
		}
	}
	for _, config := range []map[string]json.RawMessage{f.config, f.special} {
		var more []json.RawMessage
		json.Unmarshal(config["additional_special_tokens"], &more) // none where there is no list
		for _, m := range more {
			special = append(special, text(map[string]json.RawMessage{"": m}, ""))
		}
	}
	for s, id := range f.added {
		if !has(s) {
			isSpecial := slices.Contains(special, s)
			added = append(added, addedJSON{ID: id, Content: s, Special: isSpecial, Normalized: !isSpecial})
		}
	}
	for _, s := range special {
		if has(s) || s == "" {
			continue
		}
		id, ok := f.vocabulary[s]
		if !ok {
			return nil, refuse("there is no tokenizer.json, and no file has the id of the special token %q; %s", s, convert)
		}
		added = append(added, addedJSON{ID: id, Content: s, Special: true, LStrip: mask && s == token("mask_token")})
	}
	slices.SortFunc(added, func(a, b addedJSON) int { return int(a.ID - b.ID) })
	return added, nil
}
