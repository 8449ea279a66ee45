package enginetest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/internal/sweep"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// NodeTestsEnv names the environment variable with the folder of the ONNX node tests
// (onnx/backend/test/data/node of PyPI onnx 1.17.0). Without it they are looked for in build/venv.
const NodeTestsEnv = "XPIPE_ONNX_NODE_TESTS"

// RequireEnv names the environment variable that, where it is "1", makes tests without their
// reference fail instead of skip.
const RequireEnv = "XPIPE_REQUIRE_REFS"

// nodeTestKinds are the folders of tests of one form that lie beside the node tests: models of a few
// nodes, some of which PyTorch exported.
var nodeTestKinds = []string{"node", "simple", "pytorch-converted", "pytorch-operator"}

// NodeTestsDir returns the folder of the ONNX node tests; without them it skips the test, or fails it
// where references are required.
func NodeTestsDir(t *testing.T) string { return nodeTestsDir(t, "node") }

func nodeTestsDir(t *testing.T, kind string) string {
	dir, ok := os.Getenv(NodeTestsEnv), true
	if dir == "" {
		dir, ok = findUp("build/venv/lib/python3*/site-packages/onnx/backend/test/data/node")
	}
	if ok {
		dir = filepath.Join(filepath.Dir(dir), kind)
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
	}
	if os.Getenv(RequireEnv) == "1" {
		t.Fatalf("the ONNX %s tests are not there; set %s or run make test", kind, NodeTestsEnv)
	}
	t.Skipf("the ONNX %s tests are not there; set %s or run make test", kind, NodeTestsEnv)
	return ""
}

// The official runner compares so (onnx/backend/test/case/test_case.py).
const (
	nodeRelative = 1e-3
	nodeAbsolute = 1e-7
)

// out lists node tests that no engine behind this interface can run, by prefix of their name, with
// the reason. Tests of element types that package tensor lacks are found by looking at them.
var out = []struct{ prefix, reason string }{
	{"test_training_dropout", "training"},
	{"test_batchnorm_epsilon_training_mode", "training"},
	{"test_batchnorm_example_training_mode", "training"},
	{"test_qlinearmatmul_2D_int8_float", wraps},
	{"test_qlinearmatmul_3D_int8_float", wraps},
	{"test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True",
		"the expected averages divide by the padding that ceil_mode adds, which the specification leaves out of the count; ONNX Runtime fails it too"},
	{"test_dft_inverse", "the expected values hold rounding errors of float32 up to 2e-7 where the sums cancel; ONNX Runtime fails it too"},
	{"test_resize_downsample_scales_cubic_align_corners", fractional},
	{"test_resize_downsample_scales_linear_align_corners", fractional},
}

const fractional = "the expected values align the corner with a fractional length, where the specification says length_resized; ONNX Runtime fails it too"

const wraps = "the expected values wrap at 8 bits where the specification saturates; ONNX Runtime fails it too"

func outFor(name string) string {
	for _, o := range out {
		if strings.HasPrefix(name, o.prefix) {
			return o.reason
		}
	}
	return ""
}

func runNodeTests(t *testing.T, e engine.Engine, kind string, opts Options) {
	dir := nodeTestsDir(t, kind)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	outBy := map[string][]string{}
	exclude := func(name, reason string) {
		counts["out"]++
		outBy[reason] = append(outBy[reason], name)
	}
	for _, entry := range entries {
		name := entry.Name()
		counts["all"]++
		c, err := loadNodeTest(filepath.Join(dir, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if op := c.unclaimed(opts.Supported); op != "" {
			counts["not claimed"]++
			continue
		}
		if c.reason != "" {
			exclude(name, c.reason)
			continue
		}
		if reason := outFor(name); reason != "" {
			exclude(name, reason)
			continue
		}
		if reason := opts.Out[name]; reason != "" {
			exclude(name, e.Name()+" only: "+reason)
			continue
		}
		if opts.Sample > 1 && !sweep.Keeps(counts["all"], opts.Sample) {
			counts["left"]++
			continue
		}
		counts["run"]++
		t.Run(name, func(t *testing.T) {
			if err := c.run(e, opts.Open); err != nil {
				t.Error(err)
				return
			}
			counts["passed"]++
		})
	}
	var reasons []string
	for r := range outBy {
		reasons = append(reasons, r)
	}
	sort.Strings(reasons)
	for _, r := range reasons {
		t.Logf("out, %s (%d): %s", r, len(outBy[r]), strings.Join(outBy[r], " "))
	}
	t.Logf("ONNX %s tests on engine %s: %d in all, %d with operators it does not claim, %d out, "+
		"%d left to make test-full, %d run, %d passed", kind, e.Name(), counts["all"],
		counts["not claimed"], counts["out"], counts["left"], counts["run"], counts["passed"])
}

// nodeTest is one folder of the node tests.
type nodeTest struct {
	source engine.Source
	ops    []onnx.OpCount
	sets   []dataSet
	reason string // why no engine can run it; "" if one can
}

type dataSet struct {
	in, out map[string]*tensor.Tensor
}

func loadNodeTest(dir string) (*nodeTest, error) {
	m, err := onnx.Load(engine.FileSource(filepath.Join(dir, "model.onnx")))
	if err != nil {
		return nil, err
	}
	defer m.Close()
	c := &nodeTest{ops: m.Summary().Ops,
		source: engine.FileSource(filepath.Join(dir, "model.onnx"))}
	for _, v := range append(m.Inputs(), m.Outputs()...) {
		if v.DType == tensor.Invalid {
			c.reason = "an input or output of another type than package tensor has"
		}
	}
	for _, n := range m.Proto.GetGraph().GetNode() {
		if r := innerType(n); r != "" && c.reason == "" {
			c.reason = r
		}
	}
	if c.reason != "" {
		return c, nil
	}
	sets, err := filepath.Glob(filepath.Join(dir, "test_data_set_*"))
	if err != nil {
		return nil, err
	}
	for _, set := range sets {
		in, err := loadTensors(set, "input", m.Inputs())
		if err != nil {
			return nil, err
		}
		out, err := loadTensors(set, "output", m.Outputs())
		if err != nil {
			return nil, err
		}
		c.sets = append(c.sets, dataSet{in, out})
	}
	return c, nil
}

// innerType returns why a node works on types of another kind inside.
func innerType(n *pb.NodeProto) string {
	for _, a := range n.GetAttribute() {
		if a.GetName() == "to" || a.GetName() == "dtype" {
			if t := int32(a.GetI()); t != 0 && onnx.DType(t) == tensor.Invalid {
				return "an element type inside that package tensor lacks"
			}
		}
		if t := a.GetT(); t != nil && onnx.DType(t.GetDataType()) == tensor.Invalid {
			return "an element type inside that package tensor lacks"
		}
	}
	return ""
}

func loadTensors(dir, kind string, specs []tensor.Spec) (map[string]*tensor.Tensor, error) {
	set := map[string]*tensor.Tensor{}
	for i, s := range specs {
		t, err := LoadTensor(filepath.Join(dir, fmt.Sprintf("%s_%d.pb", kind, i)), s.DType)
		if err != nil {
			return nil, err
		}
		set[s.Name] = t
	}
	return set, nil
}

// LoadTensor reads a tensor of a node test, a TensorProto, that has the given type.
func LoadTensor(path string, dtype tensor.DType) (*tensor.Tensor, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := new(pb.TensorProto)
	if err := proto.Unmarshal(b, p); err != nil {
		return nil, err
	}
	// The files of onnx 1.17 hold bfloat16 as integers of its bits.
	if dtype == tensor.BFloat16 && p.GetDataType() == int32(pb.TensorProto_UINT16) {
		p.DataType = proto.Int32(int32(pb.TensorProto_BFLOAT16))
	}
	return (&onnx.Model{}).Tensor(p)
}

func (c *nodeTest) unclaimed(supported func(domain, op string, opset int) bool) string {
	if supported == nil {
		return ""
	}
	for _, o := range c.ops {
		if !supported(o.Domain, o.Op, o.Opset) {
			return o.Op
		}
	}
	return ""
}

func (c *nodeTest) run(e engine.Engine, opts engine.Options) error {
	ctx := context.Background()
	s, err := e.Open(ctx, c.source, opts)
	if err != nil {
		return err
	}
	defer s.Close()
	for _, set := range c.sets {
		got, err := s.Run(ctx, set.in)
		if err != nil {
			return err
		}
		for name, want := range set.out {
			if err := Compare(got[name], want, nodeRelative, nodeAbsolute); err != nil {
				return fmt.Errorf("output %q: %w", name, err)
			}
		}
	}
	return nil
}
