package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/crossattn/xpipe/studio"
)

const jobColumns = "SELECT id, workspace, name, state, job, created, updated, trashed," +
	" (SELECT count(*) FROM job_rows WHERE job = j.id)," +
	" (SELECT count(*) FROM job_rows WHERE job = j.id AND state IN ('done', 'stopped', 'failed'))," +
	" (SELECT count(*) FROM job_rows WHERE job = j.id AND failed = 1) FROM jobs j "

func scanJob(scan func(...any) error) (j studio.Job, err error) {
	var t stamp
	var id, workspace studio.ID
	var state studio.State
	var name, rest string
	var total, finished, failures int
	if err = scan(&id, &workspace, &name, &state, &rest, &t.created, &t.updated, &t.trashed, &total, &finished, &failures); err != nil {
		return j, err
	}
	err = fromJSON(rest, &j)
	j.ID, j.Workspace, j.Name, j.State, j.Stamp = id, workspace, name, state, t.Stamp()
	j.Total, j.Finished, j.Failures = total, finished, failures
	return j, err
}

func getJob(ctx context.Context, q querier, id studio.ID) (*studio.Job, error) {
	return row(ctx, q, "job", scanJob, jobColumns+"WHERE id = ?", id)
}

// jobJSON is a job without its rows.
func jobJSON(j *studio.Job) (string, error) {
	without := *j
	without.Rows = nil
	return toJSON(without)
}

// jobParts are the attachments that a job has, those of its rows left out.
func jobParts(j *studio.Job) []studio.Part {
	parts := slices.Clone(j.Prompt.Parts)
	for _, files := range j.Values.Files {
		parts = append(parts, files...)
	}
	return parts
}

// AddJob adds a job with its rows.
func (s *Store) AddJob(ctx context.Context, j *studio.Job) error {
	return s.write(ctx, func(tx *sql.Tx) error { return s.addJob(ctx, tx, j) })
}

func (s *Store) addJob(ctx context.Context, tx *sql.Tx, j *studio.Job) error {
	if err := j.Check(); err != nil {
		return err
	}
	if _, err := getWorkspace(ctx, tx, j.Workspace); err != nil {
		return err
	}
	if err := s.begin(&j.ID, &j.Stamp); err != nil {
		return err
	}
	rest, err := jobJSON(j)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO jobs (id, workspace, name, state, job, created, updated) VALUES (?, ?, ?, ?, ?, ?, ?)",
		j.ID, j.Workspace, j.Name, j.State, rest, j.Created.UnixMicro(), j.Updated.UnixMicro())
	if err != nil {
		return err
	}
	parts := jobParts(j)
	for i := range j.Rows {
		r := &j.Rows[i]
		if r.Number = i; r.State == "" {
			r.State = studio.Waiting
		}
		if err := setRow(ctx, tx, j.ID, *r); err != nil {
			return err
		}
		parts = append(parts, r.Input)
	}
	return attach(ctx, tx, owner{job: j.ID}, parts)
}

func setRow(ctx context.Context, tx *sql.Tx, job studio.ID, r studio.JobRow) error {
	failed := r.State == studio.Failed ||
		slices.ContainsFunc(r.Cells, func(c studio.JobCell) bool { return c.Error != "" })
	rest, err := toJSON(r)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT OR REPLACE INTO job_rows VALUES (?, ?, ?, ?, ?)", job, r.Number, r.State, failed, rest)
	return err
}

// UpdateJob changes a job, but not its rows.
func (s *Store) UpdateJob(ctx context.Context, id studio.ID, change func(*studio.Job) error) (*studio.Job, error) {
	get := func(q querier) (*studio.Job, error) { return getJob(ctx, q, id) }
	return update(ctx, s, get, change, func(tx *sql.Tx, before, j *studio.Job) error {
		// Its files stay, too: they are those it began with.
		j.ID, j.Workspace, j.Stamp, j.Prompt, j.Values = before.ID, before.Workspace, before.Stamp, before.Prompt, before.Values
		j.Updated = at(s.tick())
		if err := j.Check(); err != nil {
			return err
		}
		rest, err := jobJSON(j)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE jobs SET name = ?, state = ?, job = ?, updated = ? WHERE id = ?",
			j.Name, j.State, rest, j.Updated.UnixMicro(), id)
		return err
	})
}

// SetRow changes a row of a job. Its input stays.
func (s *Store) SetRow(ctx context.Context, job studio.ID, r studio.JobRow) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		before, err := row(ctx, tx, "row of the job", scanRow, "SELECT row FROM job_rows WHERE job = ? AND number = ?", job, r.Number)
		if err != nil {
			return err
		}
		switch r.State {
		case studio.Waiting, studio.Writing, studio.Done, studio.Stopped, studio.Failed:
		default:
			return fmt.Errorf("%w: there is no state %q", studio.ErrInvalid, r.State)
		}
		r.Input = before.Input
		return setRow(ctx, tx, job, r)
	})
}

func scanRow(scan func(...any) error) (r studio.JobRow, err error) {
	var text string
	if err = scan(&text); err != nil {
		return r, err
	}
	return r, fromJSON(text, &r)
}

// Job returns a job with its rows.
func (s *Store) Job(ctx context.Context, id studio.ID) (*studio.Job, error) {
	j, err := getJob(ctx, s.reader, id)
	if err != nil {
		return nil, err
	}
	// The state's column holds: a row that was being done when the program ended waits again.
	j.Rows, err = rows(ctx, s.reader, scanRow, "SELECT json_set(row, '$.state', state) FROM job_rows WHERE job = ? ORDER BY number", id)
	return j, err
}

// Jobs lists jobs.
func (s *Store) Jobs(ctx context.Context, workspace studio.ID) ([]studio.Job, error) {
	return rows(ctx, s.reader, scanJob,
		jobColumns+"WHERE (workspace = ?1 OR ?1 = '') AND trashed IS NULL ORDER BY created DESC, id DESC", workspace)
}

// Unfinished lists jobs that are not at their end.
func (s *Store) Unfinished(ctx context.Context) ([]studio.ID, error) {
	return rows(ctx, s.reader, one[studio.ID],
		"SELECT id FROM jobs WHERE state IN ('waiting', 'writing') AND trashed IS NULL ORDER BY created, id")
}
