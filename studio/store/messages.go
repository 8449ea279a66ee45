package store

import (
	"bytes"
	"compress/flate"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/crossattn/xpipe/studio"
)

const messageColumns = "SELECT m.n, m.id, c.id, parent, role, state, error, run, m.author, m.created, m.updated, m.trashed," +
	" answer, parts FROM messages m JOIN chats c ON c.n = m.chat "

// turn is a message with its row's number.
type turn struct {
	n int64
	studio.Message
}

func scanMessage(scan func(...any) error) (m turn, err error) {
	var t stamp
	var answer sql.NullString
	var parts string
	err = scan(&m.n, &m.ID, &m.Chat, &m.Parent, &m.Role, &m.State, &m.Error, &m.Run, &m.Author, &t.created, &t.updated,
		&t.trashed, &answer, &parts)
	if err != nil {
		return m, err
	}
	m.Stamp = t.Stamp()
	if answer.Valid {
		if err := fromJSON(answer.String, &m.Answer); err != nil {
			return m, err
		}
	}
	return m, fromJSON(parts, &m.Parts)
}

func getMessage(ctx context.Context, q querier, id studio.ID) (*turn, error) {
	return row(ctx, q, "message", scanMessage, messageColumns+"WHERE m.id = ?", id)
}

// AddMessage adds a message.
func (s *Store) AddMessage(ctx context.Context, m *studio.Message) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		if err := s.addMessage(ctx, tx, m); err != nil {
			return err
		}
		return touch(ctx, tx, m.Chat, m.Updated.UnixMicro())
	})
}

// touch makes a chat newer.
func touch(ctx context.Context, tx *sql.Tx, chat studio.ID, at int64) error {
	_, err := tx.ExecContext(ctx, "UPDATE chats SET updated = max(updated, ?) WHERE id = ?", at, chat)
	return err
}

func (s *Store) addMessage(ctx context.Context, tx *sql.Tx, m *studio.Message) error {
	if err := m.Check(); err != nil {
		return err
	}
	chat, err := getChat(ctx, tx, m.Chat)
	if err != nil {
		return err
	}
	if m.Parent != "" {
		parent, err := getMessage(ctx, tx, m.Parent)
		if err != nil {
			return err
		}
		if parent.Chat != m.Chat {
			return fmt.Errorf("%w: the message before is of another chat", studio.ErrInvalid)
		}
	}
	if err := s.begin(&m.ID, &m.Stamp); err != nil {
		return err
	}
	answer, words, err := splitAnswer(m.Answer)
	if err != nil {
		return err
	}
	parts, err := toJSON(append([]studio.Part{}, m.Parts...))
	if err != nil {
		return err
	}
	done, err := tx.ExecContext(ctx, "INSERT INTO messages (id, chat, parent, role, state, error, run, author, created, updated,"+
		" answer, parts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", m.ID, chat.n, m.Parent, m.Role, m.State, m.Error, m.Run,
		m.Author, m.Created.UnixMicro(), m.Updated.UnixMicro(), answer, parts)
	if err != nil {
		return err
	}
	n, err := done.LastInsertId()
	if err != nil {
		return err
	}
	if err := setWords(ctx, tx, n, words); err != nil {
		return err
	}
	if err := attach(ctx, tx, owner{message: n}, m.Parts); err != nil {
		return err
	}
	return indexMessage(ctx, tx, n)
}

// splitAnswer gives an answer's JSON without its words, nil for none, and the words, nil for none.
func splitAnswer(a *studio.Answer) (answer any, words []studio.Word, err error) {
	if a == nil {
		return nil, nil, nil
	}
	without := *a
	without.Words, without.HasWords = nil, a.HasWords || len(a.Words) > 0
	a.HasWords = without.HasWords
	answer, err = toJSON(without)
	return answer, a.Words, err
}

// setWords keeps the words of an answer; nil leaves those that are there.
func setWords(ctx context.Context, tx *sql.Tx, message int64, words []studio.Word) error {
	if words == nil {
		return nil
	}
	var b bytes.Buffer
	z, err := flate.NewWriter(&b, flate.DefaultCompression)
	if err == nil {
		err = errors.Join(json.NewEncoder(z).Encode(words), z.Close())
	}
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT OR REPLACE INTO words VALUES (?, ?)", message, b.Bytes())
	return err
}

func getWords(ctx context.Context, q querier, message int64) ([]studio.Word, error) {
	deflated, err := rows(ctx, q, one[[]byte], "SELECT words FROM words WHERE message = ?", message)
	if err != nil || len(deflated) == 0 {
		return nil, err
	}
	var words []studio.Word
	plain, err := io.ReadAll(flate.NewReader(bytes.NewReader(deflated[0])))
	if err == nil {
		err = json.Unmarshal(plain, &words)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: words of an answer: %w", studio.ErrDamaged, err)
	}
	return words, nil
}

// UpdateMessage changes a message.
func (s *Store) UpdateMessage(ctx context.Context, id studio.ID, change func(*studio.Message) error) (*studio.Message, error) {
	get := func(q querier) (*turn, error) { return getMessage(ctx, q, id) }
	onMessage := func(m *turn) error { return change(&m.Message) }
	m, err := update(ctx, s, get, onMessage, func(tx *sql.Tx, before, m *turn) error {
		m.n, m.Author, m.Stamp = before.n, before.Author, before.Stamp
		m.Updated = at(s.tick())
		if err := before.CheckChange(&m.Message); err != nil {
			return err
		}
		if m.Answer != nil && before.Answer != nil {
			m.Answer.HasWords = before.Answer.HasWords
		}
		if err := m.Check(); err != nil {
			return err
		}
		answer, words, err := splitAnswer(m.Answer)
		if err != nil {
			return err
		}
		old, err := messageEntries(ctx, tx, m.n)
		if err != nil {
			return err
		}
		parts, err := toJSON(append([]studio.Part{}, m.Parts...))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE messages SET state = ?, error = ?, run = ?, updated = ?, answer = ?, parts = ? WHERE n = ?",
			m.State, m.Error, m.Run, m.Updated.UnixMicro(), answer, parts, m.n)
		if err != nil {
			return err
		}
		if err := setWords(ctx, tx, m.n, words); err != nil {
			return err
		}
		if err := attach(ctx, tx, owner{message: m.n}, m.Parts); err != nil {
			return err
		}
		entries, err := messageEntries(ctx, tx, m.n)
		if err != nil {
			return err
		}
		if err := reindex(ctx, tx, old, entries); err != nil {
			return err
		}
		if !before.State.Final() && m.State.Final() {
			return touch(ctx, tx, m.Chat, m.Updated.UnixMicro())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &m.Message, nil
}

// Message returns a message, with the words of its answer.
func (s *Store) Message(ctx context.Context, id studio.ID) (*studio.Message, error) {
	m, err := getMessage(ctx, s.reader, id)
	if err == nil && m.Answer != nil && m.Answer.HasWords {
		m.Answer.Words, err = getWords(ctx, s.reader, m.n)
	}
	if err != nil {
		return nil, err
	}
	return &m.Message, nil
}

// Messages lists the messages of a chat.
func (s *Store) Messages(ctx context.Context, chat studio.ID) ([]studio.Message, error) {
	if _, err := getChat(ctx, s.reader, chat); err != nil {
		return nil, err
	}
	list, err := rows(ctx, s.reader, scanMessage, messageColumns+"WHERE c.id = ? AND m.trashed IS NULL ORDER BY m.n", chat)
	if err != nil {
		return nil, err
	}
	messages := make([]studio.Message, len(list))
	for i, m := range list {
		messages[i] = m.Message
	}
	return messages, nil
}

// Attachments lists the attachments of a chat.
func (s *Store) Attachments(ctx context.Context, chat studio.ID) ([]studio.Attached, error) {
	messages, err := s.Messages(ctx, chat)
	if err != nil {
		return nil, err
	}
	var list []studio.Attached
	for _, m := range messages {
		for _, p := range m.Parts {
			if p.Kind != studio.KindText {
				list = append(list, studio.Attached{Message: m.ID, Part: p})
			}
		}
	}
	return list, nil
}

// Attachment returns a part of a workspace that has the blob.
func (s *Store) Attachment(ctx context.Context, workspace studio.ID, blob studio.Hash) (*studio.Part, error) {
	scan := func(scan func(...any) error) (p studio.Part, err error) {
		return p, scan(&p.Kind, &p.Name, &p.Type, &p.Blob, &p.Size)
	}
	return row(ctx, s.reader, "attachment", scan, `SELECT a.kind, a.name, a.type, b.hash, b.size
		FROM blobs b JOIN attachments a ON a.blob = b.n
		LEFT JOIN messages m ON m.n = a.message LEFT JOIN chats c ON c.n = m.chat
		LEFT JOIN prompts p ON p.id = a.prompt LEFT JOIN jobs j ON j.id = a.job
		WHERE b.hash = ? AND coalesce(c.workspace, p.workspace, j.workspace) = ? LIMIT 1`, blob, workspace)
}
