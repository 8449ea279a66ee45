package main

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/spf13/cobra"
)

type askOptions struct {
	modelOptions
	generationOptions
	batchOptions
	overlay   overlayOption
	sound     soundOption
	document  documentOptions
	named     bool // --model was given
	questions string
	asked     []string
	choices   []string
	shots     []string
	shotsFile string
	regions   string
	raw       string
}

func newAskCommand(env *environment) *cobra.Command {
	var o askOptions
	cmd := &cobra.Command{
		Use:   "ask IMAGE|DOCUMENT|DIR|GLOB|SHARD.tar|- QUESTION...",
		Short: "Answer questions about pictures and documents",
		Example: `  xpipe ask photo.jpg "what color is the car?"
  xpipe ask invoice.pdf "when is the payment due?"
  xpipe ask cup.jpg "what is this?" --shot bowl.jpg=zudo --shot fork.jpg=wemi`,
		Long: `Prints one line for each question about the picture. "-" reads the picture
from standard input. The answer to a single question is written word by word on
a terminal.

The first argument may stand for several pictures, a pattern in quotation marks;
with --list FILE all arguments are questions. Words without quotes are one
question; arguments of which each has a space in it or ends with "?" are several.
With --question QUESTION, which may be repeated, all arguments are pictures.

` + picturesHelp + `

With --questions FILE the pictures and questions come from a file of JSON
lines {"image":PATH,"question":TEXT}; neighbouring lines about one picture
share its encoding. "-" reads the lines from standard input.

--choices picks among given answers by their probabilities. Models of
Flamingo's kind learn from examples: --shot IMAGE=TEXT, or --shots FILE of JSON
lines {"image","text"} and, where an example has its own, "question"; the model
is then ` + mini.Flamingo + `, unless --model says otherwise. LXMERT
sees regions instead of pixels. ` + mini.LXMERT + ` finds things on a plain ground
itself; for a photograph, or a model that cannot, a detector's regions are given
by --regions FILE.npz or FILE.tsv; IMAGE then only names the picture.

` + askDocumentHelp + `

--audio FILE is a sound that the model hears beside each picture, or without one, for
models that see and hear, such as Gemma 3n: xpipe ask --audio talk.wav "what is
said?" --model DIR.

Answers of Florence-2 name places in the picture, which --json has as "places" and
--overlay FILE.png draws.

--raw-prompt TEXT takes the question's place and is given to the model as it
stands: without its chat template, with the markup that it reads. It may stand
alone, without IMAGE, and so may --question, for models that read texts without a
picture. A language model, which takes none, gets questions alone: xpipe ask
"QUESTION" --model DIR; xpipe chat holds a conversation with it.

With --json each answer is one line {"image","question","answer","tokens",
"logprob","seconds","token_logprobs","ids"}, or {"image","error"}; about a document
it also has "document","page","box","quad","line","from","confidence","unsure" and
"passages", with places in units of the page's width and height, and one that failed is
{"document","error"}.

` + resultsHelp + `

` + exitHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			if o.raw != "" {
				if o.questions != "" || len(o.asked) > 0 || len(o.choices) > 0 {
					return usageOf(cmd, "--raw-prompt takes the place of questions, and knows no --choices")
				}
				o.asked = []string{o.raw}
			}
			switch {
			case o.unseen(args):
				if len(o.asked) > 0 {
					return nil
				}
				return usageArgs(cobra.MinimumNArgs(1))(cmd, args)
			case o.questions == "" && len(o.asked) > 0:
				return o.needs(0)(cmd, args)
			case o.questions == "":
				return o.needs(1)(cmd, args)
			case len(o.lists) > 0:
				return usageOf(cmd, "--questions names the pictures; leave --list out")
			case len(o.asked) > 0:
				return usageOf(cmd, "--questions and --question exclude each other")
			case len(args) > 0:
				return usageOf(cmd, "--questions FILE names the pictures, too: leave out %q", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(o.choices) > 0 {
				if err := env.checkNothingWritten(cmd, "--choices"); err != nil {
					return err
				}
			}
			o.named = cmd.Flags().Changed("model")
			switch {
			case o.named:
			case len(o.shots) > 0 || o.shotsFile != "":
				o.model = mini.Flamingo
			case o.regions != "":
				o.model = mini.LXMERT
			}
			return runAsk(cmd.Context(), env, o, args)
		},
	}
	o.modelOptions.addFlags(cmd, mini.BLIP2)
	o.generationOptions.addFlags(cmd)
	o.batchOptions.addFlags(cmd, "JSON lines")
	f := cmd.Flags()
	f.StringArrayVar(&o.asked, "question", nil, "a question about the pictures (repeat)")
	f.StringVar(&o.raw, "raw-prompt", "", "the prompt as the model reads it, in a question's place")
	f.StringVar(&o.questions, "questions", "",
		"read pictures and questions from a file of JSON lines")
	f.StringSliceVar(&o.choices, "choices", nil, "pick among these answers, such as yes,no")
	f.StringArrayVar(&o.shots, "shot", nil, "an example before the question: IMAGE=TEXT (repeat)")
	f.StringVar(&o.shotsFile, "shots", "", "examples from a file of JSON lines")
	f.StringVar(&o.regions, "regions", "", "region features for LXMERT, .npz or .tsv")
	o.overlay.addFlag(cmd)
	o.sound.addFlag(cmd)
	o.document.addFlags(cmd)
	return cmd
}

func runAsk(ctx context.Context, env *environment, o askOptions, args []string) error {
	if err := o.check(); err != nil {
		return err
	}
	var err error
	if o.choices, err = choicesOf(o.choices); err != nil {
		return err
	}
	env.hintAlone("choice", len(o.choices), 1)
	files, words := args, []string(nil)
	if len(o.asked) == 0 && o.questions == "" && len(args) > 0 {
		files, words = o.split(args)
	}
	if o.questions == "" && o.document.asksDocuments(ctx, files) {
		questions, err := o.asks(env, words)
		if err != nil {
			return err
		}
		return o.runDocuments(ctx, env, files, questions)
	}
	if o.unseen(args) {
		return o.runUnseen(ctx, env, args)
	}
	a := &asker{options: o}
	found, err := a.find(env, args)
	if err != nil {
		return err
	}
	if o.overlay.path != "" && (len(a.all) != 1 || len(o.choices) > 0 || o.regions != "") {
		return api.Usagef("--overlay takes one question, and neither --choices nor --regions")
	}
	if err := o.overlay.check(found); err != nil {
		return err
	}
	if err := a.loadShots(env); err != nil {
		return err
	}
	if o.regions != "" {
		if a.regions, err = api.LoadRegions(o.regions); err != nil {
			return err
		}
	}
	if a.pipeline, err = o.open(ctx, env); err != nil {
		return err
	}
	defer a.pipeline.Close()
	if err := o.overlay.checkModel(a.pipeline); err != nil {
		return err
	}
	if a.sound, err = o.sound.load(ctx, a.pipeline); err != nil {
		return err
	}
	if found.single && len(a.all) == 1 && len(o.choices) == 0 && a.regions == nil &&
		o.overlay.path == "" && !env.json && isTerminal(env.stdout) {
		return a.stream(ctx, env, found.pictures)
	}
	settings, err := a.settings()
	if err != nil {
		return err
	}
	if a.output, err = o.newOutput(env, found, a.pipeline, settings); err != nil {
		return err
	}
	err = a.openResults(api.ResultsOptions{
		Key: "answer", Lines: len(a.all), PerQuestion: o.questions != "",
	})
	if err != nil {
		return err
	}
	if err := a.encodeShots(ctx); err != nil {
		return a.finish(err)
	}
	return a.finish(runAll(ctx, a.output, api.Runner[[]api.Answer]{
		Load: a.load, Task: a.answer, Skip: a.skip,
		Repeats: o.questions != "", SameTexts: o.questions == "",
	}, a.write))
}

// asker is one run of ask.
type asker struct {
	*output
	options  askOptions
	all      []string         // questions, about each picture
	groups   [][]api.Question // those of --questions, neighbours about one picture together
	pipeline *pipeline.Pipeline
	sound    media.Item // encoded; nil without one
	shots    []pipeline.Shot
	shown    []string // shots in words
	regions  *api.Regions
}

// find finds the questions, and the pictures that they are about.
func (a *asker) find(env *environment, args []string) (found, error) {
	if a.options.questions == "" {
		pictures, words := args, []string(nil)
		if len(a.options.asked) == 0 {
			pictures, words = a.options.split(args)
		}
		var err error
		if a.all, err = a.options.asks(env, words); err != nil {
			return found{}, err
		}
		return a.options.find(env, pictures)
	}
	var names []string
	err := eachLine(env, a.options.questions, func(q api.Question) error {
		if q.Image == "" || strings.TrimSpace(q.Question) == "" {
			return fmt.Errorf(`it needs "image" and "question"`)
		}
		if last := len(a.groups) - 1; last >= 0 && a.groups[last][0].Image == q.Image {
			a.groups[last] = append(a.groups[last], q)
		} else {
			a.groups = append(a.groups, []api.Question{q})
			names = append(names, string(q.Image))
		}
		return nil
	})
	if err == nil && len(a.groups) == 0 {
		err = api.Inputf("%s: no questions in it", a.options.questions)
	}
	pictures := func(yield func(api.Picture, error) bool) {
		for p := range env.sources().Files(names...) {
			if !yield(p, nil) {
				return
			}
		}
	}
	single := len(a.groups) == 1 && a.options.out == ""
	return found{pictures: pictures, count: len(names), single: single}, err
}

// asks lists the questions: those of --question, or else of the arguments.
func (o *askOptions) asks(env *environment, words []string) ([]string, error) {
	questions := o.asked
	if len(questions) == 0 {
		if err := checkTexts("ask", "question", words); err != nil {
			return nil, err
		}
		questions = env.questionsOf(words)
	}
	for _, q := range questions {
		if strings.TrimSpace(q) == "" {
			return nil, fmt.Errorf("%w: the question is empty", pipeline.ErrPrompt)
		}
	}
	return questions, nil
}

// settings are what changes the answers.
func (a *asker) settings() (api.Settings, error) {
	settings := a.options.modelOptions.settings()
	if len(a.all) == 1 {
		settings["question"] = a.all[0]
	} else {
		settings.SetList("questions", a.all)
	}
	if a.options.raw != "" {
		settings["raw_prompt"] = a.options.raw
	}
	a.options.sound.set(settings)
	settings.SetList("choices", a.options.choices)
	settings.SetList("shots", a.shown)
	if a.options.regions != "" {
		settings["regions"] = a.options.regions
	}
	return settings, settings.SetGeneration(a.pipeline, a.options.generation())
}

// skip leaves out the questions that are answered already.
func (a *asker) skip(image string, index int) bool {
	if a.groups == nil || a.results == nil {
		return a.skipDone(image, index)
	}
	a.groups[index] = slices.DeleteFunc(a.groups[index], func(q api.Question) bool {
		return a.results.DoneQuestion(image, q.Question)
	})
	if len(a.groups[index]) > 0 {
		return false
	}
	a.output.skip()
	return true
}

// loadShots decodes the examples of --shot and --shots.
func (a *asker) loadShots(env *environment) error {
	add := func(e api.Example) error {
		img, err := env.loadPicture(string(e.Image))
		if err == nil {
			shot := pipeline.Shot{Image: img, Question: e.Question, Text: e.Text}
			a.shots = append(a.shots, shot)
			a.shown = append(a.shown, fmt.Sprintf("%s=%s", e.Image, e.Text))
			if e.Question != "" {
				a.shown[len(a.shown)-1] += " (" + e.Question + ")"
			}
		}
		return err
	}
	for _, arg := range a.options.shots {
		example, err := shotOf(arg)
		if err == nil {
			err = add(example)
		}
		if err != nil {
			return err
		}
	}
	if a.options.shotsFile == "" {
		return nil
	}
	return eachLine(env, a.options.shotsFile, add)
}

// encodeShots encodes the pictures of the examples once for all pictures of a run.
func (a *asker) encodeShots(ctx context.Context) error {
	if len(a.shots) == 0 || !a.pipeline.Abilities().Examples {
		return nil
	}
	items := make([]media.Item, len(a.shots))
	for i, shot := range a.shots {
		items[i] = media.Picture{Image: shot.Image}
	}
	encoded, err := a.pipeline.Encode(ctx, items...)
	if err != nil {
		return err
	}
	for i, e := range encoded {
		a.shots[i].Item, a.shots[i].Image = e, nil
	}
	return nil
}

// load prepares a picture, or finds its regions in the file of --regions.
func (a *asker) load(ctx context.Context, p api.Picture) (media.Item, error) {
	if a.regions == nil {
		return a.options.overlay.load(a.pipeline)(ctx, p)
	}
	return a.regions.Of(p.Name)
}

// questions are those about a picture.
func (a *asker) questions(l api.Loaded) []api.Question {
	if a.groups != nil {
		return a.groups[l.Index]
	}
	questions := make([]api.Question, len(a.all))
	for i, q := range a.all {
		questions[i] = api.Question{Image: api.Name(l.Name), Question: q}
	}
	return questions
}

// requests are the questions about a picture, with what they are about.
func (a *asker) requests(l api.Loaded) (requests []pipeline.Request) {
	about := pipeline.Request{Shots: a.shots, Sound: a.sound}
	if regions, ok := l.Item.(*pipeline.Regions); ok {
		about.Regions = regions
	} else {
		about.Item = l.Item
	}
	for _, q := range a.questions(l) {
		about.Question, about.Prompt = q.Question, a.options.raw
		requests = append(requests, about)
	}
	return requests
}

// answer answers the questions about each picture of a batch.
func (a *asker) answer(ctx context.Context, batch []api.Loaded) ([][]api.Answer, error) {
	answers := make([][]api.Answer, len(batch))
	if len(a.options.choices) > 0 {
		for i, l := range batch {
			questions := a.questions(l)
			each := api.ChooseEach(ctx, a.pipeline, a.requests(l), a.options.choices)
			for scored, err := range each {
				if err != nil {
					return nil, err
				}
				answers[i] = append(answers[i], api.NewChosen(questions[len(answers[i])], scored, 0))
			}
		}
		return answers, nil
	}
	var requests []pipeline.Request
	for _, l := range batch {
		requests = append(requests, a.requests(l)...)
	}
	texts, err := a.pipeline.Generate(ctx, requests, a.options.generation()...)
	if err != nil {
		return nil, err
	}
	for i, l := range batch {
		a.env.verboseStats(l.Name, texts[0][0])
		for _, q := range a.questions(l) {
			answer := api.NewAnswer(q, texts[0], 0)
			answer.Places, err = placesOf(a.pipeline, requests[0], answer.Answer)
			if err != nil {
				return nil, err
			}
			answers[i] = append(answers[i], answer)
			texts, requests = texts[1:], requests[1:]
		}
	}
	return answers, nil
}

// stream writes the answer to a single question as it comes.
func (a *asker) stream(
	ctx context.Context, env *environment, pictures iter.Seq2[api.Picture, error],
) error {
	for p, err := range pictures {
		if err != nil {
			return err
		}
		item, err := a.load(ctx, p)
		if err != nil {
			return err
		}
		request := a.requests(api.Loaded{Picture: p, Item: item})[0]
		return env.printStream(a.pipeline.Stream(ctx, request, a.options.generation()...))
	}
	return nil
}

// write writes the answers about one picture.
func (a *asker) write(f api.Finished[[]api.Answer]) error {
	var all []any
	for _, line := range f.Value {
		line.Seconds = f.Seconds / float64(len(f.Value))
		if a.printsLines() {
			line.Origin = a.origin
			all = append(all, line)
		} else if err := a.print(line); err != nil {
			return err
		}
	}
	if err := a.output.write(f.Name, all...); err != nil || len(f.Value) == 0 {
		return err
	}
	return a.options.overlay.write(a.env, a.pipeline, f.Name, f.Value[0].Places)
}

// print writes one answer, others below it, or the choices with their probabilities.
func (a *asker) print(line api.Answer) error {
	name := a.title(string(line.Image))
	if _, err := fmt.Fprintf(a.env.stdout, "%s%s\n", name, api.Printable(line.Answer)); err != nil {
		return err
	}
	for _, other := range line.Others {
		if _, err := fmt.Fprintf(a.env.stdout, "%s%s\n", name, api.Printable(other)); err != nil {
			return err
		}
	}
	for _, c := range line.Choices {
		_, err := fmt.Fprintf(a.env.stdout, "  %.4f\t%s\n", c.Probability, c.Text)
		if err != nil {
			return err
		}
	}
	return nil
}
