package web

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"

	server "github.com/crossattn/xpipe/server/web"
	"github.com/crossattn/xpipe/studio"
	"github.com/crossattn/xpipe/studio/answer"
)

// jobs runs prompts over files, one job after the other. What was not finished when the program ended goes on when
// it begins again.
type jobs struct {
	page *Page

	mu      sync.Mutex
	running map[studio.ID]context.CancelFunc
	turn    chan struct{} // held by the job that runs
	done    sync.WaitGroup
	ctx     context.Context
	end     context.CancelFunc
}

func newJobs(p *Page) *jobs {
	j := &jobs{page: p, running: map[studio.ID]context.CancelFunc{}, turn: make(chan struct{}, 1)}
	j.ctx, j.end = context.WithCancel(context.Background())
	return j
}

// resume goes on with what was not finished.
func (j *jobs) resume(ctx context.Context) error {
	list, err := j.page.store.Unfinished(ctx)
	for _, job := range list {
		j.start(job)
	}
	return err
}

func (j *jobs) close() {
	j.end()
	j.done.Wait()
}

// start runs a job once those before it are done.
func (j *jobs) start(job studio.ID) {
	ctx, cancel := context.WithCancel(j.ctx)
	j.mu.Lock()
	j.running[job] = cancel
	j.mu.Unlock()
	j.done.Go(func() {
		defer cancel()
		defer func() {
			j.mu.Lock()
			delete(j.running, job)
			j.mu.Unlock()
		}()
		select {
		case j.turn <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() == nil {
			defer func() { <-j.turn }()
		}
		if err := j.run(ctx, job); err != nil && j.ctx.Err() == nil && !errors.Is(err, studio.ErrNotFound) {
			j.page.log.Error("studio: a job ended", "error", err)
		}
	})
}

// run runs the rows of a job that are left.
func (j *jobs) run(ctx context.Context, id studio.ID) error {
	keep := context.WithoutCancel(ctx)
	store := j.page.store
	job, err := store.Job(keep, id)
	if err != nil {
		return err
	}
	set := func(state studio.State, message string) error {
		_, err := store.UpdateJob(keep, id, func(job *studio.Job) error { job.State, job.Error = state, message; return nil })
		return err
	}
	if ctx.Err() == nil {
		if err := set(studio.Writing, ""); err != nil {
			return err
		}
	}
	var persona *studio.Persona
	if job.Persona != "" {
		if persona, err = store.Persona(keep, job.Persona); err != nil && !errors.Is(err, studio.ErrNotFound) {
			return err
		}
	}
	for _, row := range job.Rows {
		if row.State.Final() {
			continue
		}
		if ctx.Err() != nil {
			break
		}
		j.row(ctx, job, persona, &row)
		if ctx.Err() != nil {
			break
		}
		if err := store.SetRow(keep, id, row); err != nil {
			if errors.Is(err, studio.ErrNotFound) {
				return err
			}
			return errors.Join(err, set(studio.Failed, "a row could not be kept: "+err.Error()))
		}
	}
	switch {
	case j.ctx.Err() != nil: // the program ends; the job goes on with the next one
		return nil
	case ctx.Err() != nil:
		return set(studio.Stopped, "")
	}
	return set(studio.Done, "")
}

// row answers about one file.
func (j *jobs) row(ctx context.Context, job *studio.Job, persona *studio.Persona, row *studio.JobRow) {
	values := studio.Values{Texts: job.Values.Texts, Files: map[string][]studio.Part{}}
	for name, files := range job.Values.Files {
		values.Files[name] = files
	}
	values.Files[job.Slot] = []studio.Part{row.Input}
	row.State, row.Cells = studio.Done, nil
	parts, err := job.Prompt.Render(values)
	branch := []*studio.Message{{Role: studio.RoleUser, State: studio.Done, Parts: parts}}
	for _, model := range job.Models {
		var cell studio.JobCell
		if err == nil {
			q := answer.Question{Workspace: job.Workspace, Model: answer.ParseRef(model), Persona: persona, Branch: branch}
			if persona != nil {
				q.Settings = persona.Settings
			}
			if model == auto {
				q.Model = j.page.desk.Fitting(ctx, job.Workspace, branch)
			}
			reply, failed := j.page.desk.Answer(ctx, q, nil)
			reply.Answer.Words, reply.Answer.HasWords = nil, false // a table shows none
			cell = studio.JobCell{Text: studio.Text(reply.Parts), Answer: &reply.Answer}
			if failed != nil {
				_, cell.Error = statusOf(failed)
			}
		} else {
			_, cell.Error = statusOf(err)
		}
		if cell.Error != "" {
			row.State = studio.Failed
		}
		row.Cells = append(row.Cells, cell)
	}
}

// stop ends a job after the row that is being done.
func (j *jobs) stop(job studio.ID) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	cancel := j.running[job]
	if cancel != nil {
		cancel()
	}
	return cancel != nil
}

// rowView is a row of a table.
type rowView struct {
	studio.JobRow
	File partView
}

// job shows a job's table.
func (p *Page) job(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	job, err := p.store.Job(ctx, id(r, "job"))
	if err != nil {
		return err
	}
	f, err := p.frame(ctx, r, job.Workspace, job.Name)
	if err != nil {
		return err
	}
	f.Here = "prompts"
	models, err := p.models(ctx, job.Workspace)
	if err != nil {
		return err
	}
	page := struct {
		frame
		Job     *studio.Job
		Rows    []rowView
		Columns []string
		Running bool
	}{frame: f, Job: job, Running: !job.State.Final()}
	for _, ref := range job.Models {
		page.Columns = append(page.Columns, nameOf(models, ref))
	}
	for _, row := range job.Rows {
		page.Rows = append(page.Rows, rowView{row, viewPart(job.Workspace, row.Input)})
	}
	return p.page(w, "job.html", page)
}

// jobCSV gives a job's table as a file.
func (p *Page) jobCSV(w http.ResponseWriter, r *http.Request) error {
	job, err := p.store.Job(r.Context(), id(r, "job"))
	if err != nil {
		return err
	}
	models, err := p.models(r.Context(), job.Workspace)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": studio.FileName(job.Name) + ".csv"}))
	out := csv.NewWriter(w)
	head := []string{"file"}
	for _, ref := range job.Models {
		name := nameOf(models, ref)
		head = append(head, name, name+" confidence", name+" error")
	}
	out.Write(head)
	for _, row := range job.Rows {
		line := []string{cellText(row.Input.Name)}
		for i := range job.Models {
			var cell studio.JobCell
			if i < len(row.Cells) {
				cell = row.Cells[i]
			}
			confidence := ""
			if cell.Answer != nil && cell.Answer.Confidence != nil {
				confidence = fmt.Sprintf("%.3f", *cell.Answer.Confidence)
			}
			line = append(line, cellText(cell.Text), confidence, cellText(cell.Error))
		}
		out.Write(line)
	}
	out.Flush()
	return nil
}

// cellText is a text for a table that a spreadsheet opens: what a model wrote is never a formula there.
func cellText(text string) string {
	if text != "" && slices.Contains([]byte("=+-@\t\r"), text[0]) {
		return "'" + text
	}
	return strings.ReplaceAll(text, "\x00", "")
}

// stopJob ends a job.
func (p *Page) stopJob(w http.ResponseWriter, r *http.Request) error {
	var nothing struct{}
	if err := read(r, &nothing); err != nil {
		return err
	}
	if !p.jobs.stop(id(r, "job")) {
		return server.Badf("this job does not run")
	}
	return done(w, nothing)
}
