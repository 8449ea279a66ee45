package index

import (
	"cmp"
	"context"
	"database/sql"
	"math"
	"math/bits"
	"slices"

	"github.com/crossattn/xpipe/api"
)

// Two pictures are near-equal whose files are equal, or whose looks differ in a few bits and whose vectors
// are not far apart, which tells flat pictures from each other. Of ten photographs of 3 to 11 megapixels,
// scaled to a half and a third and compressed with qualities of 30 to 85, the looks changed by up to 2
// bits, and of two pictures of 320 pixels by up to 4, with cosines of 0.75 and more by clip-mini; those of
// different photographs differ by 14 and more.
const (
	mostLookBits    = 5
	leastLikeCosine = 0.8
)

// picture is what Duplicates compares.
type picture struct {
	item   int64
	look   uint64
	hash   string
	vector []byte
}

// Duplicates groups pictures that are nearly equal, within what is sought; its text does not count. Each
// group is given by path, with numbers from 1, and scores that are the cosines with its first picture.
func (s *Store) Duplicates(ctx context.Context, sought api.Sought) ([]api.Hit, error) {
	sought.In = []string{api.KindPhoto}
	where, err := Query{Sought: sought}.filter()
	if err != nil {
		return nil, err
	}
	var all []picture
	err = s.each(ctx, "SELECT i.id, f.look, f.hash, v.vector"+fromItems+
		" JOIN vectors v ON v.item = i.id WHERE f.look IS NOT NULL"+where.sql()+" ORDER BY f.path", where.args,
		func(row *sql.Rows) error {
			var p picture
			var look int64
			err := row.Scan(&p.item, &look, &p.hash, &p.vector)
			p.look = uint64(look)
			all = append(all, p)
			return err
		})
	if err != nil {
		return nil, err
	}
	var hits []api.Hit
	number := 0
	for _, group := range groupsOf(ctx, all) {
		if sought.Limit > 0 && len(hits) >= sought.Limit {
			break
		}
		number++
		first := floatsOf(all[group[0]].vector)
		found := make([]fused, len(group))
		for i, at := range group {
			found[i] = fused{item: all[at].item, score: math.Min(1, cosine(first, all[at].vector))}
		}
		some, err := s.hits(ctx, found, "", Query{})
		if err != nil {
			return nil, err
		}
		for i := range some {
			some[i].Group = number
		}
		hits = append(hits, some...)
	}
	return hits, ctx.Err()
}

// groupsOf joins near-equal pictures, and returns the groups of two and more in order of their first one.
// Pictures whose looks differ in a few bits have one of a few parts of them in common.
func groupsOf(ctx context.Context, all []picture) (groups [][]int) {
	parent := make([]int, len(all))
	for i := range parent {
		parent[i] = i
	}
	root := func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	join := func(i, j int) {
		i, j = root(i), root(j)
		parent[max(i, j)] = min(i, j) // the first one stands for all
	}
	equal := map[string]int{}
	for i, p := range all {
		if first, ok := equal[p.hash]; ok {
			join(i, first)
		} else {
			equal[p.hash] = i
		}
	}
	const parts = mostLookBits + 1
	for part := range parts {
		from, to := part*64/parts, (part+1)*64/parts
		with := map[uint64][]int{}
		for i, p := range all {
			if ctx.Err() != nil {
				return nil
			}
			key := p.look >> from & (1<<(to-from) - 1)
			for _, j := range with[key] {
				if bits.OnesCount64(p.look^all[j].look) <= mostLookBits && root(i) != root(j) &&
					cosine(floatsOf(p.vector), all[j].vector) >= leastLikeCosine {
					join(i, j)
				}
			}
			with[key] = append(with[key], i)
		}
	}
	members := map[int][]int{}
	for i := range all {
		members[root(i)] = append(members[root(i)], i)
	}
	for _, group := range members {
		if len(group) > 1 {
			groups = append(groups, group)
		}
	}
	slices.SortFunc(groups, func(a, b []int) int { return cmp.Compare(a[0], b[0]) })
	return groups
}
