package vision

import (
	"context"
	"encoding/json"
	"image"
	"maps"
	"math"
	"slices"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// onnxruntime-genai configures a front end as a list of operations, which onnxruntime-extensions
// runs: processor.transforms of processor_config.json. Their arithmetic is that of its
// shared/api/image_transforms*.hpp, version 0.15.2: Pillow's before 13.0 for sizes (rows first), and
// float32 for numbers.

// operations is what a list makes of a picture. The zero value is no list.
type operations struct {
	there bool
	bytes []byteStep // on 8-bit pictures, in order
	phi3  bool       // Phi3ImageTransform ends the list: the picture and its crops
	patch patching   // PatchImage ends the list; its limits are not used
}

// byteStep turns a picture into another.
type byteStep func(*Preprocessor, *RGB) (*RGB, error)

// operation is one of the list.
type operation struct {
	Name  string                     `json:"name"`
	Type  string                     `json:"type"`
	Attrs map[string]json.RawMessage `json:"attrs"`
}

// listed returns the operations of a configuration; nil where it has no list.
func listed(keys map[string]json.RawMessage) ([]operation, error) {
	var processor struct {
		Transforms []struct {
			Operation operation `json:"operation"`
		} `json:"transforms"`
	}
	raw, ok := keys["processor"]
	if !ok || isNull(raw) {
		return nil, nil
	}
	if err := json.Unmarshal(raw, &processor); err != nil {
		return nil, imageErrorf("processor: %w", err)
	}
	var list []operation
	for _, t := range processor.Transforms {
		list = append(list, t.Operation)
	}
	if len(list) == 0 {
		return nil, imageErrorf("processor.transforms is empty")
	}
	return list, nil
}

// The stages of a list: each operation belongs to one and leads to one.
const (
	stageFile    = iota // nothing is decoded yet
	stageBytes          // a picture of 8 bits
	stageFloats         // numbers, height by width by channel
	stageTensors        // what the model takes
)

// stages names what each stage has.
var stages = [...]string{"a file", "a picture", "numbers", "tensors"}

// buildOperations makes a Preprocessor of a list. Operations that are not known, their attributes,
// and orders that the list's own library refuses give an error.
func buildOperations(list []operation) (*Preprocessor, error) {
	p := &Preprocessor{ops: operations{there: true}, resample: Bicubic}
	b := listBuilder{p: p, scale: 1, mean: [3]float32{}, std: [3]float32{1, 1, 1}}
	for _, op := range list {
		if err := b.add(op); err != nil {
			return nil, imageErrorf("operation %q (%s): %w", op.Name, op.Type, err)
		}
	}
	if b.stage != stageTensors {
		return nil, imageErrorf("processor.transforms ends with %s: Permute3D to channels first, "+
			"PatchImage or Phi3ImageTransform is missing", stages[b.stage])
	}
	b.table()
	return p, nil
}

// listBuilder reads a list in order.
type listBuilder struct {
	p         *Preprocessor
	stage     int
	swapped   bool // whether channels stand in the order blue, green, red
	rescaled  bool
	scale     float32
	mean, std [3]float32
}

// stepOf is an operation by the stage that it takes and the one that it gives.
type stepOf struct {
	from, to int
	add      func(*listBuilder, operation) error
}

// knownOperations is a function, for a table would bring JSON into programs that only decode files.
func knownOperations() map[string]stepOf {
	return map[string]stepOf{
		"DecodeImage":        {stageFile, stageBytes, (*listBuilder).decode},
		"ConvertRGB":         {stageBytes, stageBytes, (*listBuilder).convert},
		"Resize":             {stageBytes, stageBytes, (*listBuilder).resize},
		"CenterCrop":         {stageBytes, stageBytes, (*listBuilder).crop},
		"Rescale":            {stageBytes, stageFloats, (*listBuilder).rescale},
		"Normalize":          {stageFloats, stageFloats, (*listBuilder).normalize},
		"Permute3D":          {stageFloats, stageTensors, (*listBuilder).permute},
		"PatchImage":         {stageFloats, stageTensors, (*listBuilder).patches},
		"Phi3ImageTransform": {stageBytes, stageTensors, (*listBuilder).phi3},
	}
}

func (b *listBuilder) add(op operation) error {
	all := knownOperations()
	known, ok := all[op.Type]
	if !ok {
		return imageErrorf("it is not supported; supported are %v", slices.Sorted(maps.Keys(all)))
	}
	if b.stage != known.from {
		return imageErrorf("it takes %s and is given %s", stages[known.from], stages[b.stage])
	}
	b.stage = known.to
	return known.add(b, op)
}

// read fills the attributes of an operation, of which dst has a pointer for each.
func (op operation) read(dst map[string]any) error {
	for key, raw := range op.Attrs {
		to, ok := dst[key]
		if !ok {
			return imageErrorf("attribute %q is not understood", key)
		}
		if err := json.Unmarshal(raw, to); err != nil {
			return imageErrorf("attribute %q: %w", key, err)
		}
	}
	return nil
}

func (b *listBuilder) decode(op operation) error {
	space := "RGB"
	if err := op.read(map[string]any{"color_space": &space}); err != nil {
		return err
	}
	switch space {
	case "RGB", "rgb":
	case "BGR", "bgr":
		b.swapped = true
	default:
		return imageErrorf("color_space %q is neither RGB nor BGR", space)
	}
	return nil
}

// convert swaps the outer channels, whatever their order is: the name tells of one direction.
func (b *listBuilder) convert(op operation) error {
	b.swapped = !b.swapped
	return op.read(nil)
}

// interpolations gives the filter of each name. The library lists NEAREST, too, and fails with it.
var interpolations = map[string]Filter{"LINEAR": Bilinear, "CUBIC": Bicubic, "LANCZOS": Lanczos}

func (b *listBuilder) resize(op operation) error {
	var keepAspect any // read, and without effect since the sizes that it compares are one
	height, width, smart, filter := 256, 256, 0, "CUBIC"
	rule := smartRule{least: 3136, most: 12845056, patch: 14, merge: 2}
	err := op.read(map[string]any{
		"height": &height, "width": &width, "keep_aspect_ratio": &keepAspect, "interpolation": &filter,
		"smart_resize": &smart, "min_pixels": &rule.least, "max_pixels": &rule.most,
		"patch_size": &rule.patch, "merge_size": &rule.merge,
	})
	if err != nil {
		return err
	}
	f, ok := interpolations[filter]
	if !ok {
		return imageErrorf("interpolation %q is not supported", filter)
	}
	if height < 1 || width < 1 || rule.patch < 1 || rule.merge < 1 || rule.patch*rule.merge > 1<<12 ||
		rule.least < 1 || rule.most < rule.least || rule.most > mostPixels/3 {
		return imageErrorf("a size is out of range: %v", op.Attrs)
	}
	b.p.ops.bytes = append(b.p.ops.bytes, func(p *Preprocessor, m *RGB) (*RGB, error) {
		w, h := width, height
		if smart != 0 {
			if w, h, err = rule.fit(m.Width, m.Height); err != nil {
				return nil, err
			}
		}
		return p.rowsFirst(m, w, h, f)
	})
	return nil
}

// rowsFirst resizes as Pillow did before 13.0: rows, then columns.
func (p *Preprocessor) rowsFirst(m *RGB, w, h int, f Filter) (*RGB, error) {
	if m.Width != w {
		var err error
		if m, err = Resize(m, w, m.Height, f, WithLimits(p.limits)); err != nil {
			return nil, err
		}
	}
	if m.Height == h {
		return m, nil
	}
	return Resize(m, w, h, f, WithLimits(p.limits))
}

// smartRule is Resize's smart_resize.
type smartRule struct{ least, most, patch, merge int }

// fit is not patching.fit: halves round away from zero, and sides are cut to whole pixels before
// they are rounded to the factor.
func (s smartRule) fit(w, h int) (int, int, error) {
	if float64(max(w, h))/float64(min(w, h)) > mostAspect {
		return 0, 0, imageErrorf("a picture of %dx%d is more than %d times as long as wide", w, h,
			mostAspect)
	}
	factor := float64(s.patch * s.merge)
	side := func(n int) int { return max(int(factor), int(math.Round(float64(n)/factor)*factor)) }
	fitW, fitH := side(w), side(h)
	area := float64(int64(w) * int64(h))
	scaled := func(n int, by float64, round func(float64) float64) int {
		return int(round(math.Trunc(float64(n)*by)/factor) * factor)
	}
	switch pixels := int64(fitW) * int64(fitH); {
	case pixels > int64(s.most):
		beta := math.Sqrt(area / float64(s.most))
		cut := func(n int) int { return int(math.Floor(math.Trunc(float64(n)/beta)/factor) * factor) }
		fitW, fitH = cut(w), cut(h)
	case pixels < int64(s.least):
		beta := math.Sqrt(float64(s.least) / area)
		fitW, fitH = scaled(w, beta, math.Ceil), scaled(h, beta, math.Ceil)
	}
	if fitW < 1 || fitH < 1 {
		return 0, 0, imageErrorf("a picture of %dx%d has no pixel left after its resizing", w, h)
	}
	return fitW, fitH, nil
}

func (b *listBuilder) crop(op operation) error {
	height, width := 224, 224
	if err := op.read(map[string]any{"height": &height, "width": &width}); err != nil {
		return err
	}
	if height < 1 || width < 1 {
		return imageErrorf("a size is out of range: %v", op.Attrs)
	}
	b.p.ops.bytes = append(b.p.ops.bytes, func(_ *Preprocessor, m *RGB) (*RGB, error) {
		if width > m.Width || height > m.Height {
			return nil, imageErrorf("a crop of %dx%d out of a picture of %dx%d", width, height,
				m.Width, m.Height)
		}
		at := image.Pt((m.Width-width)/2, (m.Height-height)/2)
		return m.crop(image.Rectangle{at, at.Add(image.Pt(width, height))}), nil
	})
	return nil
}

func (b *listBuilder) rescale(op operation) error {
	b.rescaled, b.scale = true, float32(1)/255
	var factor *float64
	if err := op.read(map[string]any{"rescale_factor": &factor}); err != nil {
		return err
	}
	if factor != nil {
		b.scale = float32(*factor)
	}
	return nil
}

func (b *listBuilder) normalize(op operation) error {
	mean, std := slices.Clone(clipMean[:]), slices.Clone(clipStd[:])
	var qwen2, qwen3 int
	err := op.read(map[string]any{
		"mean": &mean, "std": &std, "qwen2_5_vl": &qwen2, "qwen3_vl": &qwen3,
	})
	if err != nil {
		return err
	}
	if len(mean) < 3 || len(std) < 3 {
		return imageErrorf("mean and std need three values each")
	}
	for i := range b.mean {
		b.mean[i], b.std[i] = float32(mean[i]), float32(std[i])
		if b.std[i] == 0 {
			return imageErrorf("std is 0")
		}
	}
	if qwen2 != 0 || qwen3 != 0 {
		b.swapped = !b.swapped // before the statistics apply
	}
	return nil
}

func (b *listBuilder) permute(op operation) error {
	dims := []int{1, 2, 0}
	if err := op.read(map[string]any{"dims": &dims}); err != nil {
		return err
	}
	if !slices.Equal(dims, []int{2, 0, 1}) {
		return imageErrorf("dims %v: only channels first, [2 0 1], is made", dims)
	}
	return nil
}

func (b *listBuilder) patches(op operation) error {
	t := patching{side: 14, merge: 2, frames: 2}
	err := op.read(map[string]any{
		"patch_size": &t.side, "temporal_patch_size": &t.frames, "merge_size": &t.merge,
	})
	if err != nil {
		return err
	}
	for _, n := range []int{t.side, t.merge, t.frames} {
		if n < 1 || n > 1<<10 {
			return imageErrorf("a size is out of range: %v", op.Attrs)
		}
	}
	b.p.ops.patch, b.p.patches = t, t
	return nil
}

// table fills p.table. Channels that a list leaves swapped are swapped before it applies.
func (b *listBuilder) table() {
	if b.swapped {
		b.p.ops.bytes = append(b.p.ops.bytes, func(_ *Preprocessor, m *RGB) (*RGB, error) {
			out := newRGB(m.Width, m.Height)
			for y := range m.Height {
				from, to := m.row(y), out.row(y)
				for i := 0; i < len(from); i += 4 {
					put(to[i:], from[i+2], from[i+1], from[i], from[i+3])
				}
			}
			return out, nil
		})
	}
	for ch := range b.p.table {
		for i := range b.p.table[ch] {
			b.p.table[ch][i] = (float32(i)*b.scale - b.mean[ch]) / b.std[ch]
		}
	}
}

// prepareOperations is Prepare for a list of operations.
func (p *Preprocessor) prepareOperations(
	ctx context.Context, imgs []image.Image,
) (media.Prepared, error) {
	pictures := make([]*RGB, len(imgs))
	err := parallel(ctx, len(imgs), func(i int) (err error) {
		pictures[i], err = p.operate(imgs[i])
		return err
	})
	if err != nil {
		return media.Prepared{}, err
	}
	switch {
	case p.ops.phi3:
		return p.preparePhi3(ctx, pictures)
	case p.ops.patch.side > 0:
		return p.patchesOf(ctx, pictures)
	}
	pixels, err := p.Tensor(ctx, pictures...)
	if err != nil {
		return media.Prepared{}, err
	}
	rows := make([][2]int, len(pictures))
	for i := range rows {
		rows[i] = [2]int{i, i + 1}
	}
	return media.Prepared{Tensors: map[string]*tensor.Tensor{"pixel_values": pixels}, Rows: rows}, nil
}

// operate runs the operations on 8-bit pictures.
func (p *Preprocessor) operate(img image.Image) (*RGB, error) {
	m, err := seen(img)
	if err != nil {
		return nil, err
	}
	for _, step := range p.ops.bytes {
		var err error
		if m, err = step(p, m); err != nil {
			return nil, err
		}
	}
	if t := p.ops.patch; t.side > 0 {
		if factor := t.side * t.merge; m.Width%factor != 0 || m.Height%factor != 0 {
			return nil, imageErrorf("a picture of %dx%d is no whole number of patches of %d",
				m.Width, m.Height, factor)
		}
	}
	return m, nil
}
