package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/crossattn/xpipe/studio"
)

// vectors holds the embeddings of pictures in memory, a matrix a model, each read when it is first
// asked for. Elements are 8 bits, a quarter of what the file has, with a bound of what that changes;
// top uses it to be exact nevertheless.
type vectors struct {
	mu     sync.RWMutex
	models map[string]*matrix
}

// matrix has a row a blob.
type matrix struct {
	dim   int
	blobs []int64
	at    map[int64]int // the row of a blob
	rows  []int8        // [blobs, dim]
	steps []float32     // a row's vector is about its elements times this
	far   []float32     // and differs from it by a vector of this length
}

// quantize makes 8 bits of a vector.
func quantize(v []float32, dst []int8) (step, far float32) {
	var most float32
	for _, x := range v {
		most = max(most, x, -x)
	}
	if most == 0 {
		clear(dst)
		return 0, 0
	}
	step = most / 127
	var sum float64
	for i, x := range v {
		dst[i] = int8(math.RoundToEven(float64(x / step)))
		d := float64(x) - float64(step)*float64(dst[i])
		sum += d * d
	}
	return step, float32(math.Sqrt(sum))
}

func (m *matrix) set(blob int64, v []float32) {
	if len(v) != m.dim {
		return
	}
	i, ok := m.at[blob]
	if !ok {
		i = len(m.blobs)
		m.at[blob] = i
		m.blobs = append(m.blobs, blob)
		m.rows = append(m.rows, make([]int8, m.dim)...)
		m.steps, m.far = append(m.steps, 0), append(m.far, 0)
	}
	m.steps[i], m.far[i] = quantize(v, m.rows[i*m.dim:(i+1)*m.dim])
}

func (m *matrix) remove(blob int64) {
	i, ok := m.at[blob]
	if !ok {
		return
	}
	last := len(m.blobs) - 1
	copy(m.rows[i*m.dim:(i+1)*m.dim], m.rows[last*m.dim:])
	m.blobs[i], m.steps[i], m.far[i] = m.blobs[last], m.steps[last], m.far[last]
	m.at[m.blobs[i]] = i
	delete(m.at, blob)
	m.blobs, m.rows = m.blobs[:last], m.rows[:last*m.dim]
	m.steps, m.far = m.steps[:last], m.far[:last]
}

// dot is the sum of products of a query and a row's elements.
func dot(query []float32, row []int8) float32 {
	var a, b, c, d float32
	row = row[:len(query)]
	i := 0
	for ; i+4 <= len(query); i += 4 {
		a += query[i] * float32(row[i])
		b += query[i+1] * float32(row[i+1])
		c += query[i+2] * float32(row[i+2])
		d += query[i+3] * float32(row[i+3])
	}
	for ; i < len(query); i++ {
		a += query[i] * float32(row[i])
	}
	return a + b + c + d
}

// rounding is more than what float32 sums of products of vectors of length 1 are off.
const rounding = 1e-4

// candidates are the blobs that may be among the k likest of a query of length 1: as the 8 bits are
// off by a known length at most, no other can be. allowed chooses blobs; nil allows all.
func (m *matrix) candidates(query []float32, k int, allowed map[int64]bool) []int64 {
	scores := make([]float32, 0, len(m.blobs))
	least := make([]float32, 0, len(m.blobs))
	list := make([]int, 0, len(m.blobs))
	for i, blob := range m.blobs {
		if allowed != nil && !allowed[blob] {
			continue
		}
		score := m.steps[i] * dot(query, m.rows[i*m.dim:(i+1)*m.dim])
		off := m.far[i] + rounding
		list = append(list, i)
		scores = append(scores, score+off)
		least = append(least, score-off)
	}
	bound := float32(math.Inf(-1))
	if k < len(least) {
		slices.Sort(least)
		bound = least[len(least)-k]
	}
	var blobs []int64
	for j, i := range list {
		if scores[j] >= bound {
			blobs = append(blobs, m.blobs[i])
		}
	}
	return blobs
}

func (v *vectors) set(model string, blob int64, vector []float32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if m := v.models[model]; m != nil { // else it is read with the others
		m.set(blob, vector)
	}
}

func (v *vectors) remove(blobs []int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, m := range v.models {
		for _, blob := range blobs {
			m.remove(blob)
		}
	}
}

// load returns the matrix of a model, of vectors of some length. The caller holds v.mu.
func (s *Store) load(ctx context.Context, model string, dim int) (*matrix, error) {
	if m := s.vectors.models[model]; m != nil && m.dim == dim {
		return m, nil
	}
	m := &matrix{dim: dim, at: map[int64]int{}}
	v := make([]float32, dim)
	_, err := rows(ctx, s.reader, func(scan func(...any) error) (struct{}, error) {
		var blob int64
		var data sql.RawBytes
		if err := scan(&blob, &data); err != nil {
			return struct{}{}, err
		}
		if len(data) == 4*dim {
			floats(data, v)
			m.set(blob, v)
		}
		return struct{}{}, nil
	}, "SELECT blob, vector FROM vectors WHERE model = ? ORDER BY blob", model)
	if err != nil {
		return nil, err
	}
	if s.vectors.models == nil {
		s.vectors.models = map[string]*matrix{}
	}
	s.vectors.models[model] = m
	return m, nil
}

func floats(data []byte, dst []float32) {
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
}

// normalized is a vector of length 1 in the same direction.
func normalized(v []float32) ([]float32, error) {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if len(v) == 0 || len(v) > 1<<16 || sum == 0 || math.IsNaN(sum) || math.IsInf(sum, 0) {
		return nil, fmt.Errorf("%w: an embedding has numbers that are not all zero", studio.ErrInvalid)
	}
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(float64(x) / math.Sqrt(sum))
	}
	return out, nil
}

// SetVector keeps the embedding of a picture.
func (s *Store) SetVector(ctx context.Context, blob studio.Hash, model string, vector []float32) error {
	v, err := normalized(vector)
	if err != nil {
		return err
	}
	data := make([]byte, 0, 4*len(v))
	for _, x := range v {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
	}
	s.files.Lock() // no purge takes the blob away before it is in the matrix
	defer s.files.Unlock()
	var n *int64
	err = s.write(ctx, func(tx *sql.Tx) error {
		if n, err = row(ctx, tx, "content", one[int64], "SELECT n FROM blobs WHERE hash = ?", blob); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", *n, model, data)
		return err
	})
	if err == nil {
		s.vectors.set(model, *n, v)
	}
	return err
}

// Unembedded lists pictures that have no vector of a model.
func (s *Store) Unembedded(ctx context.Context, model string, limit int) ([]studio.Hash, error) {
	return rows(ctx, s.reader, one[studio.Hash], `SELECT hash FROM blobs b
		WHERE EXISTS (SELECT 1 FROM attachments a WHERE a.blob = b.n AND a.kind = 'picture')
		AND NOT EXISTS (SELECT 1 FROM vectors v WHERE v.blob = b.n AND v.model = ?)
		ORDER BY n DESC LIMIT ?`, model, limit)
}

// likeness is a blob and how like it is.
type likeness struct {
	blob   int64
	cosine float64
}

// likest returns the k pictures that are the likest to a query of length 1, exactly, the likest
// first. allowed chooses among them; nil allows all.
func (s *Store) likest(ctx context.Context, model string, query []float32, k int, allowed map[int64]bool) ([]likeness, error) {
	s.vectors.mu.RLock()
	m := s.vectors.models[model]
	if m == nil || m.dim != len(query) {
		s.vectors.mu.RUnlock()
		s.vectors.mu.Lock()
		_, err := s.load(ctx, model, len(query))
		s.vectors.mu.Unlock()
		if err != nil {
			return nil, err
		}
		s.vectors.mu.RLock()
		if m = s.vectors.models[model]; m == nil || m.dim != len(query) { // another model of the name came between
			s.vectors.mu.RUnlock()
			return nil, nil
		}
	}
	blobs := m.candidates(query, k, allowed)
	s.vectors.mu.RUnlock()
	if len(blobs) == 0 {
		return nil, nil
	}
	ids, err := toJSON(blobs)
	if err != nil {
		return nil, err
	}
	v := make([]float32, len(query))
	list, err := rows(ctx, s.reader, func(scan func(...any) error) (l likeness, err error) {
		var data sql.RawBytes
		if err = scan(&l.blob, &data); err != nil || len(data) != 4*len(v) {
			return l, err
		}
		floats(data, v)
		for i, x := range v {
			l.cosine += float64(x) * float64(query[i])
		}
		return l, nil
	}, "SELECT blob, vector FROM json_each(?) JOIN vectors ON blob = value WHERE model = ?", ids, model)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b likeness) int {
		switch {
		case a.cosine > b.cosine:
			return -1
		case a.cosine < b.cosine:
			return 1
		}
		return int(b.blob - a.blob)
	})
	return list[:min(k, len(list))], nil
}
