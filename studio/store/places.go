package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/crossattn/xpipe/studio"
)

const workspaceColumns = "SELECT id, name, created, updated, trashed FROM workspaces "

func scanWorkspace(scan func(...any) error) (w studio.Workspace, err error) {
	var t stamp
	err = scan(&w.ID, &w.Name, &t.created, &t.updated, &t.trashed)
	w.Stamp = t.Stamp()
	return w, err
}

func getWorkspace(ctx context.Context, q querier, id studio.ID) (*studio.Workspace, error) {
	return row(ctx, q, "workspace", scanWorkspace, workspaceColumns+"WHERE id = ?", id)
}

// AddWorkspace adds a workspace.
func (s *Store) AddWorkspace(ctx context.Context, w *studio.Workspace) error {
	return s.write(ctx, func(tx *sql.Tx) error { return s.addWorkspace(ctx, tx, w) })
}

func (s *Store) addWorkspace(ctx context.Context, tx *sql.Tx, w *studio.Workspace) error {
	if err := w.Check(); err != nil {
		return err
	}
	if err := s.begin(&w.ID, &w.Stamp); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO workspaces (id, name, created, updated) VALUES (?, ?, ?, ?)",
		w.ID, w.Name, w.Created.UnixMicro(), w.Updated.UnixMicro())
	return err
}

// UpdateWorkspace changes a workspace.
func (s *Store) UpdateWorkspace(ctx context.Context, id studio.ID, change func(*studio.Workspace) error) (*studio.Workspace, error) {
	get := func(q querier) (*studio.Workspace, error) { return getWorkspace(ctx, q, id) }
	return update(ctx, s, get, change, func(tx *sql.Tx, before, w *studio.Workspace) error {
		w.ID, w.Stamp = before.ID, before.Stamp
		w.Updated = at(s.tick())
		if err := w.Check(); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE workspaces SET name = ?, updated = ? WHERE id = ?", w.Name, w.Updated.UnixMicro(), id)
		return err
	})
}

// Workspace returns a workspace.
func (s *Store) Workspace(ctx context.Context, id studio.ID) (*studio.Workspace, error) {
	return getWorkspace(ctx, s.reader, id)
}

// Workspaces lists the workspaces.
func (s *Store) Workspaces(ctx context.Context) ([]studio.Workspace, error) {
	return rows(ctx, s.reader, scanWorkspace, workspaceColumns+"WHERE trashed IS NULL ORDER BY name COLLATE NOCASE, id")
}

const folderColumns = "SELECT id, workspace, parent, name, created, updated, trashed FROM folders "

func scanFolder(scan func(...any) error) (f studio.Folder, err error) {
	var t stamp
	err = scan(&f.ID, &f.Workspace, &f.Parent, &f.Name, &t.created, &t.updated, &t.trashed)
	f.Stamp = t.Stamp()
	return f, err
}

func getFolder(ctx context.Context, q querier, id studio.ID) (*studio.Folder, error) {
	return row(ctx, q, "folder", scanFolder, folderColumns+"WHERE id = ?", id)
}

// below is a CTE of the folders in some folder, with itself.
const below = "WITH RECURSIVE below(id) AS (VALUES (?) UNION SELECT f.id FROM folders f JOIN below ON f.parent = below.id) "

// checkFolder reports whether a folder may hold what belongs to a workspace; "" is none.
func checkFolder(ctx context.Context, q querier, id, workspace studio.ID) error {
	if id == "" {
		return nil
	}
	f, err := getFolder(ctx, q, id)
	if err != nil {
		return err
	}
	if f.Workspace != workspace {
		return fmt.Errorf("%w: the folder is of another workspace", studio.ErrInvalid)
	}
	return nil
}

// AddFolder adds a folder.
func (s *Store) AddFolder(ctx context.Context, f *studio.Folder) error {
	return s.write(ctx, func(tx *sql.Tx) error { return s.addFolder(ctx, tx, f) })
}

func (s *Store) addFolder(ctx context.Context, tx *sql.Tx, f *studio.Folder) error {
	if err := f.Check(); err != nil {
		return err
	}
	if _, err := getWorkspace(ctx, tx, f.Workspace); err != nil {
		return err
	}
	if err := checkFolder(ctx, tx, f.Parent, f.Workspace); err != nil {
		return err
	}
	if err := s.begin(&f.ID, &f.Stamp); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO folders (id, workspace, parent, name, created, updated) VALUES (?, ?, ?, ?, ?, ?)",
		f.ID, f.Workspace, f.Parent, f.Name, f.Created.UnixMicro(), f.Updated.UnixMicro())
	return err
}

// UpdateFolder changes a folder.
func (s *Store) UpdateFolder(ctx context.Context, id studio.ID, change func(*studio.Folder) error) (*studio.Folder, error) {
	get := func(q querier) (*studio.Folder, error) { return getFolder(ctx, q, id) }
	return update(ctx, s, get, change, func(tx *sql.Tx, before, f *studio.Folder) error {
		f.ID, f.Workspace, f.Stamp = before.ID, before.Workspace, before.Stamp
		f.Updated = at(s.tick())
		if err := f.Check(); err != nil {
			return err
		}
		if err := checkFolder(ctx, tx, f.Parent, f.Workspace); err != nil {
			return err
		}
		var inside int
		if err := tx.QueryRowContext(ctx, below+"SELECT count(*) FROM below WHERE id = ?", id, f.Parent).Scan(&inside); err != nil {
			return err
		}
		if inside > 0 {
			return fmt.Errorf("%w: a folder does not lie in itself", studio.ErrInvalid)
		}
		_, err := tx.ExecContext(ctx, "UPDATE folders SET parent = ?, name = ?, updated = ? WHERE id = ?",
			f.Parent, f.Name, f.Updated.UnixMicro(), id)
		return err
	})
}

// Folder returns a folder.
func (s *Store) Folder(ctx context.Context, id studio.ID) (*studio.Folder, error) {
	return getFolder(ctx, s.reader, id)
}

// Folders lists the folders of a workspace.
func (s *Store) Folders(ctx context.Context, workspace studio.ID) ([]studio.Folder, error) {
	return rows(ctx, s.reader, scanFolder,
		folderColumns+"WHERE workspace = ? AND trashed IS NULL ORDER BY name COLLATE NOCASE, id", workspace)
}
