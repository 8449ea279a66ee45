package oip

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"

	"github.com/crossattn/xpipe/server/web"
	"github.com/crossattn/xpipe/tensor"
)

// fromBytes makes a tensor of little-endian elements, as many as the shape has.
func fromBytes(d tensor.DType, shape []int, data []byte) (*tensor.Tensor, error) {
	switch d {
	case tensor.Float32:
		return decoded[float32](shape, data)
	case tensor.Float64:
		return decoded[float64](shape, data)
	case tensor.Float16:
		return decoded[tensor.Half](shape, data)
	case tensor.BFloat16:
		return decoded[tensor.BF16](shape, data)
	case tensor.Int64:
		return decoded[int64](shape, data)
	case tensor.Int32:
		return decoded[int32](shape, data)
	case tensor.Int8:
		return decoded[int8](shape, data)
	case tensor.Uint8:
		return decoded[uint8](shape, data)
	}
	return decoded[bool](shape, data)
}

func decoded[T tensor.Element](shape []int, data []byte) (*tensor.Tensor, error) {
	values := make([]T, len(data)/tensor.TypeOf[T]().Size())
	if _, err := binary.Decode(data, binary.LittleEndian, values); err != nil {
		return nil, err
	}
	return tensor.New(shape, values)
}

// writeBytes writes a tensor's elements, little-endian, and returns their bytes.
func writeBytes(b *bytes.Buffer, t *tensor.Tensor) (n int, err error) {
	return t.Len() * t.DType().Size(), binary.Write(b, binary.LittleEndian, values(t))
}

// values are a tensor's elements as a slice of their type.
func values(t *tensor.Tensor) any {
	switch t.DType() {
	case tensor.Float32:
		return tensor.Data[float32](t)
	case tensor.Float64:
		return tensor.Data[float64](t)
	case tensor.Float16:
		return tensor.Data[tensor.Half](t)
	case tensor.BFloat16:
		return tensor.Data[tensor.BF16](t)
	case tensor.Int64:
		return tensor.Data[int64](t)
	case tensor.Int32:
		return tensor.Data[int32](t)
	case tensor.Int8:
		return tensor.Data[int8](t)
	case tensor.Uint8:
		return tensor.Data[uint8](t)
	}
	return tensor.Data[bool](t)
}

// toJSON is a tensor's elements, flat, as JSON may hold them.
func toJSON(t *tensor.Tensor) (any, error) {
	switch t.DType() {
	case tensor.Float16, tensor.BFloat16:
		return nil, web.Badf("%s has no form in JSON; ask for it with binary_data", datatype(t.DType()))
	case tensor.Uint8:
		wide := make([]int, t.Len()) // which JSON would write as base64
		for i, v := range tensor.Data[uint8](t) {
			wide[i] = int(v)
		}
		return wide, nil
	case tensor.Float32:
		for _, v := range tensor.Data[float32](t) {
			if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
				return nil, errNoNumber
			}
		}
	case tensor.Float64:
		for _, v := range tensor.Data[float64](t) {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, errNoNumber
			}
		}
	}
	return values(t), nil
}

var errNoNumber = web.Badf("it has values that JSON has no form for (NaN or infinite); ask for it with binary_data")

// fromJSON makes a tensor of JSON, flat or nested as the shape has it, of n elements.
func fromJSON(d tensor.DType, shape []int, n int, data json.RawMessage) (*tensor.Tensor, error) {
	if len(data) == 0 {
		return nil, web.Badf("it has neither data nor binary_data_size")
	}
	words, err := flat(data, shape, n)
	if err != nil {
		return nil, err
	}
	switch d {
	case tensor.Float32:
		return parsed(shape, words, func(s string) (float32, error) {
			x, err := strconv.ParseFloat(s, 32)
			return float32(x), err
		})
	case tensor.Float64:
		return parsed(shape, words, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
	case tensor.Int64:
		return parsed(shape, words, func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) })
	case tensor.Int32:
		return parsed(shape, words, func(s string) (int32, error) {
			x, err := strconv.ParseInt(s, 10, 32)
			return int32(x), err
		})
	case tensor.Int8:
		return parsed(shape, words, func(s string) (int8, error) {
			x, err := strconv.ParseInt(s, 10, 8)
			return int8(x), err
		})
	case tensor.Uint8:
		return parsed(shape, words, func(s string) (uint8, error) {
			x, err := strconv.ParseUint(s, 10, 8)
			return uint8(x), err
		})
	case tensor.Bool:
		return parsed(shape, words, func(s string) (bool, error) {
			if s != "true" && s != "false" {
				return false, strconv.ErrSyntax
			}
			return s == "true", nil
		})
	}
	return nil, web.Badf("%s has no form in JSON; send it as binary data", datatype(d))
}

func parsed[T tensor.Element](shape []int, words [][]byte, parse func(string) (T, error)) (*tensor.Tensor, error) {
	values := make([]T, len(words))
	for i, word := range words {
		v, err := parse(string(word))
		if err != nil {
			return nil, web.Badf("element %d of data is %s, no %s", i, web.Shortened(string(word)), datatype(tensor.TypeOf[T]()))
		}
		values[i] = v
	}
	return tensor.New(shape, values)
}

// flat lists the n elements of an array of JSON, which is valid: flat, or nested as the shape has it.
func flat(data []byte, shape []int, n int) (words [][]byte, err error) {
	var counts []int // of what each array that is open holds so far
	deepest := 0
	misfit := func() error {
		return web.Badf("data is neither a flat list of %d elements nor nested as the shape %s", n, tensor.FormatShape(shape))
	}
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ',':
		case c == '[':
			if len(counts) > 0 {
				counts[len(counts)-1]++
			}
			counts = append(counts, 0)
			if len(counts) > max(len(shape), 1) || len(words) > 0 && len(counts) > deepest {
				return nil, misfit()
			}
			deepest = max(deepest, len(counts))
		case c == ']':
			depth := len(counts)
			if deepest > 1 && counts[depth-1] != shape[depth-1] {
				return nil, misfit()
			}
			counts = counts[:depth-1]
		case c == '"' || c == '{':
			return nil, web.Badf("data has a text or an object, no number")
		default:
			if len(counts) == 0 || len(counts) != deepest || len(words) == n {
				return nil, misfit()
			}
			end := i
			for end < len(data) && !bytes.ContainsRune([]byte(" \t\r\n,]"), rune(data[end])) {
				end++
			}
			words = append(words, data[i:end])
			counts[len(counts)-1]++
			i = end - 1
		}
	}
	if len(words) != n || deepest == 0 || deepest > 1 && deepest != len(shape) && n > 0 {
		return nil, misfit()
	}
	return words, nil
}
