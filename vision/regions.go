package vision

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// ErrRegions: a file of region features is damaged or does not fit the model.
var ErrRegions = errors.New("regions")

// Regions are an object detector's output for a picture: LXMERT's visual input, which takes the
// picture's place. It is a media.Item.
type Regions struct {
	Features *tensor.Tensor // float32 [R,F]
	Boxes    *tensor.Tensor // float32 [R,4]: x1, y1, x2, y2, divided by width and height into [0,1]
}

// Kind returns media.Regions.
func (r *Regions) Kind() media.Kind { return media.Regions }

// NewRegions makes regions of features [R,F] and boxes [R,4] in pixels, which it divides by the
// picture's width and height. With a width and height of 1 the boxes are in [0,1] already. Shapes
// that do not fit and boxes outside of the picture give an error that wraps ErrRegions.
func NewRegions(features, boxes *tensor.Tensor, width, height float64) (*Regions, error) {
	if features.Rank() != 2 || boxes.Rank() != 2 || boxes.Dim(1) != 4 ||
		boxes.Dim(0) != features.Dim(0) || features.Dim(0) == 0 {
		return nil, fmt.Errorf("%w: features %v and boxes %v are not [R,F] and [R,4]",
			ErrRegions, features, boxes)
	}
	if !(width > 0) || !(height > 0) {
		return nil, fmt.Errorf("%w: a picture of %v by %v", ErrRegions, width, height)
	}
	scaled := append([]float32{}, boxes.Float32s()...)
	for i, v := range scaled {
		size := width
		if i%2 == 1 {
			size = height
		}
		scaled[i] = float32(float64(v) / size)
		if !(scaled[i] >= -0.01 && scaled[i] <= 1.01) {
			return nil, fmt.Errorf("%w: box %d reaches to %v in a picture of size %v",
				ErrRegions, i/4, v, size)
		}
	}
	b, err := tensor.New(boxes.Shape(), scaled)
	if err != nil {
		return nil, err
	}
	f, err := tensor.New(features.Shape(), features.Float32s())
	return &Regions{Features: f, Boxes: b}, err
}

// Check refuses regions that no model takes, such as those that a caller filled in by hand. The
// error wraps ErrRegions.
func (r *Regions) Check() error {
	if r.Features == nil || r.Boxes == nil {
		return fmt.Errorf("%w: features or boxes are missing", ErrRegions)
	}
	count := -1
	if r.Features.Rank() > 0 {
		count = r.Features.Dim(0)
	}
	for _, c := range []struct {
		name string
		t    *tensor.Tensor
		spec tensor.Spec
	}{
		{"features", r.Features, tensor.Spec{Name: "features", DType: tensor.Float32,
			Shape: []int{-1, -1}}},
		{"boxes", r.Boxes, tensor.Spec{Name: "boxes", DType: tensor.Float32,
			Shape: []int{count, 4}}},
	} {
		if err := c.spec.Check(c.t); err != nil || c.t.Len() == 0 {
			return fmt.Errorf("%w: %s are %v, not float32 [regions,width] with boxes [regions,4]",
				ErrRegions, c.name, c.t)
		}
		for i, v := range tensor.Data[float32](c.t) {
			if v != v {
				return fmt.Errorf("%w: value %d of the %s is not a number (NaN)",
					ErrRegions, i, c.name)
			}
		}
	}
	return nil
}

// LoadRegions reads the regions of pictures from a file, by picture: an .npz with features, boxes
// in pixels, image_w and image_h (one picture, named as the file), or the .tsv of the original
// LXMERT and bottom-up attention code (github.com/airsplay/lxmert, src/utils.py), which holds any
// number. A file of more than most bytes, unpacked, gives an error that wraps ErrLimit.
func LoadRegions(path string, most int64) (map[string]*Regions, error) {
	var all map[string]*Regions
	_, err := os.Stat(path)
	if missing, ok := errors.AsType[*fs.PathError](err); ok { // once, not as each reader says it
		return nil, fmt.Errorf("%s: %w: %w", path, ErrRegions, missing.Err)
	}
	switch strings.ToLower(filepath.Ext(path)) {
	case ".npz":
		all, err = loadNpzRegions(path, most)
	case ".tsv":
		all, err = loadTSVRegions(path, most)
	default:
		err = fmt.Errorf("%w: regions are read from .npz or .tsv", ErrRegions)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return all, nil
}

func loadNpzRegions(path string, most int64) (map[string]*Regions, error) {
	arrays, err := tensor.LoadNpz(path, most)
	switch {
	case errors.Is(err, tensor.ErrTooLarge):
		return nil, fmt.Errorf("%w: %w", ErrRegions, limitErrorf("RegionBytes", "%v", err))
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrRegions, err)
	}
	number := func(name string) (float64, error) {
		t := arrays[name]
		if t == nil || t.Len() != 1 {
			return 0, fmt.Errorf("%w: it needs %q, one number", ErrRegions, name)
		}
		return float64(t.Float32s()[0]), nil
	}
	width, err := number("image_w")
	if err != nil {
		return nil, err
	}
	height, err := number("image_h")
	if err != nil {
		return nil, err
	}
	if arrays["features"] == nil || arrays["boxes"] == nil {
		return nil, fmt.Errorf(`%w: it needs "features" and "boxes"`, ErrRegions)
	}
	for _, name := range []string{"features", "boxes"} { // numpy makes float64 by default
		if t := arrays[name]; t.DType() == tensor.Float64 {
			arrays[name] = tensor.Must(tensor.New(t.Shape(), t.Float32s()))
		}
	}
	r, err := NewRegions(arrays["features"], arrays["boxes"], width, height)
	if err != nil {
		return nil, err
	}
	name := filepath.Base(path)
	return map[string]*Regions{strings.TrimSuffix(name, filepath.Ext(name)): r}, nil
}

// maxTSVLine bounds a line of a .tsv: 36 regions of 2048 features take 400 kB.
const maxTSVLine = 64 << 20

// The columns of the .tsv.
const (
	tsvID, tsvHeight, tsvWidth, tsvCount, tsvBoxes, tsvFeatures, tsvColumns = 0, 1, 2, 7, 8, 9, 10
)

func loadTSVRegions(path string, most int64) (map[string]*Regions, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRegions, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil {
		if size := info.Size(); size > most {
			return nil, fmt.Errorf("%w: %w", ErrRegions, limitErrorf("RegionBytes",
				"bytes of regions: %d, the limit is %d", size, most))
		}
	}
	all := map[string]*Regions{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxTSVLine)
	for n := 1; lines.Scan(); n++ {
		if lines.Text() == "" {
			continue
		}
		id, r, err := parseTSVRegions(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		all[id] = r
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRegions, err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: no pictures in it", ErrRegions)
	}
	return all, nil
}

func parseTSVRegions(line string) (id string, r *Regions, err error) {
	columns := strings.Split(line, "\t")
	if len(columns) != tsvColumns {
		return "", nil, fmt.Errorf("%w: %d columns, not %d", ErrRegions, len(columns), tsvColumns)
	}
	var numbers [3]int
	for i, c := range []int{tsvHeight, tsvWidth, tsvCount} {
		if numbers[i], err = strconv.Atoi(columns[c]); err != nil || numbers[i] <= 0 {
			return "", nil, fmt.Errorf("%w: column %d is %q, not a size",
				ErrRegions, c+1, columns[c])
		}
	}
	height, width, count := numbers[0], numbers[1], numbers[2]
	boxes, err := decodeFloats(columns[tsvBoxes], count)
	if err != nil {
		return "", nil, fmt.Errorf("boxes: %w", err)
	}
	features, err := decodeFloats(columns[tsvFeatures], count)
	if err != nil {
		return "", nil, fmt.Errorf("features: %w", err)
	}
	r, err = NewRegions(features, boxes, float64(width), float64(height))
	return columns[tsvID], r, err
}

// decodeFloats reads base64 of little-endian float32 as [rows,n].
func decodeFloats(text string, rows int) (*tensor.Tensor, error) {
	data, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, strings.NewReader(text)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRegions, err)
	}
	if len(data) == 0 || len(data)%(4*rows) != 0 {
		return nil, fmt.Errorf("%w: %d bytes do not hold %d rows of float32",
			ErrRegions, len(data), rows)
	}
	values := make([]float32, len(data)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return tensor.New([]int{rows, len(values) / rows}, values)
}
