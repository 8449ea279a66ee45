package decode

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// Scheduler decodes the searches of many callers in common batches (continuous batching, as Orca
// brought it up: Yu et al., OSDI 2022). Searches join a batch, and leave it, between two steps of the
// decoder, whatever their lengths and parameters; each gives what it gives alone. Sequences that
// cannot stand in one batch take their steps in turn. It has a goroutine of its own only while there
// is something to decode. The zero value is ready.
type Scheduler struct {
	// MaxRows bounds the rows of all batches, and further searches wait; 0 stands for
	// DefaultMaxRows. A search with more rows than that runs once nothing else does.
	MaxRows int
	// OnStep, where it is not nil, is called after each step of the decoder.
	OnStep func(Step)

	mu      sync.Mutex
	waiting []*job
	running bool
}

// Step is what OnStep is told.
type Step struct {
	Rows    int           // sequences that the step continued
	Joined  int           // searches whose prompts were read before it
	Waiting int           // searches that wait for room
	Took    time.Duration // without the reading of prompts
}

// DefaultMaxRows is the number of rows that are decoded at once: weights are then read once for so
// many tokens, and the products are large enough to keep a processor's arithmetic busy.
const DefaultMaxRows = 64

// promptTokens bounds the positions that are read between two steps while others write, so that those
// do not stand still for long.
const promptTokens = 1024

// job is a search of one caller.
type job struct {
	ctx       context.Context
	search    steps
	sequences Sequences
	rows      int // at most
	held      int // in its lane, now

	stopped atomic.Bool // nobody takes more of it
	mu      sync.Mutex
	chosen  []chosen      // not emitted yet
	wake    chan struct{} // holds a value while there is something in chosen
	done    chan struct{}
	err     error // once done
}

// chosen is an id of a search's row.
type chosen struct {
	row int
	Chosen
}

// Run is Search.Run in common batches. It calls Emit from the goroutine of its caller, so that a slow
// one keeps nobody else waiting. Once ctx ends, or Emit returns false, the search leaves its batch
// within a step.
func (c *Scheduler) Run(ctx context.Context, s *Search, sequences Sequences) ([]Sequence, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	emit := s.Emit
	j := &job{
		ctx: ctx, sequences: sequences, wake: make(chan struct{}, 1), done: make(chan struct{}),
		rows: len(sequences.Prompts()) * max(s.NumBeams, s.NumReturnSequences),
	}
	if emit != nil {
		s.Emit = j.put
	}
	var err error
	if j.search, err = s.begin(sequences); err != nil {
		return nil, err
	}
	c.add(j)
	given := map[int]int{} // ids of each row that were emitted
	deliver := func() {
		for _, one := range j.take() {
			if j.stopped.Load() {
				return
			}
			given[one.row]++
			if !emit(one.row, one.Chosen) {
				j.stopped.Store(true)
			}
		}
	}
	gone := ctx.Done()
	for going := true; going; {
		select {
		case <-j.wake:
			deliver()
		case <-j.done:
			deliver()
			going = false
		case <-gone:
			if c.withdraw(j) {
				return nil, ctx.Err()
			}
			gone = nil // it leaves after the step that runs now
		}
	}
	if j.err != nil && !j.stopped.Load() {
		return nil, j.err
	}
	if emit != nil {
		s.Emit = emit // beam search emits with its results
	}
	results := j.search.results()
	if j.stopped.Load() {
		cut(results, given)
	}
	return results, nil
}

// cut shortens sequences to the ids that were given out.
func cut(sequences []Sequence, given map[int]int) {
	for i := range sequences {
		if s := &sequences[i]; given[i] < len(s.IDs) {
			s.IDs, s.LogProbs, s.End, s.Score = s.IDs[:given[i]], s.LogProbs[:given[i]], nil, 0
			for _, p := range s.LogProbs {
				s.Score += p
			}
		}
	}
}

// put is the Emit of a job's search.
func (j *job) put(row int, c Chosen) bool {
	j.mu.Lock()
	j.chosen = append(j.chosen, chosen{row, c})
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default:
	}
	return !j.stopped.Load()
}

func (j *job) take() []chosen {
	j.mu.Lock()
	defer j.mu.Unlock()
	taken := j.chosen
	j.chosen = nil
	return taken
}

// gone reports whether nobody waits for the job any more.
func (j *job) gone() bool { return j.stopped.Load() || j.ctx.Err() != nil }

// end ends a job; a nil error of one that was left says why.
func (j *job) end(err error) {
	if err == nil && !j.stopped.Load() {
		err = j.ctx.Err()
	}
	j.err = err
	close(j.done)
}

// finish ends a job that has its results.
func (j *job) finish() { close(j.done) }

func (c *Scheduler) add(j *job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, j)
	if !c.running {
		c.running = true
		go c.loop()
	}
}

// withdraw takes a job back that still waits.
func (c *Scheduler) withdraw(j *job) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := slices.Index(c.waiting, j)
	if at >= 0 {
		c.waiting = slices.Delete(c.waiting, at, at+1)
	}
	return at >= 0
}

// next takes the job that has waited longest, if its rows fit beside those that are held.
func (c *Scheduler) next(held int) *job {
	c.mu.Lock()
	defer c.mu.Unlock()
	most := c.MaxRows
	if most == 0 {
		most = DefaultMaxRows
	}
	if len(c.waiting) == 0 || held > 0 && held+c.waiting[0].rows > most {
		return nil
	}
	j := c.waiting[0]
	c.waiting = slices.Delete(c.waiting, 0, 1)
	return j
}

// rest reports whether there is nothing to do, and ends the loop then.
func (c *Scheduler) rest(lanes []*lane) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = len(lanes)+len(c.waiting) > 0
	return !c.running
}

// loop decodes until all jobs are done.
func (c *Scheduler) loop() {
	var lanes []*lane
	for !c.rest(lanes) {
		var joined int
		lanes, joined = c.admit(lanes)
		lanes = slices.DeleteFunc(lanes, func(l *lane) bool {
			start, rows := time.Now(), len(l.ids)
			going := l.step()
			if c.OnStep != nil {
				c.mu.Lock()
				waiting := len(c.waiting)
				c.mu.Unlock()
				c.OnStep(Step{Rows: rows, Joined: joined, Waiting: waiting, Took: time.Since(start)})
				joined = 0
			}
			return !going
		})
	}
}

// admit reads the prompts of jobs that wait, as far as there is room, and gives each a lane.
func (c *Scheduler) admit(lanes []*lane) (with []*lane, joined int) {
	held, read := 0, 0
	for _, l := range lanes {
		for _, j := range l.jobs {
			held += j.rows
		}
	}
	for held == 0 || read < promptTokens {
		j := c.next(held)
		if j == nil {
			break
		}
		if j.gone() {
			j.end(nil)
			continue
		}
		if b, ok := j.sequences.(*batch); ok {
			read += b.length * len(b.start)
		}
		joined++
		l, err := begin(j)
		switch {
		case err != nil:
			j.end(err)
		case l == nil:
			j.finish()
		default:
			lanes = l.place(lanes)
			held += j.rows
		}
	}
	return lanes, joined
}

// lane is a batch, and the jobs whose sequences are in it, in their order.
type lane struct {
	batch Sequences
	jobs  []*job
	ids   []int64 // that the next step appends, of each row
}

// begin reads a job's prompts and makes a lane of it; nil if its search is done with that.
func begin(j *job) (*lane, error) {
	logits, err := j.sequences.Prefill(j.ctx)
	if err != nil {
		return nil, err
	}
	rows, ids := j.search.next(func(row int) []float32 { return graph.Row(logits, row) })
	if len(rows) == 0 {
		return nil, nil
	}
	j.held = len(rows)
	return &lane{batch: j.sequences, jobs: []*job{j}, ids: ids}, j.sequences.Reorder(rows)
}

// place adds a lane to others: to the batch of one, if it can stand there.
func (l *lane) place(lanes []*lane) []*lane {
	own, ok := l.batch.(*batch)
	for _, other := range lanes {
		shared, is := other.batch.(*batch)
		if !ok || !is || !shared.joins(own) {
			continue
		}
		if err := shared.join(own); err != nil {
			l.jobs[0].end(err)
			return lanes
		}
		shared.shared = true
		other.jobs, other.ids = append(other.jobs, l.jobs...), append(other.ids, l.ids...)
		return lanes
	}
	return append(lanes, l)
}

// step appends an id to each row, has every search choose what follows, and lets those go that are
// done. It reports whether any go on.
func (l *lane) step() bool {
	ctx := l.jobs[0].ctx
	if len(l.jobs) > 1 {
		ctx = context.WithoutCancel(ctx) // it is not theirs alone
	}
	var rows []int
	logits, err := l.batch.Step(ctx, l.ids)
	if err == nil {
		rows = l.choose(logits)
		if len(rows) > 0 {
			err = l.batch.Reorder(rows)
		}
		if b, ok := l.batch.(*batch); ok && b.shared && err == nil && len(rows) > 0 {
			err = b.compact()
		}
	}
	if err != nil {
		for _, j := range l.jobs {
			j.end(err)
		}
		return false
	}
	return len(l.jobs) > 0
}

// choose has every search read its rows of the logits. It returns the rows that go on, and keeps the
// ids that follow in them.
func (l *lane) choose(logits *tensor.Tensor) (going []int) {
	type choice struct {
		from int
		rows []int
		ids  []int64
		err  error
	}
	choices := make([]choice, len(l.jobs))
	at := 0
	for i, j := range l.jobs {
		choices[i].from = at
		at += j.held
	}
	each(len(l.jobs), func(i int) {
		j, c := l.jobs[i], &choices[i]
		if j.gone() {
			return
		}
		for r := range j.held {
			if c.err = graph.CheckNumbers("the decoder's logits", graph.Row(logits, c.from+r)); c.err != nil {
				return
			}
		}
		c.rows, c.ids = j.search.next(func(row int) []float32 { return graph.Row(logits, c.from+row) })
	})
	jobs := l.jobs[:0]
	l.ids = l.ids[:0]
	for i, j := range slices.Clone(l.jobs) {
		c := choices[i]
		switch {
		case c.err != nil || j.gone():
			j.end(c.err)
		case len(c.rows) == 0:
			j.finish()
		default:
			for _, row := range c.rows {
				going = append(going, c.from+row)
			}
			j.held = len(c.rows)
			jobs, l.ids = append(jobs, j), append(l.ids, c.ids...)
		}
	}
	clear(l.jobs[len(jobs):])
	l.jobs = jobs
	return going
}

// each calls f for 0 to n-1, on all processors where there are several.
func each(n int, f func(i int)) {
	workers := min(n, runtime.GOMAXPROCS(0))
	if workers < 2 {
		for i := range n {
			f(i)
		}
		return
	}
	var next atomic.Int64
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	group.Wait()
}
