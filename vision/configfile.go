package vision

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/internal/bom"
)

// ConfigFiles are the files in which a model's folder may have its preprocessor configuration, the
// first that is there being the one that counts: transformers 5 writes the second alone, with the
// image processor inside. The others are Immich's, open_clip's and timm's.
var ConfigFiles = []string{
	"preprocessor_config.json", "processor_config.json", "visual/preprocess_cfg.json",
	"preprocess_cfg.json", "open_clip_config.json", "config.json",
}

// partOf names the key without which a file of that name, which has other things in it, too, is no
// preprocessor configuration.
var partOf = map[string]string{
	"processor_config.json": "image_processor", "open_clip_config.json": "preprocess_cfg",
	"config.json": "pretrained_cfg",
}

// ReadConfig reads the preprocessor configuration of a folder, the first of ConfigFiles that is
// there, and returns its name; a processor_config.json without an image processor, as transformers 4
// writes, does not count, nor does a config.json of another tool than timm. The list of operations of
// an onnxruntime-genai package, which genai_config.json may name, comes before them. If there is none
// the error is that of the first.
func ReadConfig(read func(name string) ([]byte, error)) (data []byte, name string, err error) {
	if data, name := genAIConfig(read); data != nil {
		return data, name, nil
	}
	data, err = read(ConfigFiles[0])
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return withMerge(data, read), ConfigFiles[0], err
	}
	for _, name := range ConfigFiles[1:] {
		data, otherErr := read(name)
		if otherErr != nil {
			continue
		}
		var file map[string]json.RawMessage
		plain, jsonErr := bom.Strip(data)
		if jsonErr == nil {
			jsonErr = json.Unmarshal(plain, &file)
		}
		if part := partOf[name]; jsonErr != nil || part == "" || !isNull(file[part]) {
			return data, name, nil
		}
	}
	return nil, ConfigFiles[0], fmt.Errorf("%w. How the model's pictures are prepared stands in it or in one "+
		"of %s: copy it from where the model comes from, or fetch the model whole (xpipe pull ORG/NAME)",
		err, strings.Join(ConfigFiles[1:], ", "))
}

// mergeKey is a setting of Pixtral's processor that decides sizes of pictures.
const mergeKey = "spatial_merge_size"

// setMerge gives Pixtral's image processor that setting where it has none.
func setMerge(keys map[string]json.RawMessage, merge json.RawMessage) (set bool) {
	class, err := className(keys)
	if err == nil && strings.HasPrefix(class, "PixtralImageProcessor") && isNull(keys[mergeKey]) && !isNull(merge) {
		keys[mergeKey] = merge
		return true
	}
	return false
}

// withMerge adds the setting that processor_config.json has for Pixtral's image processor, the
// preprocessor_config.json given.
func withMerge(data []byte, read func(name string) ([]byte, error)) []byte {
	if !bytes.Contains(data, []byte("PixtralImageProcessor")) {
		return data
	}
	var keys, processor map[string]json.RawMessage
	other, err := read(ConfigFiles[1])
	if err == nil {
		other, err = bom.Strip(other)
	}
	if err != nil || json.Unmarshal(other, &processor) != nil {
		return data
	}
	if plain, err := bom.Strip(data); err != nil || json.Unmarshal(plain, &keys) != nil {
		return data
	}
	if setMerge(keys, processor[mergeKey]) {
		if whole, err := json.Marshal(keys); err == nil {
			return whole
		}
	}
	return data
}

// genAIConfig returns the file with the operations of an onnxruntime-genai package, whose name is
// model.vision.config_filename of genai_config.json; nil where there is none.
func genAIConfig(read func(name string) ([]byte, error)) (data []byte, name string) {
	config, err := read("genai_config.json")
	if err != nil {
		return nil, ""
	}
	var file struct {
		Model struct {
			Vision struct {
				Name string `json:"config_filename"`
			} `json:"vision"`
		} `json:"model"`
	}
	if config, err = bom.Strip(config); err != nil || json.Unmarshal(config, &file) != nil {
		return nil, ""
	}
	name = cmp.Or(file.Model.Vision.Name, ConfigFiles[1])
	if data, err = read(name); err != nil {
		return nil, ""
	}
	var keys map[string]json.RawMessage
	plain, err := bom.Strip(data)
	if err != nil || json.Unmarshal(plain, &keys) != nil || isNull(keys["processor"]) {
		return nil, ""
	}
	return data, name
}

// ParseConfig reads a preprocessor_config.json in any spelling of transformers up to 4.57.6: sizes
// as a number, a list or an object, image processors or the older feature extractors; or the
// processor_config.json of transformers 5, which has an image_processor inside, or that of
// onnxruntime-genai, a list of operations; open_clip's preprocess_cfg, and timm's pretrained_cfg.
//
// Fields left out take the default of the class that image_processor_type names, and fields that
// this class does not read change nothing; null for a switch (do_resize, do_normalize ...) is no.
// Classes whose names end with Fast read more and take null for their default, as in transformers.
// Without a class, the fields that decide pixels must be there. A field that no class reads and that
// could change pixels is an error, as is any other problem; all wrap ErrImage, or ErrLimit for a
// size beyond 1,048,576 pixels a side.
//
// WithLimits bounds what the Preprocessor makes, Pixels and Side: a picture, and a batch as a
// whole. It does not look at the pictures that it is given.
func ParseConfig(data []byte, opts ...Option) (*Preprocessor, error) {
	p, err := parseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("preprocessor configuration: %w", err)
	}
	p.limits = buildOptions(opts).limits
	return p, nil
}

func parseConfig(data []byte) (*Preprocessor, error) {
	data, err := bom.Strip(data)
	if err != nil {
		return nil, imageErrorf("%w", err)
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		return nil, imageErrorf("not a JSON object: %w", err)
	}
	if list, err := listed(keys); list != nil || err != nil {
		if err != nil {
			return nil, err
		}
		return buildOperations(list)
	}
	if inside, ok := keys["image_processor"]; ok && !isNull(inside) {
		merge := keys[mergeKey]
		keys = nil
		if err := json.Unmarshal(inside, &keys); err != nil {
			return nil, imageErrorf("image_processor is not a JSON object: %w", err)
		}
		setMerge(keys, merge)
	}
	class, err := className(keys)
	if err != nil {
		return nil, err
	}
	if slices.Contains(torchClasses, class) {
		if p, ok, err := parseTorch(keys); ok || err != nil {
			return p, err
		}
	}
	both := !isNull(keys["image_processor_type"]) && !isNull(keys["feature_extractor_type"])
	for key, val := range keys {
		if isNull(val) || slices.Contains(understood, key) || slices.Contains(inert, key) {
			continue
		}
		if both && slices.Contains(heardKeys, key) {
			delete(keys, key)
			continue
		}
		if strings.HasPrefix(key, "do_") && string(bytes.TrimSpace(val)) == "false" {
			continue
		}
		return nil, imageErrorf("%q: %.60s is not understood and may change pixels", key, val)
	}

	name, fast := strings.CutSuffix(class, "Fast")
	name = strings.TrimSuffix(name, "Pil") // transformers 5 calls the slow ones so
	name = strings.TrimSuffix(strings.TrimSuffix(name, "ImageProcessor"), "FeatureExtractor")
	f, ok := families[name]
	if !ok {
		return nil, imageErrorf("image_processor_type %q is not supported", class)
	}
	if !fast {
		if err := f.dropUnread(keys); err != nil {
			return nil, err
		}
	}
	filtered, err := json.Marshal(keys)
	if err != nil {
		return nil, imageErrorf("%w", err)
	}
	var c config
	if err := json.Unmarshal(filtered, &c); err != nil {
		return nil, imageErrorf("%w", err)
	}
	c.fast = fast
	return c.build(f)
}

// torchClasses are those whose configurations are open_clip's or timm's, and none.
var torchClasses = []string{"", "JinaCLIPImageProcessor", "TimmWrapperImageProcessor"}

// className returns the name of the image processor's class; "" if there is none.
func className(keys map[string]json.RawMessage) (class string, err error) {
	for _, key := range []string{"image_processor_type", "feature_extractor_type"} {
		if val := keys[key]; !isNull(val) && class == "" {
			if err := json.Unmarshal(val, &class); err != nil {
				return "", imageErrorf("%s: %w", key, err)
			}
		}
	}
	return class, nil
}

// dropUnread deletes the keys that the class does not read, and says no where a switch is null, as
// the slow classes of transformers do: they keep null, which is not true.
func (f family) dropUnread(keys map[string]json.RawMessage) error {
	for key, val := range keys {
		switch {
		case f.kind == explicit:
		case slices.Contains(f.reads, key), slices.Contains(refusedKeys, key):
		case f.kind == idefics || !slices.Contains(commonKeys, key):
			delete(keys, key)
			continue
		}
		if !isNull(val) {
			continue
		}
		switch key {
		case "rescale_offset", "include_top", "use_square_size", "pad_and_return_pixel_mask":
			keys[key] = json.RawMessage("false")
		case "max_size": // no edge, in place of the default one
			keys[key] = json.RawMessage("0")
		default:
			if strings.HasPrefix(key, "do_") {
				keys[key] = json.RawMessage("false")
			}
		}
	}
	on := func(key string) bool { return string(keys[key]) != "false" }
	for key, step := range map[string]string{"resample": "do_resize", "rescale_factor": "do_rescale"} {
		if val, ok := keys[key]; ok && isNull(val) && on(step) {
			return imageErrorf("%s is null, and %s is not false", key, step)
		}
	}
	return nil
}
