//go:build cgo && !noort

#include "shim.h"

#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <stdio.h>
#include <windows.h>
#else
#include <dlfcn.h>
#include <signal.h>
#endif

// The C API is a table of functions to which releases only append, so a place in
// it means the same in every library that has it. The places are those of
// onnxruntime_c_api.h; TestShimPlaces compares them with the header.
enum {
	ORT_GetErrorCode = 1,
	ORT_GetErrorMessage = 2,
	ORT_Run = 9,
	ORT_SessionGetInputCount = 30,
	ORT_SessionGetOutputCount = 31,
	ORT_SessionGetInputTypeInfo = 33,
	ORT_SessionGetOutputTypeInfo = 34,
	ORT_SessionGetInputName = 36,
	ORT_SessionGetOutputName = 37,
	ORT_CreateTensorWithDataAsOrtValue = 49,
	ORT_GetTensorMutableData = 51,
	ORT_CastTypeInfoToTensorInfo = 55,
	ORT_GetTensorElementType = 60,
	ORT_GetDimensionsCount = 61,
	ORT_GetDimensions = 62,
	ORT_GetSymbolicDimensions = 63,
	ORT_GetTensorTypeAndShape = 65,
	ORT_GetValueType = 67,
	ORT_CreateCpuMemoryInfo = 69,
	ORT_AllocatorFree = 76,
	ORT_GetAllocatorWithDefaultOptions = 78,
	ORT_ReleaseStatus = 93,
	ORT_ReleaseValue = 96,
	ORT_ReleaseTypeInfo = 98,
	ORT_ReleaseTensorTypeAndShapeInfo = 99,
	ORT_GetAvailableProviders = 125,
	ORT_ReleaseAvailableProviders = 126,
	ORT_SessionOptionsSetLoadCancellationFlag = 293,
	ORT_TensorTypeAndShape_HasShape = 390,
};

#define XORT_API_VERSION 24
#define TYPE_TENSOR 1   // ONNX_TYPE_TENSOR
#define ELEMENT_STRING 8 // ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING
#define OUT_OF_MEMORY (-1)

typedef void *status; // OrtStatus *; NULL is success

static void *const *api;
static void *cpu_memory;

#define CALL(type, name) ((type)api[ORT_##name])

typedef struct {
	void *const *(*get_api)(uint32_t version);
	const char *(*get_version)(void);
} api_base;

static char *copy_text(const char *s) {
	size_t n = strlen(s) + 1;
	char *c = malloc(n);
	if (c) memcpy(c, s, n);
	return c;
}

// Turns a status into its code and message, and releases it.
static int finish(status s, char **message) {
	if (!s) return 0;
	int code = CALL(int (*)(status), GetErrorCode)(s);
	*message = copy_text(CALL(const char *(*)(status), GetErrorMessage)(s));
	CALL(void (*)(status), ReleaseStatus)(s);
	return code ? code : 1;
}

static void drop(status s) {
	if (s) CALL(void (*)(status), ReleaseStatus)(s);
}

#ifdef _WIN32
static void *open_library(const char *path, char **message) {
	int n = MultiByteToWideChar(CP_UTF8, 0, path, -1, NULL, 0);
	wchar_t *wide = n > 0 ? malloc(n * sizeof(wchar_t)) : NULL;
	if (!wide) return NULL;
	MultiByteToWideChar(CP_UTF8, 0, path, -1, wide, n);
	void *h = LoadLibraryExW(wide, NULL, LOAD_WITH_ALTERED_SEARCH_PATH);
	free(wide);
	if (!h) {
		char text[64];
		snprintf(text, sizeof text, "Windows error %lu", (unsigned long)GetLastError());
		*message = copy_text(text);
	}
	return h;
}
static void *find_symbol(void *library, const char *name) { return (void *)GetProcAddress((HMODULE)library, name); }
#else
static void *open_library(const char *path, char **message) {
	void *h = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
	if (!h) *message = copy_text(dlerror());
	return h;
}
static void *find_symbol(void *library, const char *name) { return dlsym(library, name); }
#endif

const char *xort_probe(const char *path, void **base, char **message) {
	void *library = open_library(path, message);
	if (!library) return NULL;
	const api_base *(*get_base)(void) = (const api_base *(*)(void))find_symbol(library, "OrtGetApiBase");
	const api_base *b = get_base ? get_base() : NULL;
	if (!b) {
		*message = copy_text("it has no OrtGetApiBase");
		return NULL;
	}
	*base = (void *)b;
	return b->get_version();
}

int xort_use(void *base) {
	api = ((const api_base *)base)->get_api(XORT_API_VERSION);
	if (!api) return 0;
	status s = CALL(status(*)(int, int, void **), CreateCpuMemoryInfo)(0, 0, &cpu_memory);
	if (s) {
		drop(s);
		return 0;
	}
	return 1;
}

int xort_count(void *session, int outputs, size_t *count, char **message) {
	typedef status (*fn)(void *, size_t *);
	return finish((outputs ? CALL(fn, SessionGetOutputCount) : CALL(fn, SessionGetInputCount))(session, count), message);
}

// Reads the dimensions of a tensor's type into memory for free().
static status read_dims(void *info, size_t *rank, int64_t **dims) {
	status s = CALL(status(*)(void *, size_t *), GetDimensionsCount)(info, rank);
	if (s || !*rank) return s;
	*dims = malloc(*rank * sizeof(int64_t));
	if (!*dims) abort(); // a few bytes: nothing would work any more
	return CALL(status(*)(void *, int64_t *, size_t), GetDimensions)(info, *dims, *rank);
}

static status describe_tensor(void *info, xort_spec *spec) {
	status s = CALL(status(*)(void *, int *), GetTensorElementType)(info, &spec->type);
	if (s) return s;
	spec->has_shape = CALL(_Bool(*)(void *), TensorTypeAndShape_HasShape)(info);
	s = read_dims(info, &spec->rank, &spec->dims);
	if (s || !spec->rank) return s;
	spec->dim_names = calloc(spec->rank, sizeof(char *));
	const char **names = calloc(spec->rank, sizeof(char *));
	if (!names || !spec->dim_names) abort();
	s = CALL(status(*)(void *, const char **, size_t), GetSymbolicDimensions)(info, names, spec->rank);
	for (size_t i = 0; !s && i < spec->rank; i++) spec->dim_names[i] = copy_text(names[i] ? names[i] : "");
	free(names);
	return s;
}

int xort_describe(void *session, int outputs, size_t index, xort_spec *spec, char **message) {
	typedef status (*name_fn)(void *, size_t, void *, char **);
	typedef status (*type_fn)(void *, size_t, void **);
	memset(spec, 0, sizeof *spec);
	void *allocator = NULL, *type = NULL, *info = NULL;
	char *name = NULL;
	status s = CALL(status(*)(void **), GetAllocatorWithDefaultOptions)(&allocator);
	if (!s) s = (outputs ? CALL(name_fn, SessionGetOutputName) : CALL(name_fn, SessionGetInputName))(session, index, allocator, &name);
	if (!s) {
		spec->name = copy_text(name);
		drop(CALL(status(*)(void *, void *), AllocatorFree)(allocator, name));
		s = (outputs ? CALL(type_fn, SessionGetOutputTypeInfo) : CALL(type_fn, SessionGetInputTypeInfo))(session, index, &type);
	}
	if (!s) s = CALL(status(*)(void *, void **), CastTypeInfoToTensorInfo)(type, &info);
	if (!s && info) s = describe_tensor(info, spec);
	if (type) CALL(void (*)(void *), ReleaseTypeInfo)(type);
	return finish(s, message);
}

void xort_free_spec(xort_spec *spec) {
	free(spec->name);
	free(spec->dims);
	for (size_t i = 0; spec->dim_names && i < spec->rank; i++) free(spec->dim_names[i]);
	free(spec->dim_names);
}

int xort_providers(char ***names, int *count, char **message) {
	return finish(CALL(status(*)(char ***, int *), GetAvailableProviders)(names, count), message);
}

void xort_free_providers(char **names, int count) {
	drop(CALL(status(*)(char **, int), ReleaseAvailableProviders)(names, count));
}

void xort_release(void *value) { CALL(void (*)(void *), ReleaseValue)(value); }

void *xort_alloc(size_t bytes) { return malloc(bytes); }

// Fills an output from its value, whose owner it becomes.
static status read_output(void *value, xort_output *out) {
	int kind = 0;
	void *info = NULL;
	out->value = value;
	status s = CALL(status(*)(void *, int *), GetValueType)(value, &kind);
	if (s || kind != TYPE_TENSOR) return s;
	s = CALL(status(*)(void *, void **), GetTensorTypeAndShape)(value, &info);
	if (s) return s;
	s = CALL(status(*)(void *, int *), GetTensorElementType)(info, &out->type);
	if (!s) s = read_dims(info, &out->rank, &out->dims);
	CALL(void (*)(void *), ReleaseTensorTypeAndShapeInfo)(info);
	if (!s && out->type != ELEMENT_STRING) s = CALL(status(*)(void *, void **), GetTensorMutableData)(value, &out->data);
	return s;
}

int xort_run(void *session, void *run_options, size_t nin, const char **in_names, const xort_input *in,
	size_t nout, const char **out_names, xort_output *out, char **message) {
	typedef status (*create_fn)(void *, void *, size_t, const int64_t *, size_t, int, void **);
	typedef status (*run_fn)(void *, void *, const char *const *, void *const *, size_t, const char *const *, size_t, void **);
	void **values = calloc(nin + nout, sizeof(void *));
	if (!values) return OUT_OF_MEMORY;
	void **results = values + nin;
	memset(out, 0, nout * sizeof *out);
	status s = NULL;
	for (size_t i = 0; !s && i < nin; i++)
		s = CALL(create_fn, CreateTensorWithDataAsOrtValue)(cpu_memory, in[i].data, in[i].bytes, in[i].dims, in[i].rank, in[i].type, &values[i]);
	if (!s) s = CALL(run_fn, Run)(session, run_options, in_names, values, nin, out_names, nout, results);
	for (size_t i = 0; !s && i < nout; i++) {
		s = read_output(results[i], &out[i]);
		results[i] = NULL;
	}
	for (size_t i = 0; i < nin + nout; i++)
		if (values[i]) xort_release(values[i]);
	if (s)
		for (size_t i = 0; i < nout; i++) {
			if (out[i].value) xort_release(out[i].value);
			free(out[i].dims);
		}
	free(values);
	return finish(s, message);
}

void xort_cancel_load(void *session_options) {
	drop(CALL(status(*)(void *, _Bool), SessionOptionsSetLoadCancellationFlag)(session_options, 1));
}

#ifdef _WIN32
void *xort_save_signals(void) { return NULL; }
void xort_restore_signals(void *saved) { (void)saved; }
#else
void *xort_save_signals(void) {
	struct sigaction *saved = calloc(NSIG, sizeof *saved);
	for (int i = 1; saved && i < NSIG; i++) sigaction(i, NULL, &saved[i]);
	return saved;
}

void xort_restore_signals(void *p) {
	struct sigaction *saved = p, now;
	for (int i = 1; saved && i < NSIG; i++)
		if (sigaction(i, NULL, &now) == 0 && now.sa_sigaction != saved[i].sa_sigaction) sigaction(i, &saved[i], NULL);
	free(saved);
}
#endif
