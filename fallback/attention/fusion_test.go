package attention

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/tensor"
)

// pool is the golden file's torch.nn.MultiheadAttention with its probes.
func pool(g map[string]*tensor.Tensor) Pool {
	w, b := tensor.Data[float32](g["in_weight"]), tensor.Data[float32](g["in_bias"])
	part := func(i int) Linear {
		return Linear{tensor.Must(tensor.New([]int{12, 12}, w[i*144:(i+1)*144])), b[i*12 : (i+1)*12]}
	}
	return Pool{g["probe"], MultiHead{3, part(0), part(1), part(2), Linear{g["out_weight"], tensor.Data[float32](g["out_bias"])}}}
}

func linear(g map[string]*tensor.Tensor, w, b string) Linear {
	return Linear{g[w], tensor.Data[float32](g[b])}
}

func TestFusionAgainstPyTorch(t *testing.T) {
	t.Parallel()
	g := golden(t)
	check := func(name string, got *tensor.Tensor, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(name, err)
		}
		same(t, name, got, g[name], 1e-6)
	}
	got, err := pool(g).Apply(t.Context(), g["x"])
	check("pooled", got, err)
	got, err = Gated(g["a"], g["b"], []float32{0.7})
	check("gated", got, err)
	got, err = ConcatFusion(linear(g, "wz", "bz")).Apply(g["a"], g["t"])
	check("concat", got, err)
	got, err = GatedFusion{linear(g, "wz", "bz"), linear(g, "wv", "bv"), linear(g, "wt", "bt")}.Apply(g["a"], g["t"])
	check("fused", got, err)
	var maps []*tensor.Tensor
	for i := range 3 {
		m := tensor.Must(tensor.New([]int{4, 6, 6}, tensor.Data[float32](g["maps"])[i*144:(i+1)*144]))
		mean, err := MeanHeads(m)
		if err != nil {
			t.Fatal(err)
		}
		maps = append(maps, mean)
	}
	got, err = Rollout(maps)
	check("rollout", got, err)
	for i := range 6 {
		sum := 0.0
		for _, v := range tensor.Data[float32](got)[i*6 : (i+1)*6] {
			sum += float64(v)
		}
		if math.Abs(sum-1) > 1e-6 {
			t.Errorf("row %d of the rollout sums to %v", i, sum)
		}
	}
}

// Pooling does not depend on the order of the sequence, and of equal positions it is the projected
// position itself.
func TestPooling(t *testing.T) {
	t.Parallel()
	g := golden(t)
	p := pool(g)
	x := g["x"]
	flat := tensor.Must(x.Reshape(3, 1, 7, 12))
	order := rand.New(rand.NewPCG(1, 2)).Perm(7)
	shuffled := tensor.Must(permuted(flat, order).Reshape(3, 7, 12))
	got, err := p.Apply(t.Context(), shuffled)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "shuffled", got, g["pooled"], 1e-6)

	// Equal keys: the mean of the values. With a zero key projection all keys are.
	p.Key.Weight = tensor.Must(tensor.Zeros(tensor.Float32, 12, 12))
	if got, err = p.Apply(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	mean := make([]float32, 3*12)
	for i, v := range tensor.Data[float32](x) {
		mean[i/(7*12)*12+i%12] += v / 7
	}
	want, err := p.Value.Apply(tensor.Must(tensor.New([]int{3, 1, 12}, mean)))
	if err == nil {
		want, err = p.Output.Apply(want)
	}
	if err != nil {
		t.Fatal(err)
	}
	for probe := range 2 {
		var row []float32
		for b := range 3 {
			at := (b*2 + probe) * 12
			row = append(row, tensor.Data[float32](got)[at:at+12]...)
		}
		same(t, "equal keys", tensor.Must(tensor.New([]int{3, 1, 12}, row)), want, 1e-6)
	}
}

// A gate of 0 is shut; a saturated z selects one modality.
func TestGates(t *testing.T) {
	t.Parallel()
	g := golden(t)
	shut, err := Gated(g["a"], g["b"], make([]float32, 5))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "gate 0", shut, g["a"], 0)
	for z, only := range map[float32]string{1e4: "v", -1e4: "t"} {
		f := GatedFusion{linear(g, "wz", "bz"), linear(g, "wv", "bv"), linear(g, "wt", "bt")}
		f.Gate.Bias = make([]float32, 6)
		for i := range f.Gate.Bias {
			f.Gate.Bias[i] = z
		}
		fused, err := f.Apply(g["a"], g["t"])
		if err != nil {
			t.Fatal(err)
		}
		want, err := f.Vision.Apply(g["a"])
		if only == "t" {
			want, err = f.Text.Apply(g["t"])
		}
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range tensor.Data[float32](want) {
			tensor.Data[float32](want)[i] = float32(math.Tanh(float64(v)))
		}
		same(t, "only "+only, fused, want, 1e-6)
	}
}

func TestBadFusion(t *testing.T) {
	t.Parallel()
	g := golden(t)
	errs := map[string]error{}
	_, errs["gates"] = Gated(g["a"], g["b"], make([]float32, 3))
	_, errs["shapes"] = Gated(g["a"], g["t"], make([]float32, 1))
	_, errs["linear"] = Linear{Weight: g["wz"]}.Apply(g["a"])
	_, errs["bias"] = Linear{g["wv"], make([]float32, 2)}.Apply(g["a"])
	_, errs["no weights"] = Linear{}.Apply(g["a"])
	_, errs["concat"] = ConcatFusion{Weight: g["wz"]}.Apply(g["a"], g["x"])
	_, errs["pool"] = Pool{}.Apply(context.Background(), g["x"])
	_, errs["heads"] = MultiHead{5, Linear{Weight: g["out_weight"]}, Linear{Weight: g["out_weight"]}, Linear{Weight: g["out_weight"]}, Linear{Weight: g["out_weight"]}}.
		Attend(context.Background(), g["x"], g["x"])
	_, errs["rollout"] = Rollout([]*tensor.Tensor{g["a"]})
	_, errs["no rollout"] = Rollout(nil)
	_, errs["mean"] = MeanHeads(g["a"])
	for name, err := range errs {
		if !errors.Is(err, engine.ErrInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
