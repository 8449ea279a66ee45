package store

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/studio"
)

// A search goes in three steps: the index of words finds messages that have all words and facets, the
// newest first; joins leave out what is in the trash and what other filters do not want; the best are
// read, with their contexts. Words that stand in half of all messages would make ranking slow, so
// the newest mostRanked are ranked, and older ones are not found by words alone.
const (
	mostRanked = 2000
	firstBatch = 500
	// fewChats is up to how many chats of a folder or tag are asked for as facets.
	fewChats = 500
	// contextBytes is about how long Hit.Context is.
	contextBytes = 240
	mostTitles   = 10
)

// plan is a query in the store's words.
type plan struct {
	studio.Query
	phrases []studio.Phrase
	match   string     // for the table search
	facets  [][]string // one of each has to be there
	plain   bool       // no word and no filter is asked for
	where   []string
	args    []any
	nothing bool // nothing can be found
}

// quoted is a word of the index in the language of FTS5. It holds letters and digits alone.
func quoted(word string) string { return `"` + word + `"` }

// expression makes of phrases what FTS5 is asked: all that are wanted, and apart those that are not.
func expression(phrases []studio.Phrase) (wanted, unwanted []string) {
	for _, p := range phrases {
		e := quoted(strings.Join(p.Words, " "))
		if p.Prefix {
			e += " *"
		}
		if p.Not {
			unwanted = append(unwanted, e)
		} else {
			wanted = append(wanted, e)
		}
	}
	return wanted, unwanted
}

func (s *Store) plan(ctx context.Context, q studio.Query) (*plan, error) {
	p := &plan{Query: q, phrases: studio.ParseWords(q.Words)}
	if p.Limit <= 0 {
		p.Limit = 50
	}
	p.Limit, p.Offset = min(p.Limit, 1000), max(p.Offset, 0)
	either := func(words []string) { p.facets = append(p.facets, words) }
	wanted := func(prefix, value string) {
		if value != "" {
			either([]string{prefix + value})
		}
	}
	numbered := func(prefix string, ns []int64) []string {
		list := make([]string, len(ns))
		for i, n := range ns {
			list[i] = fmt.Sprint(prefix, n)
		}
		return list
	}
	p.where = []string{"m.trashed IS NULL", "c.trashed IS NULL", "w.trashed IS NULL"}
	if q.Workspaces != nil {
		ids, err := toJSON(q.Workspaces)
		if err != nil {
			return nil, err
		}
		ns, err := rows(ctx, s.reader, one[int64],
			"SELECT n FROM workspaces WHERE trashed IS NULL AND id IN (SELECT value FROM json_each(?))", ids)
		if err != nil {
			return nil, err
		}
		if len(ns) == 0 {
			p.nothing = true
			return p, nil
		}
		either(numbered(facetWorkspace, ns))
		p.where, p.args = append(p.where, "c.workspace IN (SELECT value FROM json_each(?))"), append(p.args, ids)
	}
	// Folders, tags and chats are sets of chats.
	for _, set := range []struct {
		query string
		arg   string
	}{
		{"SELECT n FROM chats WHERE id = ?", string(q.Chat)},
		{"SELECT chat FROM tags WHERE tag = ?", q.Tag},
		{below + "SELECT n FROM chats WHERE folder IN below", string(q.Folder)},
	} {
		if set.arg == "" {
			continue
		}
		ns, err := rows(ctx, s.reader, one[int64], set.query, set.arg)
		if err != nil {
			return nil, err
		}
		switch {
		case len(ns) == 0:
			p.nothing = true
			return p, nil
		case len(ns) <= fewChats:
			either(numbered(facetChat, ns))
		}
		list, err := toJSON(ns)
		if err != nil {
			return nil, err
		}
		p.where, p.args = append(p.where, "c.n IN (SELECT value FROM json_each(?))"), append(p.args, list)
	}
	if !q.Archived {
		p.where = append(p.where, "c.archived = 0")
	}
	wanted(facetRole, string(q.Role))
	if q.Model != "" {
		wanted(facetModel, hashed(q.Model))
	}
	for _, id := range []struct {
		prefix string
		id     studio.ID
	}{{facetPersona, q.Persona}, {facetAuthor, q.Author}} {
		if id.id != "" && !id.id.Valid() {
			p.nothing = true
			return p, nil
		}
		wanted(id.prefix, string(id.id))
	}
	switch q.Kind {
	case "", studio.KindPicture, studio.KindPage, studio.KindSound, studio.KindFilm, studio.KindFile:
		wanted(facetKind, string(q.Kind))
	default:
		return nil, fmt.Errorf("%w: no message has attachments of the kind %q", studio.ErrInvalid, q.Kind)
	}
	switch q.Role {
	case "", studio.RoleUser, studio.RoleAssistant, studio.RoleSystem:
	default:
		return nil, fmt.Errorf("%w: there is no role %q", studio.ErrInvalid, q.Role)
	}
	if !q.From.IsZero() {
		p.where, p.args = append(p.where, "m.created >= ?"), append(p.args, q.From.UnixMicro())
	}
	if !q.Until.IsZero() {
		p.where, p.args = append(p.where, "m.created < ?"), append(p.args, q.Until.UnixMicro())
	}
	if months := spanned(q); months != nil {
		either(months)
	}
	p.plain = len(p.phrases)+len(p.facets) == 0
	p.match = p.expression()
	return p, nil
}

// expression is what the table search is asked: phrases that are wanted and those that are not, and
// facets, with others beside those of the plan.
func (p *plan) expression(others ...string) string {
	is, not := expression(p.phrases)
	var parts, facets []string
	for _, words := range p.facets {
		quotes := make([]string, len(words))
		for i, w := range words {
			quotes[i] = quoted(w)
		}
		facets = append(facets, "("+strings.Join(quotes, " OR ")+")")
	}
	for _, w := range others {
		facets = append(facets, quoted(w))
	}
	if len(is)+len(facets) == 0 {
		facets = append(facets, quoted(facetAll))
	}
	if len(is) > 0 {
		parts = append(parts, "({body attached} : ("+strings.Join(is, " AND ")+"))")
	}
	if len(facets) > 0 {
		parts = append(parts, "(facets : ("+strings.Join(facets, " AND ")+"))")
	}
	match := strings.Join(parts, " AND ")
	if len(not) > 0 {
		match = "(" + match + ") NOT ({body attached} : (" + strings.Join(not, " OR ") + "))"
	}
	return match
}

// fits reports whether the index would find a message: expression, for few of them.
func (p *plan) fits(e entry) bool {
	body, attached := strings.Fields(e.body), strings.Fields(e.attached)
	for i := range p.phrases {
		if p.phrases[i].Not == (p.phrases[i].In(body) || p.phrases[i].In(attached)) {
			return false
		}
	}
	facets := strings.Fields(e.facets)
	for _, words := range p.facets {
		if !slices.ContainsFunc(words, func(w string) bool { return slices.Contains(facets, w) }) {
			return false
		}
	}
	return len(facets) > 0
}

// spanned are the facets of the months or years of a span of time; nil where it is open or long.
func spanned(q studio.Query) []string {
	if q.From.IsZero() {
		return nil
	}
	until := q.Until
	if until.IsZero() {
		return nil
	}
	from := q.From.UTC()
	if months := (until.Year()-from.Year())*12 + int(until.Month()) - int(from.Month()); months > 120 || until.Before(from) {
		return nil
	} else if months > 12 {
		var years []string
		for y := from.Year(); y <= until.UTC().Year(); y++ {
			years = append(years, fmt.Sprintf("%s%04d", facetYear, y))
		}
		return years
	}
	var list []string
	last := month(until)
	for t := from.AddDate(0, 0, 1-from.Day()); ; t = t.AddDate(0, 1, 0) {
		list = append(list, facetMonth+month(t))
		if month(t) >= last {
			return list
		}
	}
}

// found is a message by number, and its rank: bm25, the best first.
type found struct {
	n    int64
	rank float64
	blob int64 // the picture that is like, by number; else 0
}

// Search finds messages.
func (s *Store) Search(ctx context.Context, q studio.Query) (*studio.Hits, error) {
	p, err := s.plan(ctx, q)
	if err != nil {
		return nil, err
	}
	hits := &studio.Hits{Hits: []studio.Hit{}}
	if p.nothing {
		return hits, nil
	}
	if q.Like != nil {
		return hits, s.searchLike(ctx, p, hits)
	}
	if hits.Hits, err = s.searchTitles(ctx, p); err != nil {
		return nil, err
	}
	ranked := len(p.phrases) > 0
	want := p.Offset + p.Limit + 1
	if ranked {
		want = max(want, mostRanked)
	}
	list, err := s.matches(ctx, p, want)
	if err != nil {
		return nil, err
	}
	if ranked {
		slices.SortStableFunc(list, func(a, b found) int {
			switch {
			case a.rank < b.rank:
				return -1
			case a.rank > b.rank:
				return 1
			}
			return 0
		})
	}
	hits.More = len(list) > p.Offset+p.Limit
	list = list[min(p.Offset, len(list)):min(p.Offset+p.Limit, len(list))]
	messages, err := s.describe(ctx, p, list)
	hits.Hits = append(hits.Hits, messages...)
	return hits, err
}

// matches lists messages that the index finds and the joins leave, the newest first, want at most.
func (s *Store) matches(ctx context.Context, p *plan, want int) ([]found, error) {
	rank := "0.0"
	if len(p.phrases) > 0 {
		rank = "bm25(search, 1.0, 0.5, 0.0)"
	}
	query := "SELECT f.n, f.rank, " + strings.Join(p.where, " AND ") + " FROM (SELECT rowid n, " + rank + " rank FROM search" +
		" WHERE search MATCH ? AND rowid < ? ORDER BY rowid DESC LIMIT ?) f" +
		" CROSS JOIN messages m ON m.n = f.n CROSS JOIN chats c ON c.n = m.chat CROSS JOIN workspaces w ON w.id = c.workspace"
	var list []found
	below, batch := int64(math.MaxInt64), max(firstBatch, want)
	for {
		got := 0
		_, err := rows(ctx, s.reader, func(scan func(...any) error) (struct{}, error) {
			var f found
			var ok bool
			if err := scan(&f.n, &f.rank, &ok); err != nil {
				return struct{}{}, err
			}
			got++
			below = f.n
			if ok && len(list) < want {
				list = append(list, f)
			}
			return struct{}{}, nil
		}, query, slices.Concat(p.args, []any{p.match, below, batch})...)
		if err != nil {
			return nil, err
		}
		if got < batch || len(list) >= want {
			return list, nil
		}
		batch = 4 * batch
	}
}

// shown is what a hit has of a message.
type shown struct {
	turn
	workspace studio.ID
	title     string
}

// describe reads what is shown of messages, in the order of the list.
func (s *Store) describe(ctx context.Context, p *plan, list []found) ([]studio.Hit, error) {
	var ns, blobs []int64
	for _, f := range list {
		ns, blobs = append(ns, f.n), append(blobs, f.blob)
	}
	ids, err := toJSON(ns)
	if err != nil {
		return nil, err
	}
	messages, err := rows(ctx, s.reader, func(scan func(...any) error) (m shown, err error) {
		m.turn, err = scanMessage(func(to ...any) error { return scan(append(to, &m.workspace, &m.title)...) })
		return m, err
	}, strings.Replace(messageColumns, " FROM ", ", c.workspace, c.title FROM ", 1)+
		"WHERE m.n IN (SELECT value FROM json_each(?))", ids)
	if err != nil {
		return nil, err
	}
	hashes, err := s.hashes(ctx, blobs)
	if err != nil {
		return nil, err
	}
	byNumber := map[int64]shown{}
	for _, m := range messages {
		byNumber[m.n] = m
	}
	hits := make([]studio.Hit, 0, len(list))
	for _, f := range list {
		m, ok := byNumber[f.n]
		if !ok { // it was deleted meanwhile
			continue
		}
		hit := studio.Hit{
			Workspace: m.workspace, Chat: m.Chat, Title: m.title, Message: m.ID, Role: m.Role,
			Context: contextOf(m.Parts, p.phrases), Blob: hashes[f.blob], Score: -f.rank, At: m.Created,
		}
		if m.Answer != nil {
			hit.Model = m.Answer.Model
		}
		if hit.Blob != "" {
			hit.Likeness = hit.Score
		}
		hits = append(hits, hit)
	}
	return hits, nil
}

// hashes are those of blobs, by number.
func (s *Store) hashes(ctx context.Context, blobs []int64) (map[int64]studio.Hash, error) {
	ids, err := toJSON(blobs)
	if err != nil {
		return nil, err
	}
	byNumber := map[int64]studio.Hash{}
	_, err = rows(ctx, s.reader, func(scan func(...any) error) (n int64, err error) {
		var hash studio.Hash
		err = scan(&n, &hash)
		byNumber[n] = hash
		return n, err
	}, "SELECT n, hash FROM blobs WHERE n IN (SELECT value FROM json_each(?))", ids)
	return byNumber, err
}

// contextOf is the text around the hit: in what is said, else in an attachment.
func contextOf(parts []studio.Part, phrases []studio.Phrase) []studio.Piece {
	first := studio.Context(studio.Text(parts), phrases, contextBytes)
	isHit := func(p studio.Piece) bool { return p.Hit }
	if slices.ContainsFunc(first, isHit) {
		return first
	}
	for _, p := range parts {
		if p.Kind == studio.KindText {
			continue
		}
		for _, text := range []string{p.Text, p.Name} {
			if pieces := studio.Context(text, phrases, contextBytes); slices.ContainsFunc(pieces, isHit) {
				return pieces
			}
		}
	}
	return first
}

// searchTitles finds chats by their titles: on the first page, where nothing is asked for that chats
// do not have.
func (s *Store) searchTitles(ctx context.Context, p *plan) ([]studio.Hit, error) {
	is, not := expression(p.phrases)
	if len(is) == 0 || p.Offset > 0 || p.Chat != "" || p.Role != "" || p.Model != "" || p.Persona != "" || p.Author != "" ||
		p.Kind != "" || !p.From.IsZero() || !p.Until.IsZero() {
		return nil, nil
	}
	match := "(" + strings.Join(is, " AND ") + ")"
	if len(not) > 0 {
		match += " NOT (" + strings.Join(not, " OR ") + ")"
	}
	scan := func(scan func(...any) error) (h studio.Hit, err error) {
		var created int64
		err = scan(&h.Workspace, &h.Chat, &h.Title, &h.Score, &created)
		h.At, h.Context = at(created), studio.Context(h.Title, p.phrases, contextBytes)
		return h, err
	}
	return rows(ctx, s.reader, scan, "SELECT c.workspace, c.id, c.title, -t.rank, c.created FROM titles t CROSS JOIN chats c ON c.n = t.rowid"+
		" JOIN workspaces w ON w.id = c.workspace WHERE titles MATCH ? AND "+
		strings.Join(p.where[1:], " AND ")+fmt.Sprintf(" ORDER BY t.rank LIMIT %d", mostTitles), append([]any{match}, p.args...)...)
}
