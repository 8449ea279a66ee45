package store

import (
	"context"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/studio"
)

// searchLike finds messages by their pictures.
func (s *Store) searchLike(ctx context.Context, p *plan, hits *studio.Hits) error {
	query, err := normalized(p.Like)
	if err != nil {
		return err
	}
	want := p.Offset + p.Limit + 1
	// The likest of all pictures are asked first: most of them fit most filters.
	const spare = 4
	likest, err := s.likest(ctx, p.LikeModel, query, spare*want, nil)
	if err != nil {
		return err
	}
	newest, err := s.pictures(ctx, p, likest)
	if err != nil {
		return err
	}
	if len(newest) < want && len(likest) == spare*want { // there may be others, further down
		if newest, err = s.pictures(ctx, p, nil); err != nil {
			return err
		}
		allowed := make(map[int64]bool, len(newest))
		for blob := range newest {
			allowed[blob] = true
		}
		if likest, err = s.likest(ctx, p.LikeModel, query, want, allowed); err != nil {
			return err
		}
	}
	var list []found
	for _, l := range likest {
		if n, ok := newest[l.blob]; ok {
			list = append(list, found{n: n, rank: -l.cosine, blob: l.blob})
		}
	}
	hits.More = len(list) > p.Offset+p.Limit
	list = list[min(p.Offset, len(list)):min(p.Offset+p.Limit, len(list))]
	hits.Hits, err = s.describe(ctx, p, list)
	return err
}

// pictures gives, of some pictures or all, those that a message has which the plan wants, and the
// newest such message. Both are numbers of rows.
func (s *Store) pictures(ctx context.Context, p *plan, some []likeness) (map[int64]int64, error) {
	from, args := "(SELECT rowid n FROM search WHERE search MATCH ?) f CROSS JOIN attachments a ON a.message = f.n",
		[]any{p.expression(facetKind + string(studio.KindPicture))}
	if some != nil {
		blobs := make([]int64, len(some))
		for i, l := range some {
			blobs[i] = l.blob
		}
		ids, err := toJSON(blobs)
		if err != nil {
			return nil, err
		}
		from, args = "json_each(?) f CROSS JOIN attachments a ON a.blob = f.value", []any{ids}
	}
	type pair struct{ blob, message int64 }
	pairs, err := rows(ctx, s.reader, func(scan func(...any) error) (v pair, err error) {
		return v, scan(&v.blob, &v.message)
	}, "SELECT a.blob, m.n FROM "+from+" CROSS JOIN messages m ON m.n = a.message CROSS JOIN chats c ON c.n = m.chat"+
		" CROSS JOIN workspaces w ON w.id = c.workspace WHERE a.kind = 'picture' AND "+strings.Join(p.where, " AND "),
		slices.Concat(args, p.args)...)
	if err != nil {
		return nil, err
	}
	var unfit map[int64]bool
	if some != nil && !p.plain { // the index was not asked
		unfit = map[int64]bool{}
		ns := make([]int64, len(pairs))
		for i, v := range pairs {
			ns[i] = v.message
		}
		ids, err := toJSON(ns)
		if err != nil {
			return nil, err
		}
		entries, err := rows(ctx, s.reader, scanEntry, entryQuery+"WHERE m.n IN (SELECT value FROM json_each(?))", ids)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			unfit[e.n] = !p.fits(e)
		}
	}
	newest := map[int64]int64{}
	for _, v := range pairs {
		if !unfit[v.message] {
			newest[v.blob] = max(newest[v.blob], v.message)
		}
	}
	return newest, nil
}
