package tokenize

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// object is a JSON object of a tokenizer file, with its place in the file for messages. Reading a
// field that is missing or of the wrong type records the first such error in err, so that a
// component reads all its fields and then looks once. Field names match exactly, unlike in
// encoding/json's structs, and unknown fields are ignored: the reference does both.
type object struct {
	path   string
	fields map[string]json.RawMessage
	err    *error
}

// parseObject reads an object from a text that is known to be JSON.
func parseObject(path string, raw json.RawMessage) (*object, error) {
	s := jsonText{text: string(raw)}
	fields, ok := s.members()
	if !ok {
		return nil, refuse("%s: not a JSON object", path)
	}
	return &object{path: path, fields: fields, err: new(error)}, nil
}

func (o *object) fail(name, format string, args ...any) {
	if *o.err == nil {
		*o.err = refuse("%s.%s: %s", o.path, name, fmt.Sprintf(format, args...))
	}
}

// null reports whether a field is missing or null.
func (o *object) null(name string) bool {
	raw, ok := o.fields[name]
	return !ok || string(raw) == "null"
}

// decode reads a field into v and reports whether it was there.
func (o *object) decode(name string, v any, kind string) bool {
	raw, ok := o.fields[name]
	if !ok {
		return false
	}
	if string(raw) == "null" || json.Unmarshal(raw, v) != nil {
		o.fail(name, "%s expected", kind)
	}
	return true
}

func (o *object) require(name string, v any, kind string) {
	if !o.decode(name, v, kind) {
		o.fail(name, "missing (%s expected)", kind)
	}
}

func (o *object) str(name string) (s string) {
	o.require(name, &s, "a string")
	return s
}

// optionalStr reads a string that may be missing or null.
func (o *object) optionalStr(name string) string {
	if o.null(name) {
		return ""
	}
	return o.str(name)
}

func (o *object) boolean(name string) (b bool) {
	o.require(name, &b, "true or false")
	return b
}

// optionalBool reads a boolean that may be missing or null.
func (o *object) optionalBool(name string, missing bool) bool {
	if o.null(name) {
		return missing
	}
	return o.boolean(name)
}

// integer reads a whole number from 0 to 2^31-1, the range of ids and lengths here.
func (o *object) integer(name string) int {
	var n json.Number
	o.require(name, &n, "a whole number")
	v, err := strconv.ParseInt(n.String(), 10, 64)
	if err != nil || v < 0 || v > math.MaxInt32 {
		o.fail(name, "a whole number from 0 to %d expected", math.MaxInt32)
		return 0
	}
	return int(v)
}

// char reads a string of one character.
func (o *object) char(name string) string {
	s := o.str(name)
	if *o.err == nil && utf8.RuneCountInString(s) != 1 {
		o.fail(name, "one character expected, not %q", s)
	}
	return s
}

// object reads a field that holds an object.
func (o *object) object(name string) *object {
	raw, ok := o.fields[name]
	if !ok {
		o.fail(name, "missing (an object expected)")
		return &object{path: o.path + "." + name, err: o.err}
	}
	sub, err := parseObject(o.path+"."+name, raw)
	if err != nil {
		o.fail(name, "an object expected")
		return &object{path: o.path + "." + name, err: o.err}
	}
	sub.err = o.err
	return sub
}

// objects reads a field that holds a list of objects.
func (o *object) objects(name string) []*object {
	var raws []json.RawMessage
	o.require(name, &raws, "a list")
	list := make([]*object, 0, len(raws))
	for i, raw := range raws {
		sub, err := parseObject(fmt.Sprintf("%s.%s[%d]", o.path, name, i), raw)
		if err != nil {
			o.fail(fmt.Sprintf("%s[%d]", name, i), "an object expected")
			return nil
		}
		sub.err = o.err
		list = append(list, sub)
	}
	return list
}

// loneSurrogate reports whether a string of a JSON text has \\uD800 to \\uDFFF without its other
// half. encoding/json would read U+FFFD; the reference rejects the file.
func loneSurrogate(data []byte) bool {
	high := false // the escape just before was a first half
	for i := 0; i < len(data); i++ {
		escape := data[i] == '\\'
		if !escape || i+1 >= len(data) || data[i+1] != 'u' || i+5 >= len(data) {
			if high {
				return true
			}
			if escape {
				i++
			}
			continue
		}
		code, err := strconv.ParseUint(string(data[i+2:i+6]), 16, 16)
		if err != nil {
			return false // no JSON
		}
		low := code >= 0xDC00 && code <= 0xDFFF
		if high != low {
			return true
		}
		high = code >= 0xD800 && code <= 0xDBFF
		i += 5
	}
	return high
}

// score reads a number as the reference's JSON parser, serde_json, does: the digits as one 64-bit
// integer, further digits dropped, then one multiplication or division by a power of ten. That is
// not always the nearest float64, and the last bit decides between segmentations of equal score.
func score(s string) (float64, bool) {
	if _, err := strconv.ParseFloat(s, 64); err != nil {
		return 0, false // not a number, or out of range
	}
	negative := s[0] == '-'
	s = strings.TrimPrefix(s, "-")
	significand, exponent := uint64(0), 0
	fraction, full := false, false
	i := 0
	for ; i < len(s) && s[i] != 'e' && s[i] != 'E'; i++ {
		if s[i] == '.' {
			fraction = true
			continue
		}
		d := uint64(s[i] - '0')
		if full = full || significand > (math.MaxUint64-d)/10; full {
			if !fraction {
				exponent++
			}
			continue
		}
		significand = 10*significand + d
		if fraction {
			exponent--
		}
	}
	if i < len(s) {
		e, err := strconv.Atoi(s[i+1:])
		if err != nil {
			return 0, false
		}
		exponent += e
	}
	f := float64(significand)
	for ; exponent < -308 && f != 0; exponent += 308 {
		f /= 1e308
	}
	switch {
	case f == 0:
	case exponent > 308:
		return 0, false
	case exponent >= 0:
		f *= powerOfTen(exponent)
	default:
		f /= powerOfTen(-exponent)
	}
	if negative {
		f = -f
	}
	return f, !math.IsInf(f, 0)
}

// powerOfTen is the float64 nearest to 10^n, for n up to 308; math.Pow10 is not always.
func powerOfTen(n int) float64 {
	f, _ := strconv.ParseFloat("1e"+strconv.Itoa(n), 64)
	return f
}
