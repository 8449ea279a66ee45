package tokenize

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/crossattn/xpipe/internal/bom"
)

// New reads the contents of a tokenizer.json as Hugging Face's tokenizers 0.22 writes it.
//
// A file that asks for a part this package does not know, or for one that it could only
// approximate, is refused with an error that wraps ErrTokenizer and names the place in the file.
func New(data []byte) (*Tokenizer, error) {
	data, err := bom.Strip(data)
	if err != nil {
		return nil, refuse("%v", err)
	}
	if !utf8.Valid(data) {
		return nil, refuse("the file is not UTF-8 text")
	}
	if loneSurrogate(data) {
		return nil, refuse("the file has an escape for half a surrogate pair, which is no character")
	}
	if !json.Valid(data) {
		return nil, refuse("the file is not JSON")
	}
	root, err := parseObject("tokenizer.json", data)
	if err != nil {
		return nil, err
	}
	root.path = "" // from here on paths begin with the field
	return newTokenizer(root)
}

func newTokenizer(root *object) (*Tokenizer, error) {
	if _, ok := root.fields["version"]; ok {
		if v := root.str("version"); *root.err == nil && v != "1.0" {
			return nil, refuse("version %q; only 1.0 is known", v)
		}
	}
	t := &Tokenizer{}
	var err error
	if !root.null("normalizer") {
		if t.normalizer, err = buildNormalizer(sub(root, "normalizer"), 0); err != nil {
			return nil, err
		}
	}
	byteLevelLast := false
	if !root.null("pre_tokenizer") {
		t.preTokenizer, byteLevelLast, err = buildPreTokenizer(sub(root, "pre_tokenizer"), 0)
		if err != nil {
			return nil, err
		}
	}
	var raw bool
	byteLevelLast = byteLevelLast && !insertsInFront(t.normalizer)
	if t.model, raw, err = buildModel(sub(root, "model"), byteLevelLast); err != nil {
		return nil, err
	}
	if raw {
		t.preTokenizer = leaveRaw(t.preTokenizer)
	}
	if !root.null("post_processor") {
		if t.processor, err = buildProcessor(sub(root, "post_processor"), 0); err != nil {
			return nil, err
		}
	}
	t.decoder = spaced{}
	if !root.null("decoder") {
		if t.decoder, err = buildDecoder(sub(root, "decoder"), 0); err != nil {
			return nil, err
		}
	}
	if !root.null("truncation") {
		o := sub(root, "truncation")
		strategy := o.enum("strategy", "LongestFirst", "OnlyFirst", "OnlySecond")
		t.truncation = &Truncation{
			MaxLength: o.integer("max_length"),
			Stride:    o.integer("stride"),
			Strategy:  TruncationStrategy(strategy),
			Left:      o.fields["direction"] != nil && o.enum("direction", "Left", "Right") == 0,
		}
	}
	if !root.null("padding") {
		t.padding = buildPadding(sub(root, "padding"))
	}
	var added []addedToken
	if _, ok := root.fields["added_tokens"]; ok {
		for _, o := range root.objects("added_tokens") {
			o.integer("id") // required but not used, see newAddedVocabulary
			added = append(added, addedToken{
				content:    o.str("content"),
				singleWord: o.boolean("single_word"),
				lstrip:     o.boolean("lstrip"),
				rstrip:     o.boolean("rstrip"),
				normalized: o.boolean("normalized"),
				special:    o.boolean("special"),
			})
		}
	}
	if *root.err != nil {
		return nil, *root.err
	}
	if t.added, err = newAddedVocabulary(added, t.model, t.normalizer); err != nil {
		return nil, err
	}
	t.vocabSize = len(t.model.vocab())
	for token := range t.added.ids {
		if _, ok := t.model.id(token); !ok {
			t.vocabSize++
		}
	}
	return t, nil
}

// insertsInFront reports whether n may put text before all others that stands for nothing in the
// original. Such text is not always brought into byte-level form, see aligned.transform, so that a
// model cannot read the raw bytes in its place.
func insertsInFront(n normalizer) bool {
	switch n := n.(type) {
	case normalizers:
		return slices.ContainsFunc(n, insertsInFront)
	case replaceNormalizer:
		switch pattern := n.pattern.(type) {
		case literal:
			return pattern == ""
		case *regex:
			return pattern.first == nil
		}
	}
	return false
}

// sub reads a field of the root as an object; its path is the field alone.
func sub(root *object, name string) *object {
	o := root.object(name)
	o.path = name
	return o
}

// enum reads a string that must be one of the given ones and returns its place among them.
func (o *object) enum(name string, values ...string) int {
	s := o.str(name)
	i := slices.Index(values, s)
	if i < 0 {
		o.fail(name, "%q is none of %s", s, strings.Join(values, ", "))
	}
	return max(i, 0)
}

// maxNesting bounds Sequences inside Sequences.
const maxNesting = 32

// kind reads the type of a component, and refuses deep nesting before a malicious file exhausts the
// stack.
func (o *object) kind(depth int) string {
	if depth > maxNesting {
		o.fail("type", "nested more than %d deep", maxNesting)
		return ""
	}
	return o.str("type")
}

func buildPadding(o *object) *Padding {
	p := &Padding{
		Left:  o.enum("direction", "Left", "Right") == 0,
		ID:    int64(o.integer("pad_id")),
		Token: o.str("pad_token"), TypeID: int64(o.integer("pad_type_id")),
	}
	if !o.null("pad_to_multiple_of") {
		p.MultipleOf = o.integer("pad_to_multiple_of")
	}
	var s string
	if raw, ok := o.fields["strategy"]; ok && json.Unmarshal(raw, &s) == nil {
		if s != "BatchLongest" {
			o.fail("strategy", "%q is neither BatchLongest nor {\"Fixed\": n}", s)
		}
		return p
	}
	fixed := o.object("strategy")
	p.Fixed, p.Length = true, fixed.integer("Fixed")
	return p
}

func buildNormalizer(o *object, depth int) (normalizer, error) {
	var n normalizer
	switch kind := o.kind(depth); kind {
	case "BertNormalizer", "Bert":
		b := bertNormalizer{
			cleanText:     o.boolean("clean_text"),
			handleChinese: o.boolean("handle_chinese_chars"),
			lowercase:     o.boolean("lowercase"),
		}
		b.stripAccents = o.optionalBool("strip_accents", b.lowercase)
		n = b
	case "Lowercase":
		n = lowercaseNormalizer{}
	case "NFC":
		n = unicodeNormalizer{compose: true}
	case "NFD":
		n = unicodeNormalizer{}
	case "NFKC":
		n = unicodeNormalizer{compose: true, compatible: true}
	case "NFKD":
		n = unicodeNormalizer{compatible: true}
	case "Nmt":
		n = nmtNormalizer{}
	case "Strip":
		n = stripNormalizer{o.boolean("strip_left"), o.boolean("strip_right")}
	case "StripAccents":
		n = stripAccentsNormalizer{}
	case "Prepend":
		n = prependNormalizer{o.str("prepend")}
	case "Replace":
		n = replaceNormalizer{o.pattern("pattern"), o.str("content")}
	case "ByteLevel":
		n = byteLevelNormalizer{}
	case "Precompiled":
		return buildPrecompiled(o)
	case "Sequence":
		var list normalizers
		for _, sub := range o.objects("normalizers") {
			m, err := buildNormalizer(sub, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, m)
		}
		n = list
	default:
		o.fail("type", "the normalizer %q is not known", kind)
	}
	return n, *o.err
}

// pattern reads {"String": s} or {"Regex": r}.
func (o *object) pattern(name string) finder {
	p := o.object(name)
	if _, ok := p.fields["String"]; ok {
		return literal(p.str("String"))
	}
	r := p.str("Regex")
	if *o.err != nil {
		return nil
	}
	f, err := compilePattern(r)
	if err != nil {
		p.fail("Regex", "%v", err)
	}
	return f
}

// behavior reads what to do with matches, in either spelling the reference writes.
func (o *object) behavior(name string) behavior {
	return behavior(o.enum(name,
		"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"))
}

// buildPreTokenizer also reports whether text is in byte-level form after it.
func buildPreTokenizer(o *object, depth int) (preTokenizer, bool, error) {
	var p preTokenizer
	byteLevel := false
	switch kind := o.kind(depth); kind {
	case "BertPreTokenizer":
		p = bertPreTokenizer{}
	case "ByteLevel":
		o.boolean("trim_offsets") // required, but of no use here
		p = byteLevelPreTokenizer{
			addPrefixSpace: o.boolean("add_prefix_space"),
			useRegex:       o.flag("use_regex", true),
		}
		byteLevel = true
	case "CharDelimiterSplit":
		p = splitter{pattern: literal(o.char("delimiter")), how: removed}
	case "Metaspace":
		replacement, scheme := o.metaspace()
		p = metaspacePreTokenizer{replacement, scheme, o.optionalBool("split", true)}
	case "Whitespace":
		p = whitespacePreTokenizer{}
	case "WhitespaceSplit":
		p = splitter{pattern: runePredicate(isWhite), how: removed}
	case "Split":
		s := splitter{o.pattern("pattern"), o.boolean("invert"), o.behavior("behavior")}
		p = s
		if f, ok := s.pattern.(*knownPattern); ok {
			if f.total && s.how == isolated || s.how == removed && s.invert {
				p = scanner{f.scan} // only the matches remain
			}
		}
	case "Punctuation":
		how := isolated
		if _, ok := o.fields["behavior"]; ok {
			how = o.behavior("behavior")
		}
		p = splitter{pattern: runePredicate(isPunctuation), how: how}
	case "Digits":
		how := contiguous
		if o.boolean("individual_digits") {
			how = isolated
		}
		p = splitter{pattern: runePredicate(isNumeric), how: how}
	case "FixedLength":
		n := 5
		if _, ok := o.fields["length"]; ok {
			n = o.integer("length")
		}
		if n == 0 {
			o.fail("length", "pieces of no length")
		}
		p = fixedLength(n)
	case "Sequence":
		var list preTokenizers
		for _, sub := range o.objects("pretokenizers") {
			q, last, err := buildPreTokenizer(sub, depth+1)
			if err != nil {
				return nil, false, err
			}
			list = append(list, q)
			byteLevel = last
		}
		p = list
	default:
		o.fail("type", "the pre-tokenizer %q is not known", kind)
	}
	return p, byteLevel, *o.err
}

// flag reads a boolean that may be missing but not null.
func (o *object) flag(name string, missing bool) bool {
	if _, ok := o.fields[name]; !ok {
		return missing
	}
	return o.boolean(name)
}

func (o *object) metaspace() (replacement string, scheme prependScheme) {
	replacement = o.char("replacement")
	if _, ok := o.fields["prepend_scheme"]; ok {
		scheme = prependScheme(o.enum("prepend_scheme", "always", "first", "never"))
	}
	if !o.optionalBool("add_prefix_space", true) {
		if scheme != prependNever {
			if _, ok := o.fields["prepend_scheme"]; ok {
				o.fail("add_prefix_space", "does not agree with prepend_scheme")
			} else {
				o.fail("add_prefix_space",
					"the reference rejects false without prepend_scheme \"never\"")
			}
		}
	}
	return replacement, scheme
}

// leaveRaw takes the last step of the byte-level pre-tokenizer at the end of p away, for a model
// that reads bytes.
func leaveRaw(p preTokenizer) preTokenizer {
	switch p := p.(type) {
	case byteLevelPreTokenizer:
		p.raw = true
		return p
	case preTokenizers:
		list := slices.Clone(p)
		list[len(list)-1] = leaveRaw(list[len(list)-1])
		return list
	}
	return p
}

func buildProcessor(o *object, depth int) (processor, error) {
	var p processor
	switch kind := o.kind(depth); kind {
	case "TemplateProcessing":
		return buildTemplate(o)
	case "BertProcessing":
		if o.fields["trim_offsets"] != nil && o.fields["add_prefix_space"] != nil {
			return nil, refuse("%s: BertProcessing with the fields of RobertaProcessing", o.path)
		}
		p = bertProcessing{o.special("sep"), o.special("cls")}
	case "RobertaProcessing":
		p = robertaProcessing{
			sep:            o.special("sep"),
			cls:            o.special("cls"),
			trimOffsets:    o.boolean("trim_offsets"),
			addPrefixSpace: o.boolean("add_prefix_space"),
		}
	case "ByteLevel":
		o.flag("use_regex", true)
		p = byteLevelProcessing{o.boolean("trim_offsets"), o.boolean("add_prefix_space")}
	case "Sequence":
		var list processors
		for _, sub := range o.objects("processors") {
			q, err := buildProcessor(sub, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, q)
		}
		p = list
	default:
		o.fail("type", "the post-processor %q is not known", kind)
	}
	return p, *o.err
}

// special reads ["token", id].
func (o *object) special(name string) specialToken {
	var pair []json.RawMessage
	o.require(name, &pair, "a token with its id")
	var t specialToken
	var id uint32
	if len(pair) != 2 || json.Unmarshal(pair[0], &t.text) != nil ||
		json.Unmarshal(pair[1], &id) != nil {
		o.fail(name, "a token with its id expected")
	}
	t.id = int64(id)
	return t
}

func buildTemplate(o *object) (processor, error) {
	tokens := o.object("special_tokens")
	read := func(name string) []templatePiece {
		var pieces []templatePiece
		uses := [2]int{}
		for _, item := range o.objects(name) {
			p := templatePiece{sequence: -1}
			if item.fields["Sequence"] != nil {
				s := item.object("Sequence")
				p.sequence, p.typeID = s.enum("id", "A", "B"), int64(s.integer("type_id"))
				uses[p.sequence]++
			} else {
				s := item.object("SpecialToken")
				id := s.str("id")
				p.typeID = int64(s.integer("type_id"))
				if tokens.fields[id] == nil {
					s.fail("id", "the special token %q is not listed in special_tokens", id)
					continue
				}
				t := tokens.object(id)
				var ids []uint32
				var names []string
				t.require("ids", &ids, "a list of ids")
				t.require("tokens", &names, "a list of tokens")
				if len(ids) != len(names) {
					t.fail("ids", "%d ids for %d tokens", len(ids), len(names))
					continue
				}
				p.special = newEncoding(len(ids))
				for i, id := range ids {
					p.special.push(int64(id), names[i], Span{}, -1, p.typeID, 1)
				}
				p.special.shared = true
			}
			pieces = append(pieces, p)
		}
		for i := range pieces {
			if s := pieces[i].sequence; s >= 0 {
				pieces[i].repeated = uses[s] > 1
			}
		}
		return pieces
	}
	t := &templateProcessing{single: read("single"), pair: read("pair")}
	return t, *o.err
}

func buildDecoder(o *object, depth int) (decoder, error) {
	var d decoder
	switch kind := o.kind(depth); kind {
	case "ByteLevel":
		o.boolean("add_prefix_space")
		o.boolean("trim_offsets")
		d = byteLevelDecoder{}
	case "WordPiece":
		d = wordPieceDecoder{o.str("prefix"), o.boolean("cleanup")}
	case "BPEDecoder":
		d = bpeDecoder{o.str("suffix")}
	case "Metaspace":
		replacement, scheme := o.metaspace()
		d = metaspaceDecoder{replacement, scheme != prependNever}
	case "CTC":
		d = ctcDecoder{o.str("pad_token"), o.str("word_delimiter_token"), o.boolean("cleanup")}
	case "Replace":
		d = replaceDecoder{o.pattern("pattern"), o.str("content")}
	case "Fuse":
		d = fuseDecoder{}
	case "Strip":
		d = stripDecoder{o.char("content"), o.integer("start"), o.integer("stop")}
	case "ByteFallback":
		d = byteFallbackDecoder{}
	case "Sequence":
		var list decoders
		for _, sub := range o.objects("decoders") {
			e, err := buildDecoder(sub, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, e)
		}
		d = list
	default:
		o.fail("type", "the decoder %q is not known", kind)
	}
	return d, *o.err
}
