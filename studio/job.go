package studio

// Job runs a prompt over files and gives a table.
type Job struct {
	ID        ID       `json:"id"`
	Workspace ID       `json:"workspace"`
	Name      string   `json:"name"`
	Prompt    Prompt   `json:"prompt"` // as it was when the job began
	Slot      string   `json:"slot"`   // the variable that each file fills in turn
	Values    Values   `json:"values"` // of the others
	Models    []string `json:"models"` // a column each
	Upstream  ID       `json:"upstream,omitempty"`
	Persona   ID       `json:"persona,omitempty"`
	State     State    `json:"state"`
	Error     string   `json:"error,omitempty"`
	Total     int      `json:"total"` // rows; the store counts these three
	Finished  int      `json:"finished"`
	Failures  int      `json:"failures"`
	Author    ID       `json:"author,omitempty"`
	Rows      []JobRow `json:"rows,omitempty"` // Store.Job has them, Store.Jobs has not
	Stamp
}

// JobRow is one file's row.
type JobRow struct {
	Number int       `json:"number"` // from 0
	Input  Part      `json:"input"`
	State  State     `json:"state"`
	Cells  []JobCell `json:"cells,omitempty"` // one a model
}

// JobCell is a model's answer about a file.
type JobCell struct {
	Text   string  `json:"text,omitempty"`
	Error  string  `json:"error,omitempty"`
	Answer *Answer `json:"answer,omitempty"`
}

// Check reports what breaks a rule.
func (j *Job) Check() error {
	if err := checkName("job", j.Name); err != nil {
		return err
	}
	switch j.State {
	case Waiting, Writing, Done, Stopped, Failed:
	default:
		return invalid("there is no state %q", j.State)
	}
	if len(j.Models) == 0 || len(j.Models) > MostModels {
		return invalid("a job takes 1 to %d models, not %d", MostModels, len(j.Models))
	}
	for i := range j.Rows {
		if err := j.Rows[i].Check(); err != nil {
			return err
		}
	}
	return nil
}

// Check reports what breaks a rule.
func (r *JobRow) Check() error {
	if r.Input.Kind == KindText {
		return nil
	}
	return r.Input.Check()
}
