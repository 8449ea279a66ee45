#ifndef XPIPE_ORT_SHIM_H
#define XPIPE_ORT_SHIM_H

#include <stddef.h>
#include <stdint.h>

// What onnxruntime_go does not wrap, or wraps so that every output is copied and
// float16 and scalar outputs fail. Functions that can fail return the code of
// OrtErrorCode (0 is success) and a message to free(); -1 is out of memory.

// One tensor given to a run. data is NULL where there are no elements.
typedef struct {
	void *data;
	size_t bytes;
	const int64_t *dims;
	size_t rank;
	int type; // ONNXTensorElementDataType
} xort_input;

// One output of a run. value is for xort_release, dims for free().
typedef struct {
	void *value;
	void *data;
	int64_t *dims;
	size_t rank;
	int type; // 0 if it is no tensor
} xort_output;

// What a session says about an input or output. Everything is for free(), with
// xort_free_spec.
typedef struct {
	char *name;
	int type;      // 0 if it is no tensor
	int has_shape; // 0 if the number of dimensions is not known
	size_t rank;
	int64_t *dims;    // -1 where not fixed
	char **dim_names; // "" where not named
} xort_spec;

// Loads the library and returns its version, which stays valid; on failure NULL,
// and why in *message. The library stays loaded.
const char *xort_probe(const char *path, void **base, char **message);
// Takes the C API of a probed library for all calls that follow.
int xort_use(void *base);

int xort_count(void *session, int outputs, size_t *count, char **message);
int xort_describe(void *session, int outputs, size_t index, xort_spec *spec, char **message);
void xort_free_spec(xort_spec *spec);
int xort_providers(char ***names, int *count, char **message);
void xort_free_providers(char **names, int count);

int xort_run(void *session, void *run_options, size_t nin, const char **in_names, const xort_input *in,
	size_t nout, const char **out_names, xort_output *out, char **message);
void xort_release(void *value);
// Allocates memory for free(); NULL if there is none, where C.malloc ends the program.
void *xort_alloc(size_t bytes);

// Asks a session that is being created with these options to give up.
void xort_cancel_load(void *session_options);

// Providers may replace the handlers that Go's runtime needs. Save returns NULL
// where there is nothing to save.
void *xort_save_signals(void);
void xort_restore_signals(void *saved);

#endif
