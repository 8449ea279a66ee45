package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crossattn/xpipe/studio"
)

// Words and filters find what they should, and nothing else.
func TestSearch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	other := studio.Workspace{Name: "Other"}
	b.ok(b.AddWorkspace(ctx, &other))
	persona, author := studio.NewID(), studio.NewID()
	folder := studio.Folder{Workspace: b.workspace.ID, Name: "F"}
	b.ok(b.AddFolder(ctx, &folder))
	inner := studio.Folder{Workspace: b.workspace.ID, Parent: folder.ID, Name: "G"}
	b.ok(b.AddFolder(ctx, &inner))
	add := func(c *studio.Chat, messages ...studio.Message) {
		t.Helper()
		b.ok(b.AddChat(ctx, c))
		for _, m := range messages {
			m.Chat, m.State = c.ID, studio.Done
			if m.Role == "" {
				m.Role = studio.RoleUser
			}
			b.ok(b.AddMessage(ctx, &m))
		}
	}
	text := func(s string) studio.Message { return studio.Message{Parts: []studio.Part{studio.TextPart(s)}} }
	answered := func(s, model string, persona studio.ID) studio.Message {
		m := text(s)
		m.Role, m.Answer = studio.RoleAssistant, &studio.Answer{Model: model, Persona: persona}
		return m
	}
	dated := func(m studio.Message, day string) studio.Message {
		at, err := time.Parse(time.DateOnly, day)
		b.ok(err)
		m.Created = at
		return m
	}
	signed := text("signed by a person")
	signed.Author = author
	sound := studio.Part{Kind: studio.KindSound, Blob: b.blob("s"), Name: "Überfahrt.wav", Type: "audio/wav", Text: "the ferry leaves at noon"}
	add(&studio.Chat{Workspace: b.workspace.ID, Title: "Red cars", Folder: inner.ID, Tags: []string{"cars"}},
		text("A red car beside a Café"), answered("It is a red Ferrari, not a blue car", "blip2-mini", persona),
		text("北京在哪里"), signed)
	add(&studio.Chat{Workspace: b.workspace.ID, Title: "Boats", Archived: true}, text("a boat in the archive"))
	add(&studio.Chat{Workspace: other.ID, Title: "Elsewhere", Tags: []string{"boats"}},
		studio.Message{Parts: []studio.Part{studio.TextPart("when?"), sound}}, answered("at noon, by boat", "gpt-4", ""),
		dated(text("an old boat"), "2020-02-28"), dated(text("an older boat"), "2018-12-31"))
	day := func(s string) time.Time { at, err := time.Parse(time.DateOnly, s); b.ok(err); return at }
	for _, c := range []struct {
		q    studio.Query
		want string // the beginnings of texts, in no order; titles are in brackets
	}{
		{studio.Query{Words: "red "}, "(Red cars) A red It is"},
		{studio.Query{Words: "cafe"}, "A red"},
		{studio.Query{Words: "CAFÉ "}, "A red"},
		{studio.Query{Words: "ferr"}, "It is when?"}, // prefix, and what was heard
		{studio.Query{Words: "ferr "}, ""},
		{studio.Query{Words: `"red car"`}, "A red"},
		{studio.Query{Words: `red -blue`}, "(Red cars) A red"},
		{studio.Query{Words: "-red -boat ", Workspaces: []studio.ID{b.workspace.ID}}, "北京 signed"},
		{studio.Query{Words: "北京"}, "北京"},
		{studio.Query{Words: "京北"}, ""},
		{studio.Query{Words: "überfahrt"}, "when?"},
		{studio.Query{Words: "boat "}, "at noon, an old an older"},
		{studio.Query{Words: "boat ", Archived: true}, "a boat at noon, an old an older"},
		{studio.Query{Words: "boats ", Archived: true}, "(Boats)"},
		{studio.Query{Words: "boat ", Workspaces: []studio.ID{b.workspace.ID}}, ""},
		{studio.Query{Words: "boat ", Workspaces: []studio.ID{}}, ""},
		{studio.Query{Words: "boat ", Workspaces: []studio.ID{studio.NewID(), other.ID}}, "at noon, an old an older"},
		{studio.Query{Words: "boat ", From: day("2020-01-01"), Until: day("2020-12-31")}, "an old"},
		{studio.Query{Words: "boat ", From: day("2018-12-31"), Until: day("2020-02-28")}, "an older"},
		{studio.Query{From: day("2018-01-01"), Until: day("2021-01-01")}, "an old an older"},
		{studio.Query{Until: day("2021-01-01")}, "an old an older"},
		{studio.Query{Model: "blip2-mini"}, "It is"},
		{studio.Query{Model: "gpt-4", Words: "ferrari"}, ""},
		{studio.Query{Persona: persona}, "It is"},
		{studio.Query{Persona: "x OR y"}, ""},
		{studio.Query{Author: author}, "signed"},
		{studio.Query{Kind: studio.KindSound}, "when?"},
		{studio.Query{Tag: "cars", Words: "car"}, "(Red cars) A red It is"},
		{studio.Query{Tag: "none", Words: "car"}, ""},
		{studio.Query{Folder: folder.ID, Words: "car "}, "A red It is"},
		{studio.Query{Role: studio.RoleAssistant, Words: "noon"}, "at noon,"},
		{studio.Query{Chat: studio.NewID()}, ""},
		{studio.Query{Words: `"`}, "A red It is 北京 signed when? at noon, an old an older"}, // no words: all
		{studio.Query{Words: `NEAR(red car) OR * ^ {facets}: all`}, ""},
		{studio.Query{Words: "rassistant"}, ""}, // facets are no words
	} {
		b.sameMatches(c.q)
		hits, err := b.Search(ctx, c.q)
		b.ok(err)
		var got []string
		for _, h := range hits.Hits {
			if h.Message == "" {
				got = append(got, "("+h.Title+")")
				continue
			}
			m, err := b.Message(ctx, h.Message)
			b.ok(err)
			words := strings.Fields(m.Text())
			got = append(got, strings.Join(words[:min(2, len(words))], " "))
			marked := slices.ContainsFunc(h.Context, func(p studio.Piece) bool { return p.Hit })
			if hasWords := strings.Trim(c.q.Words, `" -`) != "" && !strings.HasPrefix(c.q.Words, "-"); marked != hasWords {
				t.Errorf("%+v: context %+v", c.q, h.Context)
			}
		}
		var want []string
		for _, w := range []string{"(Red cars)", "(Boats)", "A red", "It is", "北京", "signed", "when?", "a boat", "at noon,", "an older", "an old "} {
			if strings.Contains(c.want+" ", w) {
				want = append(want, strings.TrimSpace(w))
			}
		}
		for i, g := range got {
			for _, w := range want {
				if strings.HasPrefix(g, w) && (w != "an old" || g == w) {
					got[i] = w
				}
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%+v: %q, want %q", c.q, got, want)
		}
	}
	for _, q := range []studio.Query{{Kind: "x"}, {Role: "x"}, {Like: []float32{0, 0}}, {Like: []float32{}}} {
		_, err := b.Search(ctx, q)
		b.is(err, studio.ErrInvalid)
	}
	// Pages of the result fit together, and a chat that moves is found where it is.
	hits, err := b.Search(ctx, studio.Query{Limit: 3})
	b.ok(err)
	next, err := b.Search(ctx, studio.Query{Limit: 100, Offset: 3})
	b.ok(err)
	b.same("pages", []any{len(hits.Hits), hits.More, len(next.Hits), next.More}, []any{3, true, 5, false})
	moved, err := b.Search(ctx, studio.Query{Words: `"red car"`})
	b.ok(err)
	_, err = b.UpdateChat(ctx, moved.Hits[0].Chat, func(c *studio.Chat) error { c.Workspace = other.ID; return nil })
	b.ok(err)
	moved, err = b.Search(ctx, studio.Query{Words: `"red car"`, Workspaces: []studio.ID{other.ID}})
	b.ok(err)
	b.same("moved", len(moved.Hits), 1)
	b.ok(b.check())
}

// Pictures are found by likeness, exactly as plain products find them, also with filters.
func TestLikeness(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	r := rand.New(rand.NewPCG(1, 2))
	const n, dim = 120, 37
	plain := map[studio.Hash][]float32{}
	vector := func() []float32 {
		v := make([]float32, dim)
		for i := range v {
			v[i] = float32(r.NormFloat64()) + 2 // close to each other, as those of clip are
		}
		return v
	}
	odd := b.newChat("Odd")
	inOdd := map[studio.Hash]bool{}
	for i := range n {
		p := b.picture(fmt.Sprint("picture", i))
		chat := b.chat.ID
		if i%10 == 0 {
			chat, inOdd[p.Blob] = odd.ID, true
		}
		b.ask(chat, "", studio.TextPart(fmt.Sprint("look ", i%3)), p)
		plain[p.Blob] = vector()
	}
	missing, err := b.Unembedded(ctx, "clip", 1000)
	b.ok(err)
	b.same("unembedded", len(missing), n)
	for i, hash := range missing {
		if i == n/2 { // the rest comes when the matrix is in memory
			_, err := b.Search(ctx, studio.Query{Like: vector(), LikeModel: "clip"})
			b.ok(err)
		}
		b.ok(b.SetVector(ctx, hash, "clip", plain[hash]))
	}
	b.is(b.SetVector(ctx, studio.Hash(strings.Repeat("ab", 32)), "clip", vector()), studio.ErrNotFound)
	check := func(q studio.Query, allowed func(studio.Hash) bool) {
		t.Helper()
		query, err := normalized(q.Like)
		b.ok(err)
		type scored struct {
			hash   studio.Hash
			cosine float64
		}
		var want []scored
		for hash, v := range plain {
			v, err := normalized(v)
			b.ok(err)
			var sum float64
			for i := range v {
				sum += float64(v[i]) * float64(query[i])
			}
			if allowed(hash) {
				want = append(want, scored{hash, sum})
			}
		}
		slices.SortFunc(want, func(a, b scored) int {
			if a.cosine > b.cosine {
				return -1
			}
			return 1
		})
		hits, err := b.Search(ctx, q)
		b.ok(err)
		if len(hits.Hits) != min(q.Limit, len(want)) || hits.More != (len(want) > q.Limit) {
			t.Fatalf("%d hits, more %v, of %d", len(hits.Hits), hits.More, len(want))
		}
		for i, h := range hits.Hits {
			if h.Blob != want[i].hash || h.Likeness != want[i].cosine {
				t.Errorf("hit %d: %s %v, want %s %v", i, h.Blob, h.Likeness, want[i].hash, want[i].cosine)
			}
		}
	}
	every := func(studio.Hash) bool { return true }
	for range 5 {
		check(studio.Query{Like: vector(), LikeModel: "clip", Limit: 5}, every)
		check(studio.Query{Like: vector(), LikeModel: "clip", Limit: 1000}, every)
		check(studio.Query{Like: vector(), LikeModel: "clip", Limit: 5, Chat: odd.ID}, func(h studio.Hash) bool { return inOdd[h] })
	}
	hits, err := b.Search(ctx, studio.Query{Like: vector(), LikeModel: "clip", Words: "look 2 ", Limit: 200})
	b.ok(err)
	b.same("with words", len(hits.Hits), n/3)
	hits, err = b.Search(ctx, studio.Query{Like: vector(), LikeModel: "another"})
	b.ok(err)
	b.same("another model", len(hits.Hits), 0)
	hits, err = b.Search(ctx, studio.Query{Like: []float32{1, 2}, LikeModel: "clip"})
	b.ok(err)
	b.same("another length", len(hits.Hits), 0)
	b.ok(b.Purge(ctx, studio.Thing{Kind: studio.ThingChat, ID: odd.ID}))
	for hash := range inOdd {
		delete(plain, hash)
	}
	check(studio.Query{Like: vector(), LikeModel: "clip", Limit: 50}, every)
	b.reopen()
	check(studio.Query{Like: vector(), LikeModel: "clip", Limit: 50}, every)
}

// sameMatches fails where the index finds others for a query than plan.fits, which does without it.
func (b *bundle) sameMatches(q studio.Query) {
	b.t.Helper()
	ctx := b.t.Context()
	p, err := b.plan(ctx, q)
	b.ok(err)
	if p.nothing {
		return
	}
	index, err := rows(ctx, b.reader, one[int64], "SELECT rowid FROM search WHERE search MATCH ? ORDER BY rowid", p.match)
	b.ok(err)
	entries, err := rows(ctx, b.reader, scanEntry, entryQuery+"ORDER BY m.n")
	b.ok(err)
	var plain []int64
	for _, e := range entries {
		if p.fits(e) {
			plain = append(plain, e.n)
		}
	}
	if !slices.Equal(index, plain) {
		b.t.Errorf("%+v: the index finds %v, plainly it is %v", q, index, plain)
	}
}
