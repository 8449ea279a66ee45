package oip

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/server/web"
	"github.com/crossattn/xpipe/tensor"
)

// headerLength says how long the JSON is before the binary data.
const headerLength = "Inference-Header-Content-Length"

// request is the JSON of an inference.
type request struct {
	ID         string     `json:"id"`
	Parameters parameters `json:"parameters"`
	Inputs     []input    `json:"inputs"`
	Outputs    []output   `json:"outputs"`
}

// parameters are those of a request, an input or an output that mean something here.
type parameters struct {
	BinaryDataOutput bool    `json:"binary_data_output"`
	BinaryData       *bool   `json:"binary_data"`
	BinaryDataSize   *int    `json:"binary_data_size"`
	Classification   int     `json:"classification"`
	SharedMemory     *string `json:"shared_memory_region"`
}

type input struct {
	Name       string          `json:"name"`
	Shape      []int           `json:"shape"`
	Datatype   string          `json:"datatype"`
	Parameters parameters      `json:"parameters"`
	Data       json.RawMessage `json:"data"`
}

type output struct {
	Name       string     `json:"name"`
	Parameters parameters `json:"parameters"`
}

// made is an output of the answer.
type made struct {
	Name       string         `json:"name"`
	Shape      []int          `json:"shape"`
	Datatype   string         `json:"datatype"`
	Parameters map[string]int `json:"parameters,omitempty"`
	Data       any            `json:"data,omitempty"`
}

// infer runs a graph.
func (h *handlers) infer(w http.ResponseWriter, r *http.Request) error {
	t, err := readTarget(r.PathValue("model"), "infer")
	if err != nil {
		return err
	}
	if t.verb == "" {
		return missingf("there is nothing at POST %s", web.Shortened(r.URL.Path))
	}
	q, binary, err := readRequest(r)
	if err != nil {
		return err
	}
	inputs, err := q.tensors(binary)
	if err != nil {
		return err
	}
	g, release, err := h.open(r, t.name)
	if err != nil {
		return err
	}
	defer release()
	names := make([]string, len(q.Outputs))
	for i, o := range q.Outputs {
		names[i] = o.Name
	}
	start := time.Now()
	results, err := g.model.P.RunGraph(r.Context(), g.spec.Role, inputs, names...)
	if errors.Is(err, engine.ErrGraph) {
		// The graph runs with what its own model gives it; values of this request do not suit it.
		err = api.WithKind(err, api.KindInput)
	}
	h.note(t.name, time.Since(start), err)
	if err != nil {
		return err
	}
	if len(q.Outputs) == 0 {
		for _, spec := range g.spec.Outputs {
			q.Outputs = append(q.Outputs, output{Name: spec.Name})
		}
	}
	return q.answer(w, t.name, results)
}

// mostInflated bounds a request that is sent compressed.
const mostInflated = 64 << 20

// readBody reads a request's body, compressed or not.
func readBody(r *http.Request) ([]byte, error) {
	var body io.Reader = r.Body
	var err error
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
		return io.ReadAll(r.Body)
	case "gzip":
		body, err = gzip.NewReader(r.Body)
	case "deflate":
		body, err = zlib.NewReader(r.Body)
	default:
		return nil, web.Badf("the request's Content-Encoding is %q; gzip and deflate are known", web.Shortened(encoding))
	}
	var data []byte
	if err == nil {
		data, err = io.ReadAll(io.LimitReader(body, mostInflated+1))
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); err != nil && !ok {
		return nil, web.Badf("the compressed request is damaged: %s", err)
	}
	if len(data) > mostInflated {
		return nil, &http.MaxBytesError{Limit: mostInflated}
	}
	return data, err
}

// readRequest reads a request: its JSON, and the binary data behind it.
func readRequest(r *http.Request) (q *request, binary []byte, err error) {
	data, err := readBody(r)
	if err != nil {
		return nil, nil, err
	}
	if text := r.Header.Get(headerLength); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n <= 0 || n > len(data) {
			return nil, nil, web.Badf("%s is %q, and the request has %d bytes", headerLength, web.Shortened(text), len(data))
		}
		data, binary = data[:n], data[n:]
	}
	q = &request{}
	if err := json.Unmarshal(data, q); err != nil {
		return nil, nil, web.Badf("the request is not JSON as wanted: %s", err)
	}
	if len(q.Inputs) == 0 {
		return nil, nil, web.Badf("the request has no inputs")
	}
	for i, o := range q.Outputs {
		switch {
		case o.Parameters.Classification != 0:
			return nil, nil, web.Badf("output %s: classification is not done here", o.Name)
		case o.Parameters.SharedMemory != nil:
			return nil, nil, web.Badf("output %s: shared memory is not done here", o.Name)
		}
		for _, other := range q.Outputs[:i] {
			if other.Name == o.Name {
				return nil, nil, web.Badf("output %s is asked for twice", o.Name)
			}
		}
	}
	return q, binary, nil
}

// tensors are the inputs of a request.
func (q *request) tensors(binary []byte) (map[string]*tensor.Tensor, error) {
	all := map[string]*tensor.Tensor{}
	for _, in := range q.Inputs {
		if all[in.Name] != nil {
			return nil, web.Badf("input %q is given twice", web.Shortened(in.Name))
		}
		t, rest, err := in.tensor(binary)
		if err != nil {
			return nil, web.Badf("input %q: %w", web.Shortened(in.Name), err)
		}
		all[in.Name], binary = t, rest
	}
	if len(binary) > 0 {
		return nil, web.Badf("%d bytes of binary data are left that no input's binary_data_size counts", len(binary))
	}
	return all, nil
}

// tensor is an input's tensor; rest is the binary data of those behind it.
func (in *input) tensor(binary []byte) (t *tensor.Tensor, rest []byte, err error) {
	d := typeOf(in.Datatype)
	n, err := tensor.NumElements(in.Shape)
	switch {
	case d == tensor.Invalid:
		return nil, nil, web.Badf("there are no tensors of datatype %q here", web.Shortened(in.Datatype))
	case in.Shape == nil:
		return nil, nil, web.Badf("it has no shape")
	case err != nil:
		return nil, nil, err
	case in.Parameters.SharedMemory != nil:
		return nil, nil, web.Badf("shared memory is not done here")
	case in.Parameters.BinaryDataSize == nil:
		t, err := fromJSON(d, in.Shape, n, in.Data)
		return t, binary, err
	}
	size := *in.Parameters.BinaryDataSize
	switch {
	case len(in.Data) > 0:
		return nil, nil, web.Badf("it has data and binary_data_size; send one of them")
	case size < 0 || size > len(binary):
		return nil, nil, web.Badf("binary_data_size is %d, and %d bytes are there", size, len(binary))
	case size%d.Size() != 0 || size/d.Size() != n:
		return nil, nil, web.Badf("binary_data_size is %d; %s%s takes %d elements of %d bytes",
			size, in.Datatype, tensor.FormatShape(in.Shape), n, d.Size())
	}
	t, err = fromBytes(d, in.Shape, binary[:size])
	return t, binary[size:], err
}

// answer writes the outputs of a graph, each as JSON or as binary data behind it.
func (q *request) answer(w http.ResponseWriter, name string, results map[string]*tensor.Tensor) error {
	var tail bytes.Buffer
	binary := false
	outputs := []made{}
	for _, o := range q.Outputs {
		t := results[o.Name]
		m := made{Name: o.Name, Shape: append([]int{}, t.Shape()...), Datatype: datatype(t.DType())}
		wanted := q.Parameters.BinaryDataOutput
		if o.Parameters.BinaryData != nil {
			wanted = *o.Parameters.BinaryData
		}
		if wanted {
			binary = true
			n, err := writeBytes(&tail, t)
			if err != nil {
				return err
			}
			m.Parameters = map[string]int{"binary_data_size": n}
		} else {
			var err error
			if m.Data, err = toJSON(t); err != nil {
				return web.Badf("output %s: %w", o.Name, err)
			}
		}
		outputs = append(outputs, m)
	}
	answer := map[string]any{"model_name": name, "model_version": version, "outputs": outputs}
	if q.ID != "" {
		answer["id"] = q.ID
	}
	if !binary {
		return web.WriteJSON(w, http.StatusOK, answer)
	}
	head, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set(headerLength, strconv.Itoa(len(head)))
	w.Header().Set("Content-Length", strconv.Itoa(len(head)+tail.Len()))
	w.Write(head)
	w.Write(tail.Bytes())
	return nil
}
