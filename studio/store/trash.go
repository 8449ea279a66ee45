package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/crossattn/xpipe/studio"
)

// simple are the tables of things that hold no others.
var simple = map[studio.ThingKind]string{
	studio.ThingPersona: "personas", studio.ThingPrompt: "prompts", studio.ThingJob: "jobs",
	studio.ThingWorkspace: "workspaces",
}

// branch is a CTE of a message and all that follows it, by number.
const branch = "WITH RECURSIVE branch(n, id, chat) AS (SELECT n, id, chat FROM messages WHERE id = ? UNION" +
	" SELECT m.n, m.id, m.chat FROM messages m JOIN branch b ON m.chat = b.chat AND m.parent = b.id) "

// exists reports, as an error, that there is no such thing.
func exists(ctx context.Context, q querier, t studio.Thing) error {
	table := simple[t.Kind]
	switch t.Kind {
	case studio.ThingFolder:
		table = "folders"
	case studio.ThingChat:
		table = "chats"
	case studio.ThingMessage:
		table = "messages"
	}
	if table == "" {
		return fmt.Errorf("%w: there is no kind of thing %q", studio.ErrInvalid, t.Kind)
	}
	_, err := row(ctx, q, string(t.Kind), one[int64], "SELECT 1 FROM "+table+" WHERE id = ?", t.ID)
	return err
}

// setTrashed changes the time of trashing of a thing and what lies in it from before to after. NULL
// is nil. What was put in the trash at another time stays as it is.
func setTrashed(ctx context.Context, tx *sql.Tx, t studio.Thing, before, after any) error {
	do := func(query string, args ...any) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	}
	switch t.Kind {
	case studio.ThingFolder:
		if err := do(below+"UPDATE chats SET trashed = ? WHERE folder IN below AND trashed IS ?", t.ID, after, before); err != nil {
			return err
		}
		return do(below+"UPDATE folders SET trashed = ? WHERE id IN below AND trashed IS ?", t.ID, after, before)
	case studio.ThingChat:
		return do("UPDATE chats SET trashed = ? WHERE id = ? AND trashed IS ?", after, t.ID, before)
	case studio.ThingMessage:
		return do(branch+"UPDATE messages SET trashed = ? WHERE n IN (SELECT n FROM branch) AND trashed IS ?", t.ID, after, before)
	}
	return do("UPDATE "+simple[t.Kind]+" SET trashed = ? WHERE id = ? AND trashed IS ?", after, t.ID, before)
}

// Trash puts a thing in the trash.
func (s *Store) Trash(ctx context.Context, t studio.Thing) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		if err := exists(ctx, tx, t); err != nil {
			return err
		}
		return setTrashed(ctx, tx, t, nil, s.tick())
	})
}

// Restore takes a thing out of the trash. What it lay in and is in the trash itself, it leaves.
func (s *Store) Restore(ctx context.Context, t studio.Thing) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		if err := exists(ctx, tx, t); err != nil {
			return err
		}
		table := simple[t.Kind]
		switch t.Kind {
		case studio.ThingFolder:
			table = "folders"
		case studio.ThingChat:
			table = "chats"
		case studio.ThingMessage:
			table = "messages"
		}
		when, err := row(ctx, tx, string(t.Kind), one[sql.NullInt64], "SELECT trashed FROM "+table+" WHERE id = ?", t.ID)
		if err != nil || !when.Valid {
			return err
		}
		if err := setTrashed(ctx, tx, t, when.Int64, nil); err != nil {
			return err
		}
		switch t.Kind {
		case studio.ThingFolder:
			_, err = tx.ExecContext(ctx, "UPDATE folders SET parent = '' WHERE id = ? AND parent IN"+
				" (SELECT id FROM folders WHERE trashed IS NOT NULL)", t.ID)
		case studio.ThingChat:
			_, err = tx.ExecContext(ctx, "UPDATE chats SET folder = '' WHERE id = ? AND folder IN"+
				" (SELECT id FROM folders WHERE trashed IS NOT NULL)", t.ID)
		case studio.ThingMessage: // the turns before it come back with it, or it would stand nowhere
			_, err = tx.ExecContext(ctx, "WITH RECURSIVE way(id, parent, chat) AS (SELECT id, parent, chat FROM messages WHERE id = ? UNION"+
				" SELECT m.id, m.parent, m.chat FROM messages m JOIN way ON m.id = way.parent AND m.chat = way.chat)"+
				" UPDATE messages SET trashed = NULL WHERE id IN (SELECT id FROM way)", t.ID)
		}
		return err
	})
}

// Purge deletes a thing for good.
func (s *Store) Purge(ctx context.Context, t studio.Thing) error {
	return s.purge(ctx, func(tx *sql.Tx) ([]studio.Thing, error) {
		return []studio.Thing{t}, exists(ctx, tx, t)
	})
}

// purge deletes what list gives, the files that only that had, and what is left of them in the log.
func (s *Store) purge(ctx context.Context, list func(tx *sql.Tx) ([]studio.Thing, error)) error {
	s.files.Lock()
	defer s.files.Unlock()
	var gone []int64
	err := s.write(ctx, func(tx *sql.Tx) error {
		things, err := list(tx)
		if err != nil {
			return err
		}
		for _, t := range things {
			if err := purgeThing(ctx, tx, t); err != nil {
				return err
			}
		}
		gone, err = doom(ctx, tx, "pending = 0")
		return err
	})
	if err != nil {
		return err
	}
	s.vectors.remove(gone)
	// The rows are gone for good. What follows is done again when the store is opened, if it fails.
	if err := s.removeDoomed(ctx); err != nil {
		return fault(err)
	}
	return fault(s.emptyLog(ctx))
}

// emptyLog moves the log into the database and cuts it to nothing, so that what was deleted is not
// in it any more. Readers that are at work may hold it up; the next purge or Close does it then.
func (s *Store) emptyLog(ctx context.Context) error {
	var busy, log, moved int
	return s.writer.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &log, &moved)
}

func purgeThing(ctx context.Context, tx *sql.Tx, t studio.Thing) error {
	do := func(query string, args ...any) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	}
	// purgeChats deletes chats with their messages, words and entries of the index.
	purgeChats := func(condition string, args ...any) error {
		chats, err := rows(ctx, tx, scanChat, chatColumns+"WHERE "+condition, args...)
		if err != nil {
			return err
		}
		for _, c := range chats {
			entries, err := chatEntries(ctx, tx, c.n)
			if err != nil {
				return err
			}
			if err := unindex(ctx, tx, entries); err != nil {
				return err
			}
			if err := removeTitle(ctx, tx, c.n, c.Title); err != nil {
				return err
			}
			if err := do("DELETE FROM chats WHERE n = ?", c.n); err != nil {
				return err
			}
		}
		return nil
	}
	switch t.Kind {
	case studio.ThingWorkspace:
		if err := purgeChats("workspace = ?", t.ID); err != nil {
			return err
		}
	case studio.ThingFolder:
		folders, err := rows(ctx, tx, one[studio.ID], below+"SELECT id FROM below", t.ID)
		if err != nil {
			return err
		}
		for _, f := range folders {
			if err := purgeChats("folder = ?", f); err != nil {
				return err
			}
			if err := do("DELETE FROM folders WHERE id = ?", f); err != nil {
				return err
			}
		}
		return nil
	case studio.ThingChat:
		return purgeChats("id = ?", t.ID)
	case studio.ThingMessage:
		entries, err := rows(ctx, tx, scanEntry, branch+entryQuery+"WHERE m.n IN (SELECT n FROM branch)", t.ID)
		if err != nil {
			return err
		}
		if err := unindex(ctx, tx, entries); err != nil {
			return err
		}
		for _, e := range entries {
			if err := do("DELETE FROM messages WHERE n = ?", e.n); err != nil {
				return err
			}
		}
		return nil
	}
	return do("DELETE FROM "+simple[t.Kind]+" WHERE id = ?", t.ID)
}

// inTrash lists what was put in the trash itself. ? is a workspace, or ” for workspaces.
const inTrash = `
SELECT 'workspace', id, id, name, trashed FROM workspaces WHERE trashed IS NOT NULL AND ?1 = ''
UNION ALL SELECT 'folder', f.id, f.workspace, f.name, f.trashed FROM folders f LEFT JOIN folders p ON p.id = f.parent
	WHERE f.trashed IS NOT NULL AND f.workspace = ?1 AND p.trashed IS NOT f.trashed
UNION ALL SELECT 'chat', c.id, c.workspace, c.title, c.trashed FROM chats c LEFT JOIN folders p ON p.id = c.folder
	WHERE c.trashed IS NOT NULL AND c.workspace = ?1 AND p.trashed IS NOT c.trashed
UNION ALL SELECT 'message', m.id, c.workspace, c.title, m.trashed FROM messages m JOIN chats c ON c.n = m.chat
	LEFT JOIN messages p ON p.id = m.parent
	WHERE m.trashed IS NOT NULL AND c.trashed IS NULL AND c.workspace = ?1 AND p.trashed IS NOT m.trashed
UNION ALL SELECT 'persona', id, workspace, name, trashed FROM personas WHERE trashed IS NOT NULL AND workspace = ?1
UNION ALL SELECT 'prompt', id, workspace, name, trashed FROM prompts WHERE trashed IS NOT NULL AND workspace = ?1
UNION ALL SELECT 'job', id, workspace, name, trashed FROM jobs WHERE trashed IS NOT NULL AND workspace = ?1
ORDER BY 5 DESC`

func listTrash(ctx context.Context, q querier, workspace studio.ID) ([]studio.Trashed, error) {
	scan := func(scan func(...any) error) (t studio.Trashed, err error) {
		var when int64
		err = scan(&t.Kind, &t.ID, &t.Workspace, &t.Name, &when)
		t.At = at(when)
		return t, err
	}
	return rows(ctx, q, scan, inTrash, workspace)
}

// InTrash lists what is in the trash of a workspace; of "", the workspaces that are.
func (s *Store) InTrash(ctx context.Context, workspace studio.ID) ([]studio.Trashed, error) {
	return listTrash(ctx, s.reader, workspace)
}

// EmptyTrash purges what was put in the trash before a time.
func (s *Store) EmptyTrash(ctx context.Context, before time.Time) (purged int, err error) {
	err = s.purge(ctx, func(tx *sql.Tx) ([]studio.Thing, error) {
		workspaces, err := rows(ctx, tx, one[studio.ID], "SELECT '' UNION ALL SELECT id FROM workspaces WHERE trashed IS NULL")
		if err != nil {
			return nil, err
		}
		var list []studio.Thing
		for _, w := range workspaces {
			trash, err := listTrash(ctx, tx, w)
			if err != nil {
				return nil, err
			}
			for _, t := range trash {
				if t.At.Before(before) {
					list = append(list, t.Thing)
				}
			}
		}
		purged = len(list)
		return list, nil
	})
	return purged, err
}
