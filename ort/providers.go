package ort

// provider is one name that engine.Options.Provider takes.
type provider struct {
	name string
	ort  string // in the library's list
	get  string // where to get a library that has it
}

// providerTable is the one list of providers: help texts, documentation and errors are made from
// it. The first is the default. How a session is given one is in (*Engine).addProvider.
var providerTable = []provider{
	{cpu, "CPUExecutionProvider", "every library has it"},
	{"cuda", "CUDAExecutionProvider", gpuLibrary + "CUDA 12 and cuDNN 9 on the library path"},
	{"tensorrt", "TensorrtExecutionProvider",
		gpuLibrary + "CUDA 12, cuDNN 9 and TensorRT 10 on the library path"},
	{"openvino", "OpenVINOExecutionProvider", "pip install onnxruntime-openvino"},
	{"coreml", "CoreMLExecutionProvider",
		"the macOS archive of a release, or pip install onnxruntime on macOS"},
	{"directml", "DmlExecutionProvider", "pip install onnxruntime-directml on Windows"},
}

const gpuLibrary = "pip install onnxruntime-gpu, or the -gpu archive of a release; it needs "

// cpu is the provider that every library has; it takes the operators that another provider lacks.
const cpu = "cpu"

// Providers are the names that engine.Options.Provider takes here, the default first.
var Providers = func() (names []string) {
	for _, p := range providerTable {
		names = append(names, p.name)
	}
	return names
}()

// findProvider looks for a provider by its name here; "" is the default.
func findProvider(name string) (provider, bool) {
	for _, p := range providerTable {
		if p.name == name || name == "" {
			return p, true
		}
	}
	return provider{}, false
}
