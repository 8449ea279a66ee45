package index

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/index/vectors"
)

// Query says what is sought. Its lists are joined by their ranks.
type Query struct {
	api.Sought
	// TextVector and LikeVector are those of Text and of a picture, which pictures shall be near to; nil:
	// none. Text is looked for in names and texts, too.
	TextVector, LikeVector []float32
}

// rankConstant is the k of reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009): a hit at rank r of
// a list counts 1/(k+r).
const rankConstant = 60

// Find returns the hits of a query, the best first. Their scores are sums over the lists, as parts of
// what the first of all lists would have. Without words and vectors it lists what the library holds, by
// path.
func (s *Store) Find(ctx context.Context, q Query) ([]api.Hit, error) {
	where, err := q.filter()
	if err != nil {
		return nil, err
	}
	before := s.Model()
	if err := s.Refresh(ctx); err != nil {
		return nil, err
	}
	if s.Model() != before && (q.TextVector != nil || q.LikeVector != nil) {
		return nil, fmt.Errorf("%s: %w, which another process has made anew; ask again", s.path, ErrOtherModel)
	}
	if q.Text == "" && q.TextVector == nil && q.LikeVector == nil {
		return s.all(ctx, where, q.Limit)
	}
	var lists []list
	for _, near := range []struct {
		vector []float32
		name   func(*api.Explain) **api.Rank
	}{
		{q.TextVector, func(e *api.Explain) **api.Rank { return &e.Text }},
		{q.LikeVector, func(e *api.Explain) **api.Rank { return &e.Like }},
	} {
		if near.vector == nil {
			continue
		}
		found, err := s.nearest(ctx, near.vector, q.Limit, where)
		if err != nil {
			return nil, err
		}
		lists = append(lists, list{found, near.name})
	}
	match := matchQuery(q.Text)
	if match != "" {
		found, err := s.matching(ctx, match, q.Limit, where)
		if err != nil {
			return nil, err
		}
		lists = append(lists, list{found, func(e *api.Explain) **api.Rank { return &e.Words }})
	}
	return s.hits(ctx, fuse(lists), match, q)
}

// list is what one way of searching found, the best first.
type list struct {
	found []scored
	name  func(*api.Explain) **api.Rank
}

type scored struct {
	item  int64
	value float64
}

// fused is an item of several lists.
type fused struct {
	item    int64
	score   float64
	explain api.Explain
}

// fuse joins lists by the ranks of what is in them.
func fuse(lists []list) []fused {
	at := map[int64]int{}
	var all []fused
	for _, l := range lists {
		for i, f := range l.found {
			n, ok := at[f.item]
			if !ok {
				n = len(all)
				at[f.item] = n
				all = append(all, fused{item: f.item})
			}
			all[n].score += (rankConstant + 1) / float64(rankConstant+i+1) / float64(len(lists))
			*l.name(&all[n].explain) = &api.Rank{Rank: i + 1, Value: f.value}
		}
	}
	slices.SortStableFunc(all, func(a, b fused) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.item, b.item))
	})
	return all
}

// filter is a condition on files f and items i, with its arguments.
type filter struct {
	conditions []string
	args       []any
}

func (f *filter) add(condition string, args ...any) {
	f.conditions, f.args = append(f.conditions, condition), append(f.args, args...)
}

// sql is the condition behind another one.
func (f filter) sql() string {
	if len(f.conditions) == 0 {
		return ""
	}
	return " AND " + strings.Join(f.conditions, " AND ")
}

func (q Query) filter() (f filter, err error) {
	var kinds []string
	for _, word := range q.In {
		kind, ok := api.LibraryKinds[word]
		if !ok && !slices.Contains(slices.Collect(maps.Values(api.LibraryKinds)), word) {
			names := slices.Sorted(maps.Keys(api.LibraryKinds))
			return f, api.Usagef("--in %s: there are %s%s", word, strings.Join(names, ", "), api.DidYouMean(word, names))
		}
		kinds = append(kinds, "'"+cmp.Or(kind, word)+"'")
	}
	if len(kinds) > 0 {
		f.add("f.kind IN (" + strings.Join(kinds, ", ") + ")")
	}
	if q.After != "" {
		after, err := parseTime(q.After)
		if err != nil {
			return f, api.Usagef("--after %s: %w", q.After, err)
		}
		f.add("f.taken >= ?", after.UnixNano())
	}
	if q.Where != "" {
		path, err := filepath.Abs(q.Where)
		if err != nil {
			return f, err
		}
		if _, err := os.Lstat(path); err != nil && strings.ContainsAny(q.Where, "*?[") {
			f.add("f.path GLOB ?", path)
		} else {
			f.below(path)
		}
	}
	f.below(q.Folders...)
	return f, nil
}

// below adds the condition that a file is one of some, or in or below one of some folders.
func (f *filter) below(paths ...string) {
	var either []string
	var args []any
	for _, path := range paths {
		folder := strings.TrimSuffix(path, string(filepath.Separator)) + string(filepath.Separator)
		either = append(either, "f.path = ? OR f.path >= ? AND f.path < ?")
		args = append(args, path, folder, folder[:len(folder)-1]+string(rune(filepath.Separator+1)))
	}
	if len(either) > 0 {
		f.add("("+strings.Join(either, " OR ")+")", args...)
	}
}

const fromItems = " FROM items i JOIN files f ON f.id = i.file"

// nearest are the pictures whose vectors are nearest to one, by their cosines.
func (s *Store) nearest(ctx context.Context, query []float32, limit int, where filter) (found []scored, err error) {
	dim := s.Model().Dim
	if dim == 0 {
		return nil, nil
	}
	if len(query) != dim {
		return nil, fmt.Errorf("%s: %w: they have %d numbers, and what is sought has %d", s.path, ErrOtherModel,
			dim, len(query))
	}
	v, release, err := s.mappedVectors(dim)
	if err != nil {
		return nil, withKind(err)
	}
	defer release()
	var within vectors.Set
	if len(where.conditions) > 0 {
		within = vectors.Set{}
		err := s.each(ctx, "SELECT v.slot FROM vectors v JOIN items i ON i.id = v.item JOIN files f ON f.id = i.file WHERE 1"+
			where.sql(), where.args, func(row *sql.Rows) error {
			var slot int64
			err := row.Scan(&slot)
			within.Add(slot)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	n := v.Slots()
	if limit > 0 {
		n = min(n, vectors.Spare(limit))
	}
	candidates, err := v.Search(ctx, query, n, within)
	if err != nil {
		return nil, err
	}
	score := func(row *sql.Rows) error {
		var slot, item int64
		var data sql.RawBytes
		if err := row.Scan(&slot, &item, &data); err != nil {
			return err
		}
		if within == nil || within.Has(slot) {
			found = append(found, scored{item, cosine(query, data)})
		}
		return nil
	}
	for part := range slices.Chunk(candidates, 1000) {
		var b strings.Builder
		for i, c := range part {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprint(&b, c.Slot)
		}
		// Those that were written later come below.
		if err := s.each(ctx, "SELECT slot, item, vector FROM vectors WHERE slot IN ("+b.String()+") AND generation <= ?",
			[]any{int64(v.Generation())}, score); err != nil {
			return nil, err
		}
	}
	if err := s.each(ctx, "SELECT slot, item, vector FROM vectors WHERE generation > ?",
		[]any{int64(v.Generation())}, score); err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b scored) int {
		return cmp.Or(cmp.Compare(b.value, a.value), cmp.Compare(a.item, b.item))
	})
	if limit > 0 {
		found = found[:min(len(found), 4*limit+64)]
	}
	return found, nil
}

// mappedVectors gives the vectors' file, mapped; the caller calls release. What was written since it was
// mapped is no error: see nearest.
func (s *Store) mappedVectors(dim int) (v *vectors.File, release func(), err error) {
	path := vectorPath(s.path)
	s.mapping.RLock()
	if s.vec != nil && s.vecDim == dim && !s.vec.Stale(path) {
		return s.vec, s.mapping.RUnlock, nil
	}
	s.mapping.RUnlock()
	s.mapping.Lock() // once those who search it are done
	if s.vec != nil {
		s.vec.Close()
		s.vec = nil
	}
	s.vec, err = vectors.Open(path, s.id, dim)
	s.vecDim = dim
	v = s.vec
	s.mapping.Unlock()
	if err != nil {
		return nil, nil, err
	}
	s.mapping.RLock()
	if s.vec == v {
		return v, s.mapping.RUnlock, nil
	}
	s.mapping.RUnlock()
	return s.mappedVectors(dim) // another one has mapped it anew meanwhile
}

// cosine is the dot product of vectors of length 1, the second one as the library keeps it.
func cosine(query []float32, data []byte) float64 {
	var sum [4]float64
	i := 0
	for ; i+4 <= len(query) && 4*i+16 <= len(data); i += 4 {
		q, d := (*[4]float32)(query[i:]), (*[16]byte)(data[4*i:])
		for j := range sum {
			sum[j] += float64(q[j] * floatAt(d[4*j:]))
		}
	}
	for ; i < len(query) && 4*i+4 <= len(data); i++ {
		sum[0] += float64(query[i] * floatAt(data[4*i:]))
	}
	return sum[0] + sum[1] + sum[2] + sum[3]
}

func floatAt(b []byte) float32 {
	return math.Float32frombits(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24)
}

// each gives the rows of a query to visit.
func (s *Store) each(ctx context.Context, query string, args []any, visit func(*sql.Rows) error) error {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return s.explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := visit(rows); err != nil {
			return s.explain(err)
		}
	}
	return s.explain(rows.Err())
}

// matching are the items whose names and texts fit words best, by BM25; a name counts as much as four
// places in a text.
func (s *Store) matching(ctx context.Context, match string, limit int, where filter) (found []scored, err error) {
	query := "SELECT words.rowid, bm25(words, 4.0, 1.0) AS rank FROM words JOIN items i ON i.id = words.rowid " +
		"JOIN files f ON f.id = i.file WHERE words MATCH ?" + where.sql() + " ORDER BY rank, words.rowid"
	args := append([]any{match}, where.args...)
	if limit > 0 {
		query, args = query+" LIMIT ?", append(args, 4*limit+64)
	}
	err = s.each(ctx, query, args, func(row *sql.Rows) error {
		var f scored
		err := row.Scan(&f.item, &f.value)
		f.value = -f.value // SQLite's is the better the lower
		found = append(found, f)
		return err
	})
	return found, err
}

// hitColumns are those that hit scans.
const hitColumns = "i.id, f.path, f.kind, i.page, i.start, i.end, f.taken, f.latitude, f.longitude"

func scanHit(row *sql.Rows, more ...any) (item int64, h api.Hit, err error) {
	var path string
	var page sql.NullInt64
	var taken int64
	err = row.Scan(append([]any{&item, &path, &h.Kind, &page, &h.Start, &h.End, &taken, &h.Latitude, &h.Longitude}, more...)...)
	h.Path, h.Page = api.Name(path), int(page.Int64)
	h.Time = time.Unix(0, taken).UTC().Format(time.RFC3339)
	return item, h, err
}

// mostText bounds the text of a hit, in characters.
const mostText = 160

// all lists items by path.
func (s *Store) all(ctx context.Context, where filter, limit int) (hits []api.Hit, err error) {
	query := "SELECT " + hitColumns + ", substr(w.text, 1, 2000)" + fromItems + " JOIN words w ON w.rowid = i.id WHERE 1" +
		where.sql() + " ORDER BY f.path, i.id"
	args := where.args
	if limit > 0 {
		query, args = query+" LIMIT ?", append(args, limit)
	}
	err = s.each(ctx, query, args, func(row *sql.Rows) error {
		var text string
		_, h, err := scanHit(row, &text)
		h.Text = shortened(gather(text))
		hits = append(hits, h)
		return err
	})
	return hits, err
}

// hits looks up the best of what was found.
func (s *Store) hits(ctx context.Context, found []fused, match string, q Query) ([]api.Hit, error) {
	if q.Limit > 0 {
		found = found[:min(len(found), q.Limit)]
	}
	hits := make([]api.Hit, 0, len(found))
	for _, f := range found {
		var text string
		var hit *api.Hit
		err := s.each(ctx, "SELECT "+hitColumns+", substr(w.text, 1, 2000)"+fromItems+
			" JOIN words w ON w.rowid = i.id WHERE i.id = ?", []any{f.item}, func(row *sql.Rows) error {
			_, h, err := scanHit(row, &text)
			hit = &h
			return err
		})
		if err != nil {
			return nil, err
		}
		if hit == nil {
			continue // it was taken away meanwhile
		}
		if f.explain.Words != nil && match != "" {
			err := s.each(ctx, "SELECT snippet(words, 1, '', '', '…', 24) FROM words WHERE words MATCH ? AND rowid = ?",
				[]any{match, f.item}, func(row *sql.Rows) error { return row.Scan(&text) })
			if err != nil {
				return nil, err
			}
		}
		hit.Text = shortened(gather(text))
		hit.Score = math.Round(f.score*1e6) / 1e6
		if q.Explain {
			hit.Explain = rounded(f.explain)
		}
		hits = append(hits, *hit)
	}
	return hits, nil
}

func rounded(e api.Explain) *api.Explain {
	for _, r := range []*api.Rank{e.Text, e.Like, e.Words} {
		if r != nil {
			r.Value = math.Round(r.Value*1e6) / 1e6
		}
	}
	return &e
}

func shortened(text string) string {
	runes := []rune(text)
	if len(runes) <= mostText {
		return text
	}
	return strings.TrimSpace(string(runes[:mostText-1])) + "…"
}

// parseTime reads a date as --after takes it: a year, a month, a day, or a time as RFC 3339 has it. Times
// without a zone are in UTC, as those of cameras are taken to be.
func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02", "2006-01", "2006"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("it is no date such as 2024-05-31 or 2024")
}
