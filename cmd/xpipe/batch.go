package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/spf13/cobra"
)

// batchOptions are the flags of the verbs that take many pictures.
type batchOptions struct {
	batch, jobs int
	out         string
	resume      bool
	lists       []string
	strict      bool
	quiet       bool // --quiet: nothing is told of a run
}

// addFlags adds the flags to a verb; forms are what --out writes.
func (o *batchOptions) addFlags(cmd *cobra.Command, forms string) {
	f := cmd.Flags()
	f.IntVar(&o.batch, "batch", 1, "pictures to run through the model at once")
	f.IntVar(&o.jobs, "jobs", min(runtime.NumCPU(), defaultJobs),
		"pictures to decode at once, each in memory as a whole")
	o.addListFlags(cmd, "pictures", forms)
}

// addListFlags adds those flags that sounds have, too.
func (o *batchOptions) addListFlags(cmd *cobra.Command, files, forms string) {
	f := cmd.Flags()
	f.VarP((*pathFlag)(&o.out), "out", "o", "write "+forms+" to a file")
	f.BoolVar(&o.resume, "resume", false,
		"with --out: go on with the file that is there; what failed is tried again")
	f.StringArrayVar(&o.lists, "list", nil,
		"a file that lists "+files+", one a line; - is standard input (repeat)")
	f.BoolVar(&o.strict, "strict", false,
		"exit with 1 where files or folders were skipped")
}

// pathFlag is a flag for the name of a file. It refuses an empty one, which a variable of a shell that
// is not set leaves, and which would be no flag at all.
type pathFlag string

func (p *pathFlag) Type() string { return "string" }

func (p *pathFlag) String() string { return string(*p) }

func (p *pathFlag) Set(path string) error {
	if path == "" {
		return errors.New("the name is empty")
	}
	*p = pathFlag(path)
	return nil
}

// defaultJobs is how many pictures are decoded at once unless the user says otherwise: a photograph
// of 12 megapixels takes about 100 MB while it is decoded, and two keep a model busy.
const defaultJobs = 2

// manyPictures is how much garbage may gather, in percent of the memory in use: most of both is
// pixels of photographs, which cost the collector nothing to pass over. A run over photographs of 12
// megapixels peaks at 590 MB with Go's default of 100 and at 400 with 25, in the same time. GOGC in
// the environment says otherwise.
const manyPictures = 25

// otherForms are suffixes of files that hold no JSON lines.
var otherForms = []string{
	".npy", ".npz", ".csv", ".tsv", ".parquet", ".arrow", ".db", ".sqlite", ".png", ".jpg", ".html",
}

// picturesHelp says what pictures may be given as.
const picturesHelp = `  DIR        every picture in and below a folder, links followed
  GLOB       a pattern with * ? [ ], or ** for any folders between
  SHARD.tar  every picture in it; so with .tar.gz, .tar.zst and .tar.bz2
  {000..999} and {a,b} in a name stand for several, as in a shell
  -          standard input: a picture, a shard, or a list

A list has one of the above on each line, or names with a zero byte behind each,
as find -print0 writes them; paths are from the folder where xpipe runs. --list
FILE reads one. Pictures of formats that are not read, folders that cannot be
listed and broken links are counted and told at the end; --strict makes them an
error.`

// resultsHelp says what --out does.
const resultsHelp = `Each line also says what made it: {"model","model_hash","version","settings"}.
With --out the lines go to a file, stderr tells how far the run is, and --resume
goes on where an earlier run ended, whatever ended it: with the same model and
settings, and with those that failed once more. One process at a time writes to a
file. In a file name that is not UTF-8 each byte that is to blame is written as
U+FFFD and two hexadecimal digits.`

// check refuses flags that contradict each other.
func (o *batchOptions) check() error {
	switch suffix := strings.ToLower(filepath.Ext(o.out)); {
	case o.batch < 1:
		return api.Usagef("--batch must be 1 or more")
	case o.jobs < 1:
		return api.Usagef("--jobs must be 1 or more")
	case o.out == "-":
		return api.Usagef("--out writes to a file; without it results go to standard output")
	case o.resume && o.out == "":
		return api.Usagef("--resume needs --out FILE")
	case slices.Contains(otherForms, suffix):
		return api.Usagef("--out %s: JSON lines (.jsonl) are written here, not %s", o.out, suffix)
	}
	return nil
}

// split divides the arguments of a verb with a picture and texts: with --list all are texts.
func (o *batchOptions) split(args []string) (pictures, texts []string) {
	if len(o.lists) > 0 {
		return nil, args
	}
	return args[:1], args[1:]
}

// needs checks that there are arguments: n, and the picture unless a list has it.
func (o *batchOptions) needs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		least := n
		if len(o.lists) == 0 {
			least++
		}
		return usageArgs(cobra.MinimumNArgs(least))(cmd, args)
	}
}

// found is the pictures that arguments and lists stand for.
type found struct {
	pictures iter.Seq2[api.Picture, error]
	count    int  // -1 where only the end tells
	single   bool // one picture that is named itself
	skips    *api.Skips
	kind     media.Kind // Sounds or Pages in pictures' place
}

func (o *batchOptions) find(env *environment, args []string) (found, error) {
	return o.findBy(env, args, api.Sources.Pictures)
}

// findSounds is find for sounds.
func (o *batchOptions) findSounds(env *environment, args []string) (found, error) {
	f, err := o.findBy(env, args, api.Sources.Sounds)
	f.kind = media.Sounds
	return f, err
}

// findFor is find for what a model takes: pictures, or sounds where it hears alone.
func (o *batchOptions) findFor(env *environment, p *pipeline.Pipeline, args []string) (found, error) {
	if p.Abilities().HearsAlone() {
		return o.findSounds(env, args)
	}
	return o.find(env, args)
}

func (o *batchOptions) findBy(
	env *environment, args []string,
	find func(api.Sources, ...string) (iter.Seq2[api.Picture, error], int, error),
) (found, error) {
	skips := &api.Skips{Tell: func(path, why string) { env.verbosef("%s: skipped, %s", path, why) }}
	sources := env.sources()
	sources.Lists, sources.Skipped = o.lists, skips
	pictures, count, err := find(sources, args...)
	single := count == 1 && len(args) == 1 && namesPicture(args[0]) && o.out == ""
	return found{pictures: pictures, count: count, single: single, skips: skips, kind: media.Pictures}, err
}

// namesPicture says whether an argument that stands for one picture is that picture's own name, and
// not a folder's or a pattern.
func namesPicture(arg string) bool {
	if info, err := os.Stat(arg); err == nil {
		return !info.IsDir()
	}
	return !strings.ContainsAny(arg, "*?[{")
}

// output is where the results of a run over many pictures go, and what is told of the run.
type output struct {
	env     *environment
	options batchOptions
	found
	origin   *api.Origin  // nil where only text is printed
	results  *api.Results // nil without --out
	progress *progress    // nil without --out
	// quiet leaves the line of an error out where there is one picture.
	quiet  bool
	total  int
	failed int
}

// newOutput says what makes the results.
func (o *batchOptions) newOutput(
	env *environment, f found, p *pipeline.Pipeline, settings api.Settings,
) (*output, error) {
	out := &output{env: env, options: *o, found: f}
	if !env.json && o.out == "" {
		return out, nil
	}
	if env.background != nil {
		settings["background"] = colorFlag{&env.background}.String()
	}
	var err error
	out.origin, err = api.NewOrigin(p, version(), settings)
	return out, err
}

// openResults opens the file of --out for lines that have a key.
func (o *output) openResults(options api.ResultsOptions) error {
	if o.options.out == "" {
		return nil
	}
	options.Resume, options.Origin = o.options.resume, o.origin
	var err error
	o.results, err = api.OpenResults(o.options.out, options)
	if err != nil {
		return resultsError(o.options.out, err)
	}
	o.opened()
	return nil
}

// opened begins to tell of the run.
func (o *output) opened() {
	for _, note := range o.results.Notes() {
		o.env.warnf("%s", note)
	}
	if !o.options.quiet {
		o.progress = newProgress(o.env, o.options.out, o.count)
	}
}

// files is what a run is over, in words.
func (f *found) files() string {
	switch f.kind {
	case media.Sounds:
		return "sounds"
	case media.Pages:
		return "documents"
	}
	return "pictures"
}

// named is the name of a picture or of a sound, as lines have it; the other one is empty.
func (f *found) named(name string) (image, audio api.Name) {
	if f.kind == media.Sounds {
		return "", api.Name(name)
	}
	return api.Name(name), ""
}

// resultsError gives errors about a results file words that name the flags.
func resultsError(path string, err error) error {
	info, none := os.Stat(path)
	switch {
	case none == nil && info.IsDir():
		return api.Usagef("--out %s is a folder; name a file in it", path)
	case errors.Is(err, api.ErrHasResults):
		return api.Usagef("%s has results already; --resume goes on with them", path)
	case errors.Is(err, api.ErrNotRegular):
		return api.Usagef("%s is no regular file; --resume needs one", path)
	case errors.Is(err, api.ErrInUse):
		return api.Usagef("%s is being written by another xpipe", path)
	case errors.Is(err, api.ErrOtherOrigin):
		return api.Usagef("%w; write to another file", err)
	}
	return err
}

// printsLines says whether results are lines of JSON, and not text.
func (o *output) printsLines() bool { return o.results != nil || o.env.json }

// write writes the lines of JSON about a picture to the results file or to stdout.
func (o *output) write(image string, lines ...any) error {
	if o.results != nil {
		return o.results.Add(image, lines...)
	}
	for _, line := range lines {
		if err := o.env.printJSON(line); err != nil {
			return err
		}
	}
	return nil
}

// title is what stands in front of a picture's text: its name, where there are several.
func (o *output) title(image string) string {
	if o.single {
		return ""
	}
	return api.Visible(image) + ": "
}

// skip counts a picture that was done before.
func (o *output) skip() {
	if o.progress != nil {
		o.progress.before()
	}
}

// skipDone leaves out pictures that are done already.
func (o *output) skipDone(image string, _ int) bool {
	done := o.results != nil && o.results.Done(image)
	if done {
		o.skip()
	}
	return done
}

// fail reports a picture that failed. Where there is one, its error is the command's.
func (o *output) fail(image string, failure error) error {
	o.failed++
	switch {
	case o.single && o.quiet:
	case o.printsLines():
		if err := o.write(image, o.failureLine(image, failure)); err != nil {
			return err
		}
	case !o.single && !strings.Contains(failure.Error(), image):
		o.env.report(fmt.Errorf("%s: %w", image, failure))
	case !o.single:
		o.env.report(failure)
	}
	if o.single {
		return failure
	}
	return nil
}

func (o *output) failureLine(name string, failure error) any {
	switch o.kind {
	case media.Sounds:
		line := api.NewSoundFailure(name, failure)
		line.Origin = o.origin
		return line
	case media.Pages:
		line := api.NewPageFailure(name, failure)
		line.Origin = o.origin
		return line
	}
	line := api.NewFailure(name, failure)
	line.Origin = o.origin
	return line
}

// runAll does a task for all pictures; write is given those that did not fail.
func runAll[T any](
	ctx context.Context, o *output, runner api.Runner[T], write func(api.Finished[T]) error,
) error {
	if o.env.alone && !o.single && os.Getenv("GOGC") == "" {
		debug.SetGCPercent(manyPictures)
	}
	runner.Batch, runner.Jobs = o.options.batch, o.options.jobs
	if runner.Skip == nil {
		runner.Skip = o.skipDone
	}
	for finished, err := range runner.Run(ctx, o.pictures) {
		if err != nil {
			return err
		}
		o.total++
		if finished.Err != nil {
			err = o.fail(finished.Name, finished.Err)
		} else {
			err = write(finished)
		}
		if err != nil {
			return err
		}
		if o.progress != nil {
			o.progress.add(finished.Err != nil)
		}
	}
	return nil
}

// end closes the results of a run that ended with err, tells what became of it, and returns the
// command's error. closeResults is nil without --out.
func (o *output) end(err error, closeResults func() error) error {
	remaining := 0
	if o.results != nil {
		err = errors.Join(err, closeResults())
		remaining = o.results.Remaining()
	}
	if o.progress != nil {
		o.progress.end(o.skips, err != nil)
	} else if n := o.skips.Total(); n > 0 {
		o.env.warnf("%d skipped: %v", n, o.skips)
	}
	if n := o.skips.Others(); n > 0 {
		o.env.verbosef("%d other files are no %s by their names", n, o.files())
	}
	if err != nil {
		return err
	}
	var errs []error
	if o.failed > 0 {
		errs = append(errs, fmt.Errorf("%d of %d %s failed", o.failed, o.total, o.files()))
	}
	if remaining > 0 {
		errs = append(errs, fmt.Errorf(
			"%d %s failed in earlier runs and are not among those of this one", remaining, o.files()))
	}
	if n := o.skips.Total(); n > 0 && o.options.strict {
		errs = append(errs, fmt.Errorf("%d were skipped (--strict)", n))
	}
	return errors.Join(errs...)
}

// finish is end for results that are a file of lines.
func (o *output) finish(err error) error {
	if o.results == nil {
		return o.end(err, nil)
	}
	return o.end(err, o.results.Close)
}
