package oip_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/server"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/tensor"
)

// shared answers for all tests, which change nothing. Its folder's models have a slash in their names.
var shared = sync.OnceValue(func() http.Handler {
	s, err := server.New(server.Config{Version: "v1.2.3", Serving: serving.Config{
		Catalog: &serving.Catalog{Dir: "../../testdata"}, Idle: -1,
	}})
	if err != nil {
		panic(err)
	}
	return s.Handler()
})

type object = map[string]any

// ask sends a request; header are names and values.
func ask(method, path string, body []byte, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	shared().ServeHTTP(w, r)
	return w
}

func get(t *testing.T, path string) object {
	t.Helper()
	w := ask(http.MethodGet, path, nil)
	return decoded(t, w)
}

func decoded(t *testing.T, w *httptest.ResponseRecorder) (v object) {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestHealth(t *testing.T) {
	t.Parallel()
	if v := get(t, "/v2"); v["name"] != "xpipe" || v["version"] != "v1.2.3" {
		t.Errorf("%v", v)
	}
	if v := get(t, "/v2/health/live"); v["live"] != true {
		t.Errorf("%v", v)
	}
	if v := get(t, "/v2/health/ready"); v["ready"] != true || v["live"] != true {
		t.Errorf("%v", v)
	}
	for _, path := range []string{
		"clip-mini/ready", "clip-mini/versions/1/ready", "clip-mini.text_encoder/ready", "layouts/clip-optimum/ready",
		"layouts%2Fclip-optimum/ready", "families/blip2-opt/bundle.decoder/ready",
	} {
		if v := get(t, "/v2/models/"+path); v["ready"] != true {
			t.Errorf("%s: %v", path, v)
		}
	}
}

// The graph by its model's name is the one that sees.
func TestMetadata(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"clip-mini", "clip-mini.vision_encoder", "clip-mini/versions/1"} {
		v := get(t, "/v2/models/"+name)
		inputs := v["inputs"].([]any)
		if v["platform"] != "onnx_onnxv1" || len(inputs) != 1 || inputs[0].(object)["datatype"] != "FP32" ||
			inputs[0].(object)["name"] != "pixel_values" || len(inputs[0].(object)["shape"].([]any)) != 4 {
			t.Errorf("%s: %v", name, v)
		}
	}
	if v := get(t, "/v2/models/families/whisper/bundle"); v["inputs"].([]any)[0].(object)["name"] != "input_features" {
		t.Errorf("%v", v)
	}
	if v := get(t, "/v2/models/clip-mini/config"); v["platform"] != "onnx_onnxv1" {
		t.Errorf("%v", v)
	}
}

// texts are a request of clip-mini.text_encoder, and want what the library makes of it.
func texts(t *testing.T) (ids []int64, want map[string]*tensor.Tensor) {
	t.Helper()
	p, err := api.Open(t.Context(), "clip-mini")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ids = []int64{5, 6, 7, 8, 9, 10}
	in := map[string]*tensor.Tensor{}
	for _, g := range p.Graphs() {
		for _, spec := range g.Inputs {
			if g.Role == "text_encoder" {
				values := []int64{1, 1, 1, 1, 1, 1}
				if spec.Name == "input_ids" {
					values = ids
				}
				in[spec.Name] = tensor.Must(tensor.New([]int{2, 3}, values))
			}
		}
	}
	if want, err = p.RunGraph(t.Context(), "text_encoder", in); err != nil {
		t.Fatal(err)
	}
	return ids, want
}

// Flat and nested JSON and binary data give the library's numbers, as JSON and as bytes.
func TestInfer(t *testing.T) {
	t.Parallel()
	ids, want := texts(t)
	said := get(t, "/v2/models/clip-mini.text_encoder")
	request := func(data any, parameters object) object {
		var inputs []object
		for _, in := range said["inputs"].([]any) {
			name := in.(object)["name"]
			one := object{"name": name, "datatype": "INT64", "shape": []int{2, 3}, "data": []int{1, 1, 1, 1, 1, 1}}
			if name == "input_ids" {
				one["data"] = data
				if data == nil {
					delete(one, "data")
					one["parameters"] = object{"binary_data_size": 48}
				}
			}
			inputs = append(inputs, one)
		}
		return object{"id": "7", "inputs": inputs, "parameters": parameters}
	}
	check := func(w *httptest.ResponseRecorder) {
		t.Helper()
		if w.Code != http.StatusOK {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		body := w.Body.Bytes()
		var tail []byte
		if n, err := strconv.Atoi(w.Header().Get("Inference-Header-Content-Length")); err == nil {
			body, tail = body[:n], body[n:]
		}
		var v struct {
			ID, Model_Name, Model_Version string
			Outputs                       []struct {
				Name, Datatype string
				Shape          []int
				Data           []float32
				Parameters     struct{ Binary_Data_Size int }
			}
		}
		if err := json.Unmarshal(body, &v); err != nil {
			t.Fatal(err)
		}
		if v.ID != "7" || v.Model_Name != "clip-mini.text_encoder" || v.Model_Version != "1" || len(v.Outputs) != len(want) {
			t.Errorf("%s", body)
		}
		for _, o := range v.Outputs {
			if n := o.Parameters.Binary_Data_Size; n > 0 {
				o.Data = make([]float32, n/4)
				binary.Decode(tail[:n], binary.LittleEndian, o.Data)
				tail = tail[n:]
			}
			values := tensor.Data[float32](want[o.Name])
			if len(values) != len(o.Data) || o.Datatype != "FP32" || fmt.Sprint(o.Shape) != fmt.Sprint(want[o.Name].Shape()) {
				t.Fatalf("%s: %d values of %v", o.Name, len(o.Data), o.Shape)
			}
			for i, x := range o.Data {
				if math.Abs(float64(x-values[i])) > 1e-5 {
					t.Fatalf("%s[%d]: %v, not %v", o.Name, i, x, values[i])
				}
			}
		}
		if len(tail) > 0 {
			t.Errorf("%d bytes are left", len(tail))
		}
	}
	const path = "/v2/models/clip-mini.text_encoder/infer"
	send := func(v object) *httptest.ResponseRecorder {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return ask(http.MethodPost, path, data)
	}
	check(send(request(ids, nil)))
	check(send(request([][]int64{ids[:3], ids[3:]}, nil)))
	check(send(request(ids, object{"binary_data_output": true})))
	head, err := json.Marshal(request(nil, object{"binary_data_output": true}))
	if err != nil {
		t.Fatal(err)
	}
	whole, err := binary.Append(bytes.Clone(head), binary.LittleEndian, ids)
	if err != nil {
		t.Fatal(err)
	}
	length := strconv.Itoa(len(head))
	check(ask(http.MethodPost, path, whole, "Inference-Header-Content-Length", length))
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(whole)
	z.Close()
	check(ask(http.MethodPost, path, zipped.Bytes(), "Inference-Header-Content-Length", length, "Content-Encoding", "gzip"))
}

func TestRefused(t *testing.T) {
	t.Parallel()
	in := func(fields string) string { return `{"inputs":[{"name":"pixel_values",` + fields + `}]}` }
	for _, test := range []struct {
		path, body string
		status     int
		says       string
		header     []string
	}{
		{"none/infer", in(`"shape":[1],"datatype":"FP32","data":[1]`), 404, "no model", nil},
		{"clip-mini.none/infer", in(`"shape":[1],"datatype":"FP32","data":[1]`), 404, "clip-mini.text_encoder", nil},
		{"clip-mini/versions/2/infer", in(`"shape":[1],"datatype":"FP32","data":[1]`), 404, "no version", nil},
		{"clip-mini/guess", `{}`, 404, "nothing", nil},
		{"clip-mini/infer", ``, 400, "JSON", nil},
		{"clip-mini/infer", `{"inputs":[]}`, 400, "no inputs", nil},
		{"clip-mini/infer", in(`"shape":[1],"datatype":"FP32"`), 400, "neither data", nil},
		{"clip-mini/infer", in(`"datatype":"FP32","data":[1]`), 400, "no shape", nil},
		{"clip-mini/infer", in(`"shape":[-1],"datatype":"FP32","data":[1]`), 400, "pixel_values", nil},
		{"clip-mini/infer", in(`"shape":[4611686018427387904,4],"datatype":"FP32","data":[1]`), 400, "pixel_values", nil},
		{"clip-mini/infer", in(`"shape":[2],"datatype":"FP32","data":[1]`), 400, "2 elements", nil},
		{"clip-mini/infer", in(`"shape":[2,2],"datatype":"FP32","data":[[1,2,3],[4]]`), 400, "nested", nil},
		{"clip-mini/infer", in(`"shape":[2,2],"datatype":"FP32","data":[[1,2],3,4]`), 400, "nested", nil},
		{"clip-mini/infer", in(`"shape":[2,2],"datatype":"FP32","data":[1,2,[3,4]]`), 400, "nested", nil},
		{"clip-mini/infer", in(`"shape":[1],"datatype":"FP32","data":["x"]`), 400, "text", nil},
		{"clip-mini/infer", in(`"shape":[1],"datatype":"FP32","data":[1e99]`), 400, "1e99", nil},
		{"clip-mini/infer", in(`"shape":[1],"datatype":"INT8","data":[300]`), 400, "300", nil},
		{"clip-mini/infer", in(`"shape":[1],"datatype":"FP16","data":[1]`), 400, "binary", nil},
		{"clip-mini/infer", in(`"shape":[1],"datatype":"BYTES","data":["x"]`), 400, "BYTES", nil},
		{"clip-mini/infer", in(`"shape":[1],"datatype":"FP32","data":[1]`), 400, "pixel_values", nil},
		{"clip-mini/infer", `{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}`, 400, "pixel_values", nil},
		{"clip-mini/infer", in(`"shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}`), 400, "0 bytes are there", nil},
		{"clip-mini/infer", `{}`, 400, "Inference-Header-Content-Length", []string{"Inference-Header-Content-Length", "9"}},
		{"clip-mini/infer", `{}`, 400, "Content-Encoding", []string{"Content-Encoding", "br"}},
		{"clip-mini/infer", `{}`, 400, "damaged", []string{"Content-Encoding", "gzip"}},
		{"clip-mini.text_encoder/infer", `{"inputs":[{"name":"input_ids","shape":[1,1],"datatype":"INT64","data":[99999999]},` +
			`{"name":"attention_mask","shape":[1,1],"datatype":"INT64","data":[1]}]}`, 400, "", nil},
	} {
		w := ask(http.MethodPost, "/v2/models/"+test.path, []byte(test.body), test.header...)
		var v map[string]string
		err := json.Unmarshal(w.Body.Bytes(), &v)
		if err != nil || w.Code != test.status || len(v) != 1 || v["error"] == "" || !strings.Contains(v["error"], test.says) {
			t.Errorf("%s %s: status %d, %s", test.path, test.body, w.Code, w.Body)
		}
	}
	for _, path := range []string{"/v2/models/none", "/v2/models/", "/v2/none", "/v2/models/clip-mini/versions/3", "/v2/logging"} {
		w := ask(http.MethodGet, path, nil)
		var v map[string]string
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil || w.Code != http.StatusNotFound || v["error"] == "" {
			t.Errorf("%s: status %d, %s", path, w.Code, w.Body)
		}
	}
}

func TestRepository(t *testing.T) {
	t.Parallel()
	w := ask(http.MethodPost, "/v2/repository/index", nil)
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"clip-mini"`) {
		t.Errorf("status %d, %s", w.Code, w.Body)
	}
	for path, status := range map[string]int{
		"clip-mini/load": 200, "clip-mini.text_encoder/load": 200, "none/load": 404, "none/unload": 404, "clip-mini/none": 404,
		"lxmert-mini/unload": 200,
	} {
		if w := ask(http.MethodPost, "/v2/repository/models/"+path, nil); w.Code != status {
			t.Errorf("%s: status %d, %s", path, w.Code, w.Body)
		}
	}
}
