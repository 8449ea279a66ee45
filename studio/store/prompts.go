package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/crossattn/xpipe/studio"
)

// Personas, prompts and jobs are JSON beside the columns that are asked for: the columns hold.

func scanPersona(scan func(...any) error) (p studio.Persona, err error) {
	var t stamp
	var id, workspace studio.ID
	var name, rest string
	if err = scan(&id, &workspace, &name, &rest, &t.created, &t.updated, &t.trashed); err != nil {
		return p, err
	}
	err = fromJSON(rest, &p)
	p.ID, p.Workspace, p.Name, p.Stamp = id, workspace, name, t.Stamp()
	return p, err
}

const personaColumns = "SELECT id, workspace, name, persona, created, updated, trashed FROM personas "

func getPersona(ctx context.Context, q querier, id studio.ID) (*studio.Persona, error) {
	return row(ctx, q, "persona", scanPersona, personaColumns+"WHERE id = ?", id)
}

// AddPersona adds a persona.
func (s *Store) AddPersona(ctx context.Context, p *studio.Persona) error {
	return s.write(ctx, func(tx *sql.Tx) error { return s.addPersona(ctx, tx, p) })
}

func (s *Store) addPersona(ctx context.Context, tx *sql.Tx, p *studio.Persona) error {
	if err := p.Check(); err != nil {
		return err
	}
	if _, err := getWorkspace(ctx, tx, p.Workspace); err != nil {
		return err
	}
	if err := s.begin(&p.ID, &p.Stamp); err != nil {
		return err
	}
	rest, err := toJSON(p)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO personas (id, workspace, name, persona, created, updated) VALUES (?, ?, ?, ?, ?, ?)",
		p.ID, p.Workspace, p.Name, rest, p.Created.UnixMicro(), p.Updated.UnixMicro())
	return err
}

// UpdatePersona changes a persona.
func (s *Store) UpdatePersona(ctx context.Context, id studio.ID, change func(*studio.Persona) error) (*studio.Persona, error) {
	get := func(q querier) (*studio.Persona, error) { return getPersona(ctx, q, id) }
	return update(ctx, s, get, change, func(tx *sql.Tx, before, p *studio.Persona) error {
		p.ID, p.Workspace, p.Stamp = before.ID, before.Workspace, before.Stamp
		p.Updated = at(s.tick())
		if err := p.Check(); err != nil {
			return err
		}
		rest, err := toJSON(p)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE personas SET name = ?, persona = ?, updated = ? WHERE id = ?",
			p.Name, rest, p.Updated.UnixMicro(), id)
		return err
	})
}

// Persona returns a persona.
func (s *Store) Persona(ctx context.Context, id studio.ID) (*studio.Persona, error) {
	return getPersona(ctx, s.reader, id)
}

// Personas lists the personas of a workspace.
func (s *Store) Personas(ctx context.Context, workspace studio.ID) ([]studio.Persona, error) {
	return rows(ctx, s.reader, scanPersona,
		personaColumns+"WHERE workspace = ? AND trashed IS NULL ORDER BY name COLLATE NOCASE, id", workspace)
}

func scanPrompt(scan func(...any) error) (p studio.Prompt, err error) {
	var t stamp
	var id, workspace studio.ID
	var name, rest string
	if err = scan(&id, &workspace, &name, &rest, &t.created, &t.updated, &t.trashed); err != nil {
		return p, err
	}
	err = fromJSON(rest, &p)
	p.ID, p.Workspace, p.Name, p.Stamp = id, workspace, name, t.Stamp()
	return p, err
}

const promptColumns = "SELECT id, workspace, name, prompt, created, updated, trashed FROM prompts "

func getPrompt(ctx context.Context, q querier, id studio.ID) (*studio.Prompt, error) {
	return row(ctx, q, "prompt", scanPrompt, promptColumns+"WHERE id = ?", id)
}

// AddPrompt adds a prompt.
func (s *Store) AddPrompt(ctx context.Context, p *studio.Prompt) error {
	return s.write(ctx, func(tx *sql.Tx) error { return s.addPrompt(ctx, tx, p) })
}

func (s *Store) addPrompt(ctx context.Context, tx *sql.Tx, p *studio.Prompt) error {
	if err := p.Check(); err != nil {
		return err
	}
	if _, err := getWorkspace(ctx, tx, p.Workspace); err != nil {
		return err
	}
	if err := s.begin(&p.ID, &p.Stamp); err != nil {
		return err
	}
	rest, err := toJSON(p)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO prompts (id, workspace, name, prompt, created, updated) VALUES (?, ?, ?, ?, ?, ?)",
		p.ID, p.Workspace, p.Name, rest, p.Created.UnixMicro(), p.Updated.UnixMicro())
	if err != nil {
		return err
	}
	return attach(ctx, tx, owner{prompt: p.ID}, p.Parts)
}

// UpdatePrompt changes a prompt.
func (s *Store) UpdatePrompt(ctx context.Context, id studio.ID, change func(*studio.Prompt) error) (*studio.Prompt, error) {
	get := func(q querier) (*studio.Prompt, error) { return getPrompt(ctx, q, id) }
	return update(ctx, s, get, change, func(tx *sql.Tx, before, p *studio.Prompt) error {
		p.ID, p.Workspace, p.Stamp = before.ID, before.Workspace, before.Stamp
		p.Updated = at(s.tick())
		if err := p.Check(); err != nil {
			return err
		}
		rest, err := toJSON(p)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE prompts SET name = ?, prompt = ?, updated = ? WHERE id = ?",
			p.Name, rest, p.Updated.UnixMicro(), id)
		if err != nil {
			return err
		}
		return attach(ctx, tx, owner{prompt: id}, p.Parts)
	})
}

// Prompt returns a prompt.
func (s *Store) Prompt(ctx context.Context, id studio.ID) (*studio.Prompt, error) {
	return getPrompt(ctx, s.reader, id)
}

// Prompts lists the prompts of a workspace.
func (s *Store) Prompts(ctx context.Context, workspace studio.ID) ([]studio.Prompt, error) {
	return rows(ctx, s.reader, scanPrompt, promptColumns+"WHERE workspace = ? AND trashed IS NULL"+
		" ORDER BY coalesce(prompt ->> '$.pinned', 0) DESC, name COLLATE NOCASE, id", workspace)
}

// Settings returns what SetSettings kept.
func (s *Store) Settings(ctx context.Context, scope string) ([]byte, error) {
	list, err := rows(ctx, s.reader, one[[]byte], "SELECT settings FROM settings WHERE scope = ?", scope)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

// SetSettings keeps JSON under a name; nil removes it.
func (s *Store) SetSettings(ctx context.Context, scope string, json []byte) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		if json == nil {
			_, err := tx.ExecContext(ctx, "DELETE FROM settings WHERE scope = ?", scope)
			return err
		}
		var valid bool
		if err := tx.QueryRowContext(ctx, "SELECT json_valid(?)", string(json)).Scan(&valid); err != nil {
			return err
		}
		if !valid {
			return fmt.Errorf("%w: settings are JSON", studio.ErrInvalid)
		}
		_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO settings VALUES (?, ?)", scope, string(json))
		return err
	})
}
