package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/ort/ortlib"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/tensor"
)

// schema is as much of JSON Schema 2020-12 as docs/results.schema.json uses.
type schema struct {
	Ref        string             `json:"$ref"`
	Type       any                `json:"type"` // a name, or several
	Properties map[string]*schema `json:"properties"`
	Required   []string           `json:"required"`
	Items      *schema            `json:"items"`
	MinItems   *int               `json:"minItems"`
	MaxItems   *int               `json:"maxItems"`
	Additional *schema            `json:"additionalProperties"`
	AnyOf      []*schema          `json:"anyOf"`
	Enum       []any              `json:"enum"`
	Minimum    *float64           `json:"minimum"`
	Maximum    *float64           `json:"maximum"`
	Defs       map[string]*schema `json:"$defs"`

	// Words for people.
	Schema, ID, Title, Description string
}

func loadSchema(t *testing.T) *schema {
	t.Helper()
	data, err := os.ReadFile("../../docs/results.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.Replace(data, []byte(`"$schema"`), []byte(`"Schema"`), 1)
	data = bytes.Replace(data, []byte(`"$id"`), []byte(`"ID"`), 1)
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields() // a word of JSON Schema that check would pass over
	root := new(schema)
	if err := d.Decode(root); err != nil {
		t.Fatal(err)
	}
	return root
}

// resolve follows a reference.
func (s *schema) resolve(root *schema) *schema {
	if s.Ref == "" {
		return s
	}
	return root.Defs[strings.TrimPrefix(s.Ref, "#/$defs/")]
}

// check says where a value is not as the schema has it. A key without a schema is an error, too.
func (s *schema) check(root *schema, v any, at string) error {
	if s = s.resolve(root); s == nil {
		return fmt.Errorf("%s: no schema", at)
	}
	if reflect.DeepEqual(*s, schema{}) { // any value
		return nil
	}
	if s.Type != nil && !s.hasType(v) {
		return fmt.Errorf("%s is %v, no %v", at, v, s.Type)
	}
	if s.Enum != nil && !slices.Contains(s.Enum, v) {
		return fmt.Errorf("%s is %v, none of %v", at, v, s.Enum)
	}
	var errs []error
	switch v := v.(type) {
	case map[string]any:
		for _, key := range s.Required {
			if _, has := v[key]; !has {
				errs = append(errs, fmt.Errorf("%s lacks %s", at, key))
			}
		}
		for key, value := range v {
			of := s.Properties[key]
			if of == nil {
				of = s.Additional
			}
			if of == nil {
				errs = append(errs, fmt.Errorf("%s.%s is not described", at, key))
				continue
			}
			errs = append(errs, of.check(root, value, at+"."+key))
		}
	case []any:
		if s.MinItems != nil && len(v) < *s.MinItems || s.MaxItems != nil && len(v) > *s.MaxItems {
			errs = append(errs, fmt.Errorf("%s has %d items", at, len(v)))
		}
		for i, value := range v {
			errs = append(errs, s.Items.check(root, value, fmt.Sprintf("%s[%d]", at, i)))
		}
	case float64:
		if s.Minimum != nil && v < *s.Minimum || s.Maximum != nil && v > *s.Maximum {
			errs = append(errs, fmt.Errorf("%s is %v", at, v))
		}
	}
	return errors.Join(errs...)
}

func (s *schema) hasType(v any) bool {
	names, several := s.Type.([]any)
	if !several {
		names = []any{s.Type}
	}
	return slices.ContainsFunc(names, func(name any) bool {
		switch v := v.(type) {
		case nil:
			return name == "null"
		case bool:
			return name == "boolean"
		case string:
			return name == "string"
		case float64:
			return name == "number" || name == "integer" && v == math.Trunc(v)
		case []any:
			return name == "array"
		}
		return name == "object"
	})
}

// described are the types that docs/results.schema.json describes, and the files of lines in
// api/testdata/printed that are such.
var described = map[string]struct {
	of    any
	files []string
}{
	"caption": {api.Caption{}, []string{"caption"}}, "answer": {api.Answer{}, []string{"ask"}},
	"document_answer": {of: api.DocumentAnswer{}}, "passage": {of: api.Passage{}},
	"reply":      {of: api.Reply{}},
	"transcript": {of: api.AudioTranscript{}}, "segment": {of: api.AudioSegment{}},
	"spoken_word": {of: api.AudioWord{}}, "sound_failure": {of: api.SoundFailure{}},
	"page": {of: api.Page{}}, "page_line": {of: api.PageLine{}}, "page_word": {of: api.PageWord{}},
	"table": {of: api.Table{}}, "figure": {of: api.Figure{}}, "page_failure": {of: api.PageFailure{}},
	"place": {of: pipeline.Place{}},
	"hit":   {of: api.Hit{}}, "explain": {of: api.Explain{}}, "rank": {of: api.Rank{}}, "indexed": {of: api.Indexed{}},
	"studio_thing": {of: api.StudioThing{}}, "studio_file": {of: api.StudioFile{}},
	"choice": {of: pipeline.Choice{}}, "token": {of: pipeline.Token{}},
	"match": {api.Match{}, []string{"match"}}, "label": {api.Label{}, []string{"classify"}},
	"embedding": {api.Embedding{}, []string{"embed"}},
	"attention": {api.Attention{}, []string{"attend"}}, "attended": {of: api.AttentionToken{}},
	"preprocessed": {api.Preprocessed{}, []string{"preprocess"}},
	"output":       {api.Output{}, []string{"run"}},
	"encoded":      {api.Encoded{}, []string{"tokenize"}}, "decoded": {api.Decoded{}, []string{"decode"}},
	"graph": {api.GraphInfo{}, []string{"inspect"}}, "spec": {of: api.SpecInfo{}},
	"operator": {of: api.OperatorInfo{}}, "bundle": {api.BundleInfo{}, []string{"inspect_bundle"}},
	"verification": {api.Verification{}, []string{"verify"}}, "stage": {of: api.VerifiedStage{}},
	"bench": {api.Bench{}, []string{"bench"}}, "timing": {of: api.BenchEngine{}},
	"diagnosis": {api.Diagnosis{}, []string{"doctor"}}, "engine": {of: api.EngineState{}},
	"library":   {ortlib.Library{}, []string{"library"}},
	"installed": {ortlib.Installed{}, []string{"installed"}},
	"version":   {of: api.Version{}}, "model": {of: api.ModelInfo{}}, "vector": {of: api.VectorRow{}},
	"progress": {of: api.Progress{}}, "summary": {of: api.Summary{}}, "counts": {of: api.Counts{}},
	"failure": {api.Failure{}, []string{"failure"}}, "error": {api.Error{}, []string{"error"}},
	"warning": {api.Warning{}, []string{"warning"}},
}

// before are keys that MarshalJSON adds to types: the names of the first engines are in them.
var before = []string{"go_", "ort_", "missing_in_", "ratio", "cpu_ratio", "open_ratio", "peak_ratio"}

// The keys of each type are in its schema, and those that are never left out are required.
func TestSchemaOfTypes(t *testing.T) {
	t.Parallel()
	root := loadSchema(t)
	for name, d := range described {
		s := root.Defs[name]
		if s == nil {
			t.Errorf("no schema of %s", name)
			continue
		}
		all, required := keysOf(reflect.TypeOf(d.of))
		named := slices.Sorted(maps.Keys(s.Properties))
		named = slices.DeleteFunc(named, func(key string) bool {
			return !slices.Contains(all, key) &&
				slices.ContainsFunc(before, func(b string) bool { return strings.HasPrefix(key, b) })
		})
		if slices.Sort(all); !slices.Equal(all, named) {
			t.Errorf("%s: the type has the keys %v, the schema %v", name, all, named)
		}
		always := slices.Sorted(slices.Values(s.Required))
		if slices.Sort(required); !slices.Equal(required, always) {
			t.Errorf("%s: the type always has %v, the schema %v", name, required, always)
		}
	}
}

// keysOf are the JSON keys of a type, and those without omitempty.
func keysOf(of reflect.Type) (all, required []string) {
	for i := range of.NumField() {
		field := of.Field(i)
		key, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous && key == "" {
			inner, may := field.Type, false
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
				may = inner != reflect.TypeFor[api.Origin]() // which the command always sets
			}
			more, always := keysOf(inner)
			all = append(all, more...)
			if !may {
				required = append(required, always...)
			}
			continue
		}
		if key == "-" || !field.IsExported() {
			continue
		}
		all = append(all, key)
		if !strings.Contains(options, "omitempty") {
			required = append(required, key)
		}
	}
	return all, required
}

// What verbs print is as docs/results.schema.json has it.
func TestSchema(t *testing.T) {
	t.Parallel()
	root := loadSchema(t)
	for name, d := range described {
		for _, file := range d.files {
			data, err := os.ReadFile("../../api/testdata/printed/" + file + ".jsonl")
			if err != nil {
				t.Fatal(err)
			}
			// The lines are older than what says their origin.
			origin, _ := keysOf(reflect.TypeFor[api.Origin]())
			text := string(data)
			if slices.Contains(root.Defs[name].Required, origin[1]) {
				text = strings.ReplaceAll(text, "}\n",
					`,"model":"","model_hash":"","version":"","settings":{}}`+"\n")
			}
			checkLines(t, root, name, file, text)
		}
	}
	dir := t.TempDir()
	ones := filepath.Join(dir, "ones.npy")
	if err := tensor.SaveNpy(ones, tensor.Must(tensor.Zeros(tensor.Float32, 1, 17, 32))); err != nil {
		t.Fatal(err)
	}
	figure := "../../testdata/families/images/figure0.png"
	for _, c := range []struct{ name, args string }{
		{"caption", "caption --engine go -m " + tinyWriter + " " + figure},
		{"answer", "ask --engine go -m " + tinyWriter + " " + figure + " what?"},
		{"answer", "ask --engine go -m " + tinyWriter + " " + figure + " what? --choices yes,no"},
		{"answer", "ask --engine go -m ../../testdata/layouts/florence2-transformersjs " + figure + " <REGION_PROPOSAL>"},
		{"document_answer", "ask --engine go ../../testdata/document/questions/tune-form-0.pdf who?"},
		{"document_answer", "ask --engine go -m " + tinyWriter + " ../../testdata/document/questions/tune-report-0.pdf what?"},
		{"reply", "chat --engine go -m ../../testdata/layouts/llama-optimum --max-new-tokens 3"},
		{"match", "match --engine go -m " + clipTiny + " " + figure + " cat boat"},
		{"label", "classify --engine go -m " + clipTiny + " " + figure + " cat boat"},
		{"match", "match --engine go -m ../../testdata/layouts/clip-transformersjs " + figure + " cat boat"},
		{"label", "classify --engine go -m ../../testdata/layouts/clip-transformersjs " + figure + " cat boat"},
		{"embedding", "embed --engine go -m " + clipTiny + " " + figure + " --text cat"},
		{"attention", "attend -m " + tinyWriter + " " + figure + " --text cat"},
		{"preprocessed", "preprocess -m " + tinyWriter + " " + figure},
		{"output", "run --engine go " + qformer + " -i image_embeds=" + ones + " -o " + dir},
		{"encoded", "tokenize -m " + clipTiny + " --offsets"},
		{"graph", "inspect " + qformer}, {"bundle", "models show " + tinyWriter},
		{"bench", "bench --engine go --runs 1 --warm 0 " + qformer},
		{"version", "version"}, {"model", "models ../../testdata/layouts"},
	} {
		code, stdout, stderr := xpipe(t, "a cat\n", append([]string{"--json"}, strings.Fields(c.args)...)...)
		if code != api.ExitOK || stdout == "" {
			t.Errorf("%s: exit %d, %s", c.args, code, stderr)
		}
		checkLines(t, root, c.name, c.args, stdout)
	}
	code, stdout, stderr := xpipe(t, "", "--json", "caption", "--engine", "go", "-m", tinyWriter, figure, "none.png")
	first, second, _ := strings.Cut(stdout, "\n")
	if code != api.ExitOther {
		t.Errorf("exit %d", code)
	}
	checkLines(t, root, "caption", "of two", first)
	checkLines(t, root, "failure", "of two", second)
	checkLines(t, root, "error", "of two", stderr)
}

// checkLines checks lines of one kind, which must be among those of the whole schema.
func checkLines(t *testing.T, root *schema, name, of, text string) {
	t.Helper()
	ref := "#/$defs/" + name
	if !slices.ContainsFunc(root.AnyOf, func(s *schema) bool { return s.Ref == ref }) {
		t.Errorf("%s is no kind of line", name)
	}
	for _, line := range lines(t, text) {
		if err := (&schema{Ref: ref}).check(root, line, name); err != nil {
			t.Errorf("%s: %v", of, err)
		}
	}
}
