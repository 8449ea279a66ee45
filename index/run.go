package index

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/vision"
)

// Run indexes folders into a library: it makes items of the files that are new or changed, and takes
// away what is gone. Killed at any time, and run again, it goes on where it was.
type Run struct {
	Store *Store
	// Embed is the model that makes vectors of pictures, and Model what the library notes of it.
	Embed *pipeline.Pipeline
	Model Model
	// Reembed makes all vectors anew where the library has those of another model; otherwise that is
	// ErrOtherModel.
	Reembed bool
	// Words says that pictures are described and read, pages without text read, and sounds written
	// down, which takes seconds each.
	Words bool
	// Describe says what is to be seen and to be read in a picture. With Words.
	Describe func(ctx context.Context, m *vision.RGB) (string, error)
	// Pages gives the text of each page of a PDF file; with read of pages without one, too.
	Pages func(ctx context.Context, path string, read bool) iter.Seq2[string, error]
	// Listen writes down what is said in a sound. With Words.
	Listen func(ctx context.Context, path string) ([]pipeline.Segment, error)

	Sources api.Sources // how pictures are decoded
	Batch   int         // pictures that go through the model at once
	Jobs    int         // pictures that are decoded at once
	Skips   *api.Skips
	// Planned is told how many files there are to do, and Finished of each that is done, or why it is
	// not. Both may be nil.
	Planned  func(files int)
	Finished func(path string, err error)

	w      *writer
	counts api.Indexed
}

// ErrOtherModel says that a library's vectors are of another model.
var ErrOtherModel = errors.New("the library's vectors are of another model")

// Index does it for files and folders; without any for those that were indexed before. A file that
// fails does not end the run: it is told, counted, and tried again the next time.
func (r *Run) Index(ctx context.Context, dirs ...string) (api.Indexed, error) {
	start := time.Now()
	r.counts = api.Indexed{Store: api.Name(r.Store.path)}
	err := r.index(ctx, dirs)
	r.counts.Skipped = r.Skips.Counts()
	if r.counts.Skipped == nil {
		r.counts.Skipped = map[string]int{}
	}
	if err == nil {
		err = r.Store.count(ctx, &r.counts)
	}
	r.counts.Seconds = math.Round(time.Since(start).Seconds()*1e3) / 1e3
	return r.counts, err
}

func (r *Run) index(ctx context.Context, dirs []string) (err error) {
	dirs, err = r.Store.roots(ctx, dirs)
	if err != nil {
		return err
	}
	if r.w, err = r.Store.newWriter(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.w.close()) }()
	if err := r.checkModel(ctx); err != nil {
		return err
	}
	plan, err := r.Store.makePlan(ctx, dirs, r.Words, r.Skips)
	if err != nil {
		return err
	}
	if r.Planned != nil {
		r.Planned(len(plan.todo))
	}
	if err := r.tidy(ctx, plan, dirs); err != nil {
		return err
	}
	var photos, others []task
	for _, t := range plan.todo {
		if t.Kind == api.KindPhoto {
			photos = append(photos, t)
		} else {
			others = append(others, t)
		}
	}
	if err := r.photos(ctx, photos); err != nil {
		return err
	}
	for _, t := range others {
		if err := r.other(ctx, t); err != nil {
			return err
		}
	}
	return r.describe(ctx, photos)
}

// roots are the folders to index as absolute paths; without any those of earlier runs.
func (s *Store) roots(ctx context.Context, dirs []string) ([]string, error) {
	if len(dirs) > 0 {
		absolute := make([]string, len(dirs))
		for i, dir := range dirs {
			var err error
			if absolute[i], err = filepath.Abs(dir); err != nil {
				return nil, err
			}
		}
		return absolute, nil
	}
	found, err := s.db.QueryContext(ctx, "SELECT path FROM roots ORDER BY path")
	if err != nil {
		return nil, s.explain(err)
	}
	defer found.Close()
	for found.Next() {
		var dir string
		if err := found.Scan(&dir); err != nil {
			return nil, s.explain(err)
		}
		dirs = append(dirs, dir)
	}
	if len(dirs) == 0 {
		return nil, api.Usagef("the library is empty; name a folder to index")
	}
	return dirs, s.explain(found.Err())
}

// checkModel makes sure that the library's vectors are, or will be, of the run's model.
func (r *Run) checkModel(ctx context.Context) error {
	switch held := r.Store.Model(); {
	case held.Hash == r.Model.Hash && held.Dim == r.Model.Dim:
		return nil
	case held.Dim != 0 && !r.Reembed:
		return fmt.Errorf("%s: %w: they were made by %s, and not by %s; --reembed makes all of them anew", r.Store.path,
			api.WithKind(ErrOtherModel, api.KindUsage), held.Name, r.Model.Name)
	}
	return r.w.setModel(ctx, r.Model)
}

// tidy notes what needs no file to be read.
func (r *Run) tidy(ctx context.Context, p *plan, dirs []string) error {
	r.counts.Same, r.counts.Moved, r.counts.Gone = p.same, len(p.moved), len(p.gone)
	err := r.w.change(ctx, func(tx *sql.Tx) error {
		for _, dir := range dirs {
			if _, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO roots VALUES (?)", dir); err != nil {
				return err
			}
		}
		return nil
	})
	for _, m := range p.moved {
		if err == nil {
			err = r.w.change(ctx, func(tx *sql.Tx) error { return r.w.moveFile(ctx, tx, m) })
		}
	}
	for _, gone := range p.gone {
		if err == nil {
			err = r.w.change(ctx, func(tx *sql.Tx) error { return r.w.removeFile(ctx, tx, gone.id) })
		}
	}
	return err
}

// photo is a picture on its way to the model.
type photo struct {
	fileRow
	item media.Item // nil: it needs no vector
}

func (*photo) Kind() media.Kind { return media.Pictures }

// photos makes vectors of pictures.
func (r *Run) photos(ctx context.Context, tasks []task) error {
	byPath := map[string]task{}
	for _, t := range tasks {
		byPath[t.Path] = t
	}
	pictures := func(yield func(api.Picture, error) bool) {
		for _, t := range tasks {
			if t.embed && !yield(api.Picture{Name: t.Path, File: t.Path}, nil) {
				return
			}
		}
	}
	runner := api.Runner[[]float32]{
		Batch: r.Batch, Jobs: r.Jobs, Repeats: true,
		Load: func(ctx context.Context, p api.Picture) (media.Item, error) { return r.load(ctx, byPath[p.Name]) },
		Task: r.embed,
	}
	loaded := map[string]*photo{}
	runner.Task = func(ctx context.Context, batch []api.Loaded) ([][]float32, error) {
		for _, l := range batch {
			loaded[l.Name] = l.Item.(*photo)
		}
		return r.embed(ctx, batch)
	}
	for f, err := range runner.Run(ctx, pictures) {
		if err != nil {
			return err
		}
		p := loaded[f.Name]
		delete(loaded, f.Name)
		if f.Err != nil {
			if err := r.fail(ctx, byPath[f.Name], f.Err); err != nil {
				return err
			}
			continue
		}
		err := r.w.change(ctx, func(tx *sql.Tx) error {
			if f.Value == nil {
				return r.w.touch(ctx, tx, p.task)
			}
			row := p.fileRow
			row.words = false // until it is described
			return r.w.putFile(ctx, tx, row, []item{{vector: f.Value}})
		})
		if err != nil {
			return err
		}
		r.done(p.task, f.Value == nil)
	}
	return nil
}

// load reads a picture's file, once, and prepares it for the model.
func (r *Run) load(ctx context.Context, t task) (*photo, error) {
	data, err := os.ReadFile(t.Path)
	if err != nil {
		return nil, api.WithKind(err, api.KindInput)
	}
	hash := sha256.Sum256(data)
	p := &photo{fileRow: fileRow{task: t, hash: hash[:], taken: api.FileTaken(data, t.Info)}}
	if t.known != nil && t.known.embedded && bytes.Equal(t.known.hash, p.hash) {
		return p, nil
	}
	img, err := r.Sources.Decode(t.Path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if m, ok := img.(*vision.RGB); ok {
		look := int64(lookOf(m))
		p.look = &look
	}
	if p.item, err = r.Embed.Prepare(ctx, img); err != nil {
		return nil, fmt.Errorf("%s: %w", t.Path, err)
	}
	return p, nil
}

// embed makes the vectors of a batch; nil for those that have one.
func (r *Run) embed(ctx context.Context, batch []api.Loaded) ([][]float32, error) {
	rows := make([][]float32, len(batch))
	var items []media.Item
	var at []int
	for i, l := range batch {
		if item := l.Item.(*photo).item; item != nil {
			items, at = append(items, item), append(at, i)
		}
	}
	if len(items) == 0 {
		return rows, nil
	}
	made, err := r.Embed.EmbedItems(ctx, items...)
	if err != nil {
		return nil, err
	}
	for i, row := range made {
		rows[at[i]] = row
	}
	return rows, nil
}

// done counts a file that was stored.
func (r *Run) done(t task, same bool) {
	switch {
	case same:
		r.counts.Same++
	case t.known != nil:
		r.counts.Changed++
	default:
		r.counts.New++
	}
	if r.Finished != nil {
		r.Finished(t.Path, nil)
	}
}

// fail tells of a file that failed. What the library had of it is of another content, and goes.
func (r *Run) fail(ctx context.Context, t task, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.counts.Failed++
	if r.Finished != nil {
		r.Finished(t.Path, err)
	}
	if t.known == nil {
		return nil
	}
	return r.w.change(ctx, func(tx *sql.Tx) error { return r.w.removeFile(ctx, tx, t.known.id) })
}

// other stores a document or a sound.
func (r *Run) other(ctx context.Context, t task) error {
	hash, err := hashFile(ctx, t.Path)
	if err != nil {
		return r.fail(ctx, t, err)
	}
	if t.known != nil && bytes.Equal(t.known.hash, hash) && (!t.words || t.known.words) {
		err := r.w.change(ctx, func(tx *sql.Tx) error { return r.w.touch(ctx, tx, t) })
		r.done(t, true)
		return err
	}
	var items []item
	if t.Kind == api.KindPage {
		items, err = r.pages(ctx, t)
	} else {
		items, err = r.speech(ctx, t)
	}
	if err != nil {
		if t.known != nil && bytes.Equal(t.known.hash, hash) {
			t.known = nil // what is there of it stays
		}
		return r.fail(ctx, t, err)
	}
	row := fileRow{task: t, hash: hash, taken: vision.Taken{Time: t.Info.ModTime(), Latitude: math.NaN()}}
	err = r.w.change(ctx, func(tx *sql.Tx) error { return r.w.putFile(ctx, tx, row, items) })
	if err == nil {
		r.done(t, false)
	}
	return err
}

func (r *Run) pages(ctx context.Context, t task) (items []item, err error) {
	for text, err := range r.Pages(ctx, t.Path, t.words) {
		if err != nil {
			return nil, err
		}
		items = append(items, item{page: len(items) + 1, text: text})
	}
	return items, nil
}

// speech are the stretches of speech in a sound, or all of it where nobody listens or nothing is said.
func (r *Run) speech(ctx context.Context, t task) (items []item, err error) {
	if t.words {
		segments, err := r.Listen(ctx, t.Path)
		if err != nil {
			return nil, err
		}
		for _, s := range segments {
			items = append(items, item{start: &s.Start, end: &s.End, text: s.Text})
		}
	}
	if len(items) == 0 {
		items = []item{{}}
	}
	return items, nil
}

// describe gives pictures their words.
func (r *Run) describe(ctx context.Context, tasks []task) error {
	if !r.Words {
		return nil
	}
	for _, t := range slices.DeleteFunc(tasks, func(t task) bool { return !t.words }) {
		img, err := r.Sources.LoadPicture(t.Path)
		if err != nil {
			if !t.embed { // otherwise it was told before
				err = r.fail(ctx, t, err)
			} else {
				err = ctx.Err()
			}
			if err != nil {
				return err
			}
			continue
		}
		text, err := r.Describe(ctx, vision.FromImage(img))
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			r.counts.Failed++
			if r.Finished != nil {
				r.Finished(t.Path, err)
			}
			continue
		}
		if err := r.w.change(ctx, func(tx *sql.Tx) error { return r.w.putWords(ctx, tx, t.Path, text) }); err != nil {
			return err
		}
		if !t.embed {
			r.done(t, false)
		}
	}
	return nil
}

// count counts what the library holds.
func (s *Store) count(ctx context.Context, to *api.Indexed) error {
	found, err := s.db.QueryContext(ctx, "SELECT f.kind, count(*) FROM files f JOIN items i ON i.file = f.id GROUP BY f.kind")
	if err != nil {
		return s.explain(err)
	}
	defer found.Close()
	for found.Next() {
		var kind string
		var n int
		if err := found.Scan(&kind, &n); err != nil {
			return s.explain(err)
		}
		switch kind {
		case api.KindPhoto:
			to.Photos = n
		case api.KindPage:
			to.Pages = n
		case api.KindSound:
			to.Sounds = n
		}
	}
	return s.explain(found.Err())
}

// ModelOf is what a library notes of a model that embeds pictures and texts. name is what --model is
// given.
func ModelOf(ctx context.Context, name string, p *pipeline.Pipeline) (Model, error) {
	if can := p.Abilities(); !can.Embed || can.HearsAlone() {
		return Model{}, fmt.Errorf("%w: model %s, of family %s, makes no vectors of pictures and texts that can be compared",
			pipeline.ErrUnsupported, p.Bundle().Name, p.Bundle().Family)
	}
	hash, err := p.Bundle().Hash()
	if err != nil {
		return Model{}, err
	}
	rows, err := p.EmbedTexts(ctx, "a picture")
	if err != nil {
		return Model{}, err
	}
	return Model{Name: name, Hash: hash, Dim: len(rows[0])}, nil
}
