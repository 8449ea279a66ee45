// Package ops holds the operators of the pure-Go engine, with the semantics of the ONNX operator
// specification. An operator is built once, when a graph is opened: it checks its attributes and
// prepares what depends only on them and on constant inputs. The Kernel it returns then computes
// outputs from inputs, any number of times and concurrently.
//
// Operators know tensors and slices. Planning, memory reuse and the order of nodes belong to
// package fallback; inner loops to package kernel.
package ops

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// Kernel computes out from in. in has an entry for each input of the node, nil for an optional one
// that is left out; Kernel does not change it. Kernel sets every entry of out that the operator
// defines, to a tensor allocated from x, or to an input or a tensor that begins where an input
// begins. An entry never begins inside an input: package fallback tells by the address which
// tensors share memory.
type Kernel func(x *Context, in, out []*tensor.Tensor) error

// Limits on what one operator may ask for, so that a graph of a few bytes cannot take the machine's
// memory.
const (
	// MaxTensorBytes is the largest tensor a graph may compute.
	MaxTensorBytes = 2 << 30
	// maxRank bounds the number of dimensions.
	maxRank = 64
)

// Context gives a running operator memory and cores, and tells it when to stop.
type Context struct {
	ctx     context.Context
	threads int
	memory  Memory
	wanted  []bool
	made    []made // of left operands, for products to come
}

// Memory hands out room for tensors.
type Memory interface {
	// Alloc returns a tensor whose elements are not set. When a kernel returns, the tensors that it
	// allocated and did not return are taken back.
	Alloc(dtype tensor.DType, shape []int) (*tensor.Tensor, error)
	// Room returns how many bytes Alloc can still give.
	Room() int64
	// A kernel that runs a graph within itself holds the values that it keeps between runs: Hold
	// keeps a tensor's memory, and Drop lets go of it once. Pass lets go of it when the kernel has
	// returned, for what may be among its outputs.
	Hold(t *tensor.Tensor)
	Drop(t *tensor.Tensor)
	Pass(t *tensor.Tensor)
}

// NewContext returns a context that computes on at most threads cores.
func NewContext(ctx context.Context, threads int, memory Memory) *Context {
	return &Context{ctx: ctx, threads: max(threads, 1), memory: memory}
}

// Err is ctx.Err: not nil when the run is to stop.
func (x *Context) Err() error { return x.ctx.Err() }

// Want says, before the kernel of a graph's node runs, which of its outputs the run needs; nil stands for
// all. A kernel that runs a graph within itself need not compute the others where they are taps.
func (x *Context) Want(outputs []bool) { x.wanted = outputs }

// Memory returns where the run's tensors lie.
func (x *Context) Memory() Memory { return x.memory }

// Threads returns the number of cores to compute on.
func (x *Context) Threads() int { return x.threads }

// Alloc returns a tensor with unset elements, as a result or as scratch. Only the goroutine that
// runs the kernel may call it. Errors wrap engine.ErrGraph if the shape is too large.
func (x *Context) Alloc(dtype tensor.DType, shape []int) (*tensor.Tensor, error) {
	n, err := checkShape(shape)
	if err != nil {
		return nil, err
	}
	if size := dtype.Size(); size > 0 && int64(n) > MaxTensorBytes/int64(size) {
		return nil, graphErr("a tensor %v%s is larger than the limit of %d bytes",
			dtype, tensor.FormatShape(shape), int64(MaxTensorBytes))
	}
	return x.memory.Alloc(dtype, shape)
}

func checkShape(shape []int) (int, error) {
	if len(shape) > maxRank {
		return 0, graphErr("a tensor of %d dimensions; at most %d are supported",
			len(shape), maxRank)
	}
	n, err := tensor.NumElements(shape)
	if err != nil {
		return 0, graphErr("%v", err)
	}
	return n, nil
}

// alloc is Alloc for a type known in the source, with the elements.
func alloc[T tensor.Element](x *Context, shape []int) (*tensor.Tensor, []T, error) {
	t, err := x.Alloc(tensor.TypeOf[T](), shape)
	if err != nil {
		return nil, nil, err
	}
	return t, tensor.Data[T](t), nil
}

// unclearedWords is from how many words on memory is not cleared: 64 KiB.
const unclearedWords = 8192

// Uncleared allocates memory without setting it to zero, which would take as long as a third of
// what an operator does that only moves its elements. Of the standard library only strings.Builder
// allocates like that.
func Uncleared(words int) []uint64 {
	if words < unclearedWords {
		return make([]uint64, words)
	}
	var b strings.Builder
	b.Grow(8 * words)
	b.WriteByte(0) // the memory of an empty string could be any
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.StringData(b.String()))), words)
}

// zeros is alloc with every element 0.
func zeros[T tensor.Element](x *Context, shape []int) (*tensor.Tensor, []T, error) {
	t, d, err := alloc[T](x, shape)
	if err == nil {
		clear(d)
	}
	return t, d, err
}

// Parallel cuts [0,n) into parts and calls f for each, on up to Threads cores at once. grain is the
// least number of items worth a call. A core that gets free takes the next part. Once the run is to
// stop, no more parts begin; Parallel returns the context's error when all calls have returned.
func (x *Context) Parallel(n, grain int, f func(lo, hi int)) error {
	return x.parallel(n, grain, func(_, lo, hi int) { f(lo, hi) })
}

// ParallelScratch is Parallel that gives each call scratch floats, their contents unset, which no
// other call uses at the same time.
func (x *Context) ParallelScratch(n, grain, floats int,
	f func(lo, hi int, scratch []float32)) error {
	_, room, err := alloc[float32](x, []int{x.workers(n, grain), floats})
	if err != nil {
		return err
	}
	return x.parallel(n, grain,
		func(worker, lo, hi int) { f(lo, hi, room[worker*floats:(worker+1)*floats]) })
}

// workers returns how many cores n items keep busy.
func (x *Context) workers(n, grain int) int {
	grain = max(grain, 1)
	return min(x.threads, (n+grain-1)/grain)
}

func (x *Context) parallel(n, grain int, f func(worker, lo, hi int)) error {
	kernel.Share(x.ctx, x.threads, n, grain, f)
	return x.Err()
}

// graphErr is an error about the graph: what a node asks for is not possible.
// GraphError makes an error about a graph, which wraps engine.ErrGraph.
func GraphError(format string, args ...any) error { return graphErr(format, args...) }

func graphErr(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{engine.ErrGraph}, args...)...)
}

// typeErr says that an operator does not support the element type of t.
func typeErr(what string, t *tensor.Tensor) error {
	return graphErr("%s of %v elements is not supported", what, t.DType())
}

// ErrUnsupported is wrapped by errors of Build about an operator the engine lacks. It comes
// together with engine.ErrGraph.
var ErrUnsupported = errors.New("unsupported operator")
