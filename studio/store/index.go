package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/crossattn/xpipe/studio"
)

// entry is a message's row of the table search. The table holds no text, so that a row is deleted by
// saying what it held: entries are made of the messages as they are before a change and after.
type entry struct {
	n                      int64
	body, attached, facets string
}

// Facets are words for what filters ask for. They stand in the index of words, which finds those
// that have several of them in one pass; tables would be asked message by message.
const (
	facetAll       = "all"
	facetChat      = "c" // and the number of its row
	facetWorkspace = "w" // likewise
	facetRole      = "r"
	facetModel     = "m" // and its name's hash
	facetPersona   = "p"
	facetAuthor    = "a"
	facetKind      = "k"
	facetYear      = "y" // 2026
	facetMonth     = "d" // 202612
)

func hashed(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:8])
}

func month(t time.Time) string { return t.UTC().Format("200601") }

// entryQuery reads what an entry is made of.
const entryQuery = "SELECT m.n, role, state, m.author, m.created, answer, parts, c.n, w.n FROM messages m" +
	" JOIN chats c ON c.n = m.chat JOIN workspaces w ON w.id = c.workspace "

func scanEntry(scan func(...any) error) (e entry, err error) {
	var role, author, parts string
	var state studio.State
	var created, chat, workspace int64
	var answer sql.NullString
	if err = scan(&e.n, &role, &state, &author, &created, &answer, &parts, &chat, &workspace); err != nil {
		return e, err
	}
	var list []studio.Part
	if err = fromJSON(parts, &list); err != nil {
		return e, err
	}
	if !state.Final() { // what is being written is found when it is there, not word by word
		return e, nil
	}
	facets := []string{facetAll, fmt.Sprint(facetChat, chat), fmt.Sprint(facetWorkspace, workspace), facetRole + role,
		facetYear + at(created).Format("2006"), facetMonth + month(at(created))}
	if author != "" {
		facets = append(facets, facetAuthor+author)
	}
	if answer.Valid {
		var a studio.Answer
		if err = fromJSON(answer.String, &a); err != nil {
			return e, err
		}
		facets = append(facets, facetModel+hashed(a.Model))
		if a.Persona != "" {
			facets = append(facets, facetPersona+string(a.Persona))
		}
	}
	var body, attached []string
	for _, p := range list {
		if p.Kind == studio.KindText {
			body = appendWords(body, p.Text)
		} else {
			attached = appendWords(appendWords(attached, p.Name), p.Text)
			facets = append(facets, facetKind+string(p.Kind))
		}
	}
	e.body, e.attached, e.facets = strings.Join(body, " "), strings.Join(attached, " "), strings.Join(facets, " ")
	return e, nil
}

func appendWords(words []string, text string) []string {
	for _, t := range studio.Tokens(text) {
		words = append(words, t.Text)
	}
	return words
}

func messageEntries(ctx context.Context, q querier, message int64) ([]entry, error) {
	return rows(ctx, q, scanEntry, entryQuery+"WHERE m.n = ?", message)
}

func chatEntries(ctx context.Context, q querier, chat int64) ([]entry, error) {
	return rows(ctx, q, scanEntry, entryQuery+"WHERE m.chat = ?", chat)
}

func index(ctx context.Context, tx *sql.Tx, entries []entry) error {
	for _, e := range entries {
		_, err := tx.ExecContext(ctx, "INSERT INTO search (rowid, body, attached, facets) VALUES (?, ?, ?, ?)",
			e.n, e.body, e.attached, e.facets)
		if err != nil {
			return err
		}
	}
	return nil
}

func unindex(ctx context.Context, tx *sql.Tx, entries []entry) error {
	for _, e := range entries {
		_, err := tx.ExecContext(ctx, "INSERT INTO search (search, rowid, body, attached, facets) VALUES ('delete', ?, ?, ?, ?)",
			e.n, e.body, e.attached, e.facets)
		if err != nil {
			return err
		}
	}
	return nil
}

func indexMessage(ctx context.Context, tx *sql.Tx, message int64) error {
	entries, err := messageEntries(ctx, tx, message)
	if err != nil {
		return err
	}
	return index(ctx, tx, entries)
}

// reindex replaces the entry of a message, where it changed.
func reindex(ctx context.Context, tx *sql.Tx, before, after []entry) error {
	if len(before) == 1 && len(after) == 1 && before[0] == after[0] {
		return nil
	}
	if err := unindex(ctx, tx, before); err != nil {
		return err
	}
	return index(ctx, tx, after)
}

func titleWords(title string) string { return strings.Join(appendWords(nil, title), " ") }

func addTitle(ctx context.Context, tx *sql.Tx, chat int64, title string) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO titles (rowid, title) VALUES (?, ?)", chat, titleWords(title))
	return err
}

func removeTitle(ctx context.Context, tx *sql.Tx, chat int64, title string) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO titles (titles, rowid, title) VALUES ('delete', ?, ?)", chat, titleWords(title))
	return err
}
