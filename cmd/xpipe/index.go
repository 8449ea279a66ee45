package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/api/pagefiles"
	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/index"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/vision"
	"github.com/spf13/cobra"
)

// storeOption is the flag of the verbs over a library.
type storeOption struct{ path string }

func (o *storeOption) addFlag(cmd *cobra.Command) {
	cmd.Flags().Var((*pathFlag)(&o.path), "store", "the library's file (default: one of the user's own)")
}

// file is the library's path.
func (o *storeOption) file(env *environment) (string, error) {
	if o.path != "" {
		return filepath.Abs(o.path)
	}
	getenv := env.getenv
	if getenv == nil {
		getenv = func(string) string { return "" }
	}
	return index.DefaultPath(getenv)
}

type indexOptions struct {
	modelOptions
	storeOption
	batch, jobs           int
	words, reembed, quiet bool
}

func newIndexCommand(env *environment) *cobra.Command {
	var o indexOptions
	cmd := &cobra.Command{
		Use:   "index [DIR ...]",
		Short: "Make a library of pictures, pages and sounds that find can search",
		Example: `  xpipe index ~/photos ~/papers
  xpipe index ~/photos --store photos.db --words
  xpipe index`,
		Long: `Makes a library of the pictures, PDF files and sounds in and below folders, for xpipe
find. Pictures are found by what they show and by their names, pages of PDF files by
their own text, sounds by their names. With --words pictures are described and what
is written in them is read, pages without a text of their own are read, and what is
said in sounds is written down, with its times; that takes seconds each.

Run again it does what is new or changed, by size, time and content, notes what was
moved, and takes away what is gone; without DIR in the folders of earlier runs. A
run that was interrupted goes on where it was. A folder that is empty, or not there,
is an error, and nothing of it is taken away: it may be a disk that is not connected.
One process at a time writes to a library; others may search it meanwhile.

The library is one file of SQLite, FILE; FILE.vec beside it is made again where it is
missing. Its vectors are of one model, --model of the first run. With another one it
says so, and --reembed makes all vectors anew. Films are counted and left out.

With --json the end of the run is one line {"store","new","changed","moved","gone",
"same","failed","photos","pages","sounds","films","skipped","seconds"}: the files of
this run, and what the library holds.

` + exitHelp,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !env.modelGiven(cmd) {
				o.model = ""
			}
			return runIndex(cmd.Context(), env, o, args)
		},
	}
	o.modelOptions.addFlags(cmd, mini.CLIP)
	o.storeOption.addFlag(cmd)
	f := cmd.Flags()
	f.IntVar(&o.batch, "batch", 1, "pictures to run through the model at once")
	f.IntVar(&o.jobs, "jobs", min(runtime.NumCPU(), defaultJobs), "pictures to decode at once, each in memory as a whole")
	f.BoolVar(&o.words, "words", false, "describe and read pictures, read pages, and write down sounds, too")
	f.BoolVar(&o.reembed, "reembed", false, "make all vectors anew where they are of another model")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "tell nothing of how far a run is")
	return cmd
}

func runIndex(ctx context.Context, env *environment, o indexOptions, args []string) (err error) {
	if o.batch < 1 || o.jobs < 1 {
		return api.Usagef("--batch and --jobs must be 1 or more")
	}
	path, err := o.file(env)
	if err != nil {
		return err
	}
	store, err := index.Create(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	p, model, err := o.openEmbedder(ctx, env, store)
	if err != nil {
		return err
	}
	defer p.Close()
	skips := &api.Skips{Tell: func(path, why string) { env.verbosef("%s: skipped, %s", path, why) }}
	words := wordModels{env: env, options: o.engineOptions}
	defer words.close()
	if env.alone && os.Getenv("GOGC") == "" {
		debug.SetGCPercent(manyPictures)
	}
	var progress *progress
	run := index.Run{
		Store: store, Embed: p, Model: model, Reembed: o.reembed, Words: o.words,
		Describe: words.describe, Pages: words.pages, Listen: words.listen,
		Sources: env.sources(), Batch: o.batch, Jobs: o.jobs, Skips: skips,
		Planned: func(files int) {
			if files > 0 && !o.quiet {
				progress = newProgress(env, path, files)
				progress.whole = true
			}
		},
		Finished: func(path string, err error) {
			if err != nil {
				if !strings.Contains(err.Error(), path) {
					err = fmt.Errorf("%s: %w", path, err)
				}
				env.report(err)
			}
			if progress != nil {
				progress.add(err != nil)
			}
		},
	}
	counts, err := run.Index(ctx, args...)
	if progress != nil {
		progress.end(skips, err != nil)
	}
	if err != nil {
		return err
	}
	if env.json {
		err = env.printJSON(counts)
	} else {
		_, err = fmt.Fprintln(env.stdout, api.Visible(summaryOf(counts, skips)))
	}
	if err == nil && counts.Failed > 0 {
		err = fmt.Errorf("%d files failed", counts.Failed)
	}
	return err
}

// summaryOf says what a run did, and what the library holds.
func summaryOf(c api.Indexed, skips *api.Skips) string {
	line := fmt.Sprintf("%s: %d photos, %d pages, %d sounds; files: %d new, %d changed, %d moved, %d gone, %d as before",
		string(c.Store), c.Photos, c.Pages, c.Sounds, c.New, c.Changed, c.Moved, c.Gone, c.Same)
	if n := skips.Total(); n > 0 {
		line += fmt.Sprintf("; %d skipped: %v", n, skips)
	}
	return line
}

// openEmbedder opens the model of a library: the one that --model names, or that of its vectors.
func (o *modelOptions) openEmbedder(
	ctx context.Context, env *environment, store *index.Store,
) (*pipeline.Pipeline, index.Model, error) {
	if o.model == "" {
		o.model = store.Model().Name
	}
	if o.model == "" {
		o.model = mini.CLIP
	}
	p, err := o.open(ctx, env)
	if err != nil {
		return nil, index.Model{}, err
	}
	name := o.model
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		if whole, err := filepath.Abs(name); err == nil {
			name = whole
		}
	}
	model, err := index.ModelOf(ctx, name, p)
	if err != nil {
		p.Close()
		return nil, model, err
	}
	return p, model, nil
}

// wordModels are the embedded models that give a library its words, opened when they are needed.
type wordModels struct {
	env     *environment
	options engineOptions
	opened  map[string]*pipeline.Pipeline
}

func (w *wordModels) open(ctx context.Context, name string) (*pipeline.Pipeline, error) {
	if p := w.opened[name]; p != nil {
		return p, nil
	}
	o := modelOptions{engineOptions: w.options, model: name}
	var p *pipeline.Pipeline
	var err error
	if name == hearingModel {
		p, err = o.openHearing(ctx, w.env)
	} else {
		p, err = o.open(ctx, w.env)
	}
	if err == nil {
		if w.opened == nil {
			w.opened = map[string]*pipeline.Pipeline{}
		}
		w.opened[name] = p
	}
	return p, err
}

func (w *wordModels) close() {
	for _, p := range w.opened {
		p.Close()
	}
}

// describe says what is to be seen and to be read in a picture.
func (w *wordModels) describe(ctx context.Context, m *vision.RGB) (string, error) {
	describer, err := w.open(ctx, mini.BLIP2)
	if err != nil {
		return "", err
	}
	caption, err := describer.Caption(ctx, m)
	if err != nil {
		return "", err
	}
	read, err := w.read(ctx, m)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(caption.Text + "\n" + read.Text()), nil
}

func (w *wordModels) read(ctx context.Context, img image.Image) (*pipeline.Page, error) {
	reader, err := w.open(ctx, mini.OCR)
	if err != nil {
		return nil, err
	}
	return reader.Read(ctx, img)
}

// pages gives the texts of a PDF file's pages; with read of those that are pictures, too.
func (w *wordModels) pages(ctx context.Context, path string, read bool) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		d, err := pagefiles.Open(ctx, path, "")
		if err != nil {
			yield("", err)
			return
		}
		defer d.Close()
		reader := &api.DocumentReader{OCR: "never", DPI: 150, Read: w.read}
		if read {
			reader.OCR = "auto"
		}
		for n := 1; n <= d.Pages(); n++ {
			page, err := reader.Page(ctx, path, d, n)
			if !yield(page.Text, err) || err != nil {
				return
			}
		}
	}
}

// listen writes down what is said in a sound.
func (w *wordModels) listen(ctx context.Context, path string) ([]pipeline.Segment, error) {
	p, err := w.open(ctx, hearingModel)
	if err != nil {
		return nil, err
	}
	heard, err := p.TranscribeFile(ctx, path, func(t *pipeline.Transcription) {
		t.Sound = []audio.Option{audio.WithFFmpeg("")}
	})
	if err != nil {
		return nil, err
	}
	return heard.Segments, nil
}
