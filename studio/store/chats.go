package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/studio"
)

const chatColumns = "SELECT n, id, workspace, folder, title, leaf, persona, models, pinned, archived, author," +
	" created, updated, trashed, (SELECT group_concat(tag, char(10) ORDER BY tag) FROM tags WHERE chat = c.n) FROM chats c "

// numbered is a chat with its row's number.
type numbered struct {
	n int64
	studio.Chat
}

func scanChat(scan func(...any) error) (c numbered, err error) {
	var t stamp
	var models string
	var tags sql.NullString
	err = scan(&c.n, &c.ID, &c.Workspace, &c.Folder, &c.Title, &c.Leaf, &c.Persona, &models, &c.Pinned,
		&c.Archived, &c.Author, &t.created, &t.updated, &t.trashed, &tags)
	if err != nil {
		return c, err
	}
	c.Stamp = t.Stamp()
	if tags.Valid {
		c.Tags = strings.Split(tags.String, "\n")
	}
	return c, fromJSON(models, &c.Models)
}

func getChat(ctx context.Context, q querier, id studio.ID) (*numbered, error) {
	return row(ctx, q, "chat", scanChat, chatColumns+"WHERE id = ?", id)
}

// AddChat adds a chat.
func (s *Store) AddChat(ctx context.Context, c *studio.Chat) error {
	return s.write(ctx, func(tx *sql.Tx) error { return s.addChat(ctx, tx, c) })
}

func (s *Store) addChat(ctx context.Context, tx *sql.Tx, c *studio.Chat) error {
	if err := c.Check(); err != nil {
		return err
	}
	if _, err := getWorkspace(ctx, tx, c.Workspace); err != nil {
		return err
	}
	if err := checkFolder(ctx, tx, c.Folder, c.Workspace); err != nil {
		return err
	}
	if err := s.begin(&c.ID, &c.Stamp); err != nil {
		return err
	}
	models, err := toJSON(slices.Concat([]string{}, c.Models))
	if err != nil {
		return err
	}
	done, err := tx.ExecContext(ctx, "INSERT INTO chats (id, workspace, folder, title, leaf, persona, models, pinned, archived,"+
		" author, created, updated) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", c.ID, c.Workspace, c.Folder, c.Title, c.Leaf,
		c.Persona, models, c.Pinned, c.Archived, c.Author, c.Created.UnixMicro(), c.Updated.UnixMicro())
	if err != nil {
		return err
	}
	n, err := done.LastInsertId()
	if err != nil {
		return err
	}
	if err := setTags(ctx, tx, n, c.Tags); err != nil {
		return err
	}
	return addTitle(ctx, tx, n, c.Title)
}

func setTags(ctx context.Context, tx *sql.Tx, chat int64, tags []string) error {
	if _, err := tx.ExecContext(ctx, "DELETE FROM tags WHERE chat = ?", chat); err != nil {
		return err
	}
	for _, tag := range tags {
		if _, err := tx.ExecContext(ctx, "INSERT INTO tags VALUES (?, ?)", chat, tag); err != nil {
			return err
		}
	}
	return nil
}

// UpdateChat changes a chat. Only a change of its messages makes it newer in lists.
func (s *Store) UpdateChat(ctx context.Context, id studio.ID, change func(*studio.Chat) error) (*studio.Chat, error) {
	get := func(q querier) (*numbered, error) { return getChat(ctx, q, id) }
	onChat := func(c *numbered) error { return change(&c.Chat) }
	c, err := update(ctx, s, get, onChat, func(tx *sql.Tx, before, c *numbered) error {
		c.n, c.ID, c.Author, c.Stamp = before.n, before.ID, before.Author, before.Stamp
		if err := c.Check(); err != nil {
			return err
		}
		if c.Workspace != before.Workspace {
			if _, err := getWorkspace(ctx, tx, c.Workspace); err != nil {
				return err
			}
			if c.Folder == before.Folder {
				c.Folder = ""
			}
		}
		if err := checkFolder(ctx, tx, c.Folder, c.Workspace); err != nil {
			return err
		}
		models, err := toJSON(slices.Concat([]string{}, c.Models))
		if err != nil {
			return err
		}
		var entries []entry
		if c.Workspace != before.Workspace { // their facets name the workspace
			if entries, err = chatEntries(ctx, tx, c.n); err == nil {
				err = unindex(ctx, tx, entries)
			}
			if err != nil {
				return err
			}
		}
		if c.Title != before.Title {
			if err := removeTitle(ctx, tx, c.n, before.Title); err != nil {
				return err
			}
			if err := addTitle(ctx, tx, c.n, c.Title); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, "UPDATE chats SET workspace = ?, folder = ?, title = ?, leaf = ?, persona = ?, models = ?,"+
			" pinned = ?, archived = ? WHERE n = ?", c.Workspace, c.Folder, c.Title, c.Leaf, c.Persona, models, c.Pinned, c.Archived, c.n)
		if err != nil {
			return err
		}
		if entries != nil {
			if entries, err = chatEntries(ctx, tx, c.n); err == nil {
				err = index(ctx, tx, entries)
			}
			if err != nil {
				return err
			}
		}
		return setTags(ctx, tx, c.n, c.Tags)
	})
	if err != nil {
		return nil, err
	}
	return &c.Chat, nil
}

// Chat returns a chat.
func (s *Store) Chat(ctx context.Context, id studio.ID) (*studio.Chat, error) {
	c, err := getChat(ctx, s.reader, id)
	if err != nil {
		return nil, err
	}
	return &c.Chat, nil
}

// Chats lists chats.
func (s *Store) Chats(ctx context.Context, f studio.ChatFilter) ([]studio.Chat, error) {
	where, args := []string{"workspace = ?", "trashed IS NULL"}, []any{f.Workspace}
	add := func(condition string, arg any) { where, args = append(where, condition), append(args, arg) }
	if f.Folder != nil {
		add("folder = ?", *f.Folder)
	}
	if f.Tag != "" {
		add("n IN (SELECT chat FROM tags WHERE tag = ?)", f.Tag)
	}
	if f.Archived != nil {
		add("archived = ?", *f.Archived)
	}
	if f.Pinned != nil {
		add("pinned = ?", *f.Pinned)
	}
	limit := f.Limit
	if limit <= 0 {
		limit = -1
	}
	list, err := rows(ctx, s.reader, scanChat, fmt.Sprintf(chatColumns+
		"WHERE %s ORDER BY pinned DESC, updated DESC LIMIT %d OFFSET %d", strings.Join(where, " AND "), limit, f.Offset), args...)
	if err != nil {
		return nil, err
	}
	chats := make([]studio.Chat, len(list))
	for i, c := range list {
		chats[i] = c.Chat
	}
	return chats, nil
}

// Tags counts the chats of each tag.
func (s *Store) Tags(ctx context.Context, workspace studio.ID) ([]studio.TagCount, error) {
	scan := func(scan func(...any) error) (t studio.TagCount, err error) { return t, scan(&t.Tag, &t.Chats) }
	return rows(ctx, s.reader, scan, "SELECT tag, count(*) FROM tags JOIN chats c ON c.n = chat"+
		" WHERE workspace = ? AND trashed IS NULL GROUP BY tag ORDER BY tag", workspace)
}
