package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/spf13/cobra"
)

type askOptions struct {
	modelOptions
	generationOptions
	questions string
	asked     []string
	choices   []string
	shots     []string
	shotsFile string
	regions   string
}

func newAskCommand(env *environment) *cobra.Command {
	var o askOptions
	cmd := &cobra.Command{
		Use:   "ask IMAGE QUESTION...",
		Short: "Answer questions about a picture",
		Example: `  xpipe ask photo.jpg "what color is the car?"
  xpipe ask photo.jpg "is it day?" --choices yes,no
  xpipe ask cup.jpg "what is this?" --shot bowl.jpg=zudo --shot fork.jpg=wemi`,
		Long: `Prints one line for each question about the picture. "-" reads the picture
from standard input. The answer to a single question is written word by word on
a terminal.

Words behind IMAGE without quotes are one question; arguments of which each has
a space in it or ends with "?" are several, and so is --question repeated.

With --questions FILE the pictures and questions come from a file of JSON
lines {"image":PATH,"question":TEXT}; neighbouring lines about one picture
share its encoding. "-" reads the lines from standard input.

--choices picks among given answers by their probabilities. Models of
Flamingo's kind learn from examples: --shot IMAGE=TEXT, or --shots FILE of JSON
lines {"image","text"} and, where an example has its own, "question"; the model
is then ` + mini.Shots + `, unless --model says otherwise. LXMERT
sees regions instead of pixels. ` + mini.Regions + ` finds things on a plain ground
itself; for a photograph, or a model that cannot, a detector's regions are given
by --regions FILE.npz or FILE.tsv; IMAGE then only names the picture.

With --json each answer is one line {"image","question","answer","tokens",
"logprob","seconds","token_logprobs"}, or {"image","error"}.

` + exitHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.questions != "" && len(args) > 0:
				return usageOf(cmd, "--questions FILE names the pictures, too: leave out %q", args[0])
			case o.questions != "" && len(o.asked) > 0:
				return usageOf(cmd, "--questions and --question exclude each other")
			case o.questions != "":
				return nil
			case len(o.asked) > 0 && len(args) > 1:
				return usageOf(cmd, "with --question %q is an argument too many", args[1])
			case len(o.asked) > 0:
				return usageArgs(cobra.MinimumNArgs(1))(cmd, args)
			}
			return usageArgs(cobra.MinimumNArgs(2))(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(o.choices) > 0 {
				if err := env.checkNothingWritten(cmd, "--choices"); err != nil {
					return err
				}
			}
			switch {
			case cmd.Flags().Changed("model"):
			case len(o.shots) > 0 || o.shotsFile != "":
				o.model = mini.Shots
			case o.regions != "":
				o.model = mini.Regions
			}
			return runAsk(cmd.Context(), env, o, args)
		},
	}
	o.modelOptions.addFlags(cmd, mini.Captions)
	o.generationOptions.addFlags(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&o.asked, "question", nil, "a question about the picture (repeat)")
	f.StringVar(&o.questions, "questions", "",
		"read pictures and questions from a file of JSON lines")
	f.StringSliceVar(&o.choices, "choices", nil, "pick among these answers, such as yes,no")
	f.StringArrayVar(&o.shots, "shot", nil, "an example before the question: IMAGE=TEXT (repeat)")
	f.StringVar(&o.shotsFile, "shots", "", "examples from a file of JSON lines")
	f.StringVar(&o.regions, "regions", "", "region features for LXMERT, .npz or .tsv")
	return cmd
}

func runAsk(ctx context.Context, env *environment, o askOptions, args []string) error {
	groups, err := o.groups(env, args)
	if err != nil {
		return err
	}
	if o.choices, err = choicesOf(o.choices); err != nil {
		return err
	}
	env.hintAlone("choice", len(o.choices), 1)
	a := &asker{env: env, options: o, several: len(groups) > 1}
	if a.shots, err = o.loadShots(env); err != nil {
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
	failed := 0
	for _, group := range groups {
		err := a.answer(ctx, group)
		if err == nil {
			continue
		}
		if env.json && ctx.Err() == nil {
			env.printJSON(api.NewFailure(string(group[0].Image), err))
		}
		if !a.several || ctx.Err() != nil {
			return err
		}
		if !env.json {
			env.report(err)
		}
		failed++
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d pictures failed", failed, len(groups))
	}
	return nil
}

// groups are the questions to answer, neighbours about one picture together.
func (o *askOptions) groups(env *environment, args []string) ([][]api.Question, error) {
	if o.questions == "" {
		questions := o.asked
		if len(questions) == 0 {
			if err := checkTexts("ask", "question", args[1:]); err != nil {
				return nil, err
			}
			questions = env.questionsOf(args[1:])
		}
		group := make([]api.Question, len(questions))
		for i, q := range questions {
			if strings.TrimSpace(q) == "" {
				return nil, fmt.Errorf("%w: the question is empty", pipeline.ErrPrompt)
			}
			group[i] = api.Question{Image: api.Name(args[0]), Question: q}
		}
		return [][]api.Question{group}, nil
	}
	var groups [][]api.Question
	err := eachLine(env, o.questions, func(q api.Question) error {
		if q.Image == "" || strings.TrimSpace(q.Question) == "" {
			return fmt.Errorf(`it needs "image" and "question"`)
		}
		if last := len(groups) - 1; last >= 0 && groups[last][0].Image == q.Image {
			groups[last] = append(groups[last], q)
		} else {
			groups = append(groups, []api.Question{q})
		}
		return nil
	})
	if err == nil && len(groups) == 0 {
		err = api.Inputf("%s: no questions in it", o.questions)
	}
	return groups, err
}

// loadShots decodes the examples of --shot and --shots.
func (o *askOptions) loadShots(env *environment) ([]pipeline.Shot, error) {
	var shots []pipeline.Shot
	add := func(e api.Example) error {
		img, err := env.loadPicture(string(e.Image))
		if err == nil {
			shots = append(shots, pipeline.Shot{Image: img, Question: e.Question, Text: e.Text})
		}
		return err
	}
	for _, arg := range o.shots {
		example, err := shotOf(arg)
		if err == nil {
			err = add(example)
		}
		if err != nil {
			return nil, err
		}
	}
	if o.shotsFile == "" {
		return shots, nil
	}
	err := eachLine(env, o.shotsFile, add)
	return shots, err
}

// asker is one run of ask.
type asker struct {
	env      *environment
	options  askOptions
	pipeline *pipeline.Pipeline
	shots    []pipeline.Shot
	regions  *api.Regions
	several  bool // pictures, so that answers are named
}

// requests are the questions of a group with what they are about.
func (a *asker) requests(group []api.Question) ([]pipeline.Request, error) {
	about := pipeline.Request{Shots: a.shots}
	var err error
	if a.regions != nil {
		about.Regions, err = a.regions.Of(string(group[0].Image))
	} else {
		about.Image, err = a.env.loadPicture(string(group[0].Image))
	}
	if err != nil {
		return nil, err
	}
	requests := make([]pipeline.Request, len(group))
	for i, q := range group {
		requests[i] = about
		requests[i].Question = q.Question
	}
	return requests, nil
}

// answer answers the questions about one picture.
func (a *asker) answer(ctx context.Context, group []api.Question) error {
	start := time.Now()
	requests, err := a.requests(group)
	if err != nil {
		return err
	}
	if len(a.options.choices) > 0 {
		return a.choose(ctx, group, requests, start)
	}
	options := a.options.generation()
	stream := len(group) == 1 && !a.several && a.regions == nil
	if stream && !a.env.json && isTerminal(a.env.stdout) {
		return a.env.printStream(a.pipeline.Stream(ctx, requests[0], options...))
	}
	answers, err := a.pipeline.Generate(ctx, requests, options...)
	if err != nil {
		return err
	}
	seconds := time.Since(start).Seconds() / float64(len(group))
	a.env.verboseStats(string(group[0].Image), answers[0][0])
	for i, texts := range answers {
		if err := a.print(api.NewAnswer(group[i], texts, seconds)); err != nil {
			return err
		}
	}
	return nil
}

// choose picks among the answers of --choices for each question.
func (a *asker) choose(
	ctx context.Context, group []api.Question, requests []pipeline.Request, start time.Time,
) error {
	i := 0
	for scored, err := range api.ChooseEach(ctx, a.pipeline, requests, a.options.choices) {
		if err != nil {
			return err
		}
		line := api.NewChosen(group[i], scored, time.Since(start).Seconds())
		if err := a.print(line); err != nil {
			return err
		}
		start = time.Now()
		i++
	}
	return nil
}

// print writes one answer, others below it, or the choices with their probabilities.
func (a *asker) print(line api.Answer) error {
	if a.env.json {
		return a.env.printJSON(line)
	}
	name := ""
	if a.several {
		name = api.Visible(string(line.Image)) + ": "
	}
	if _, err := fmt.Fprintf(a.env.stdout, "%s%s\n", name, line.Answer); err != nil {
		return err
	}
	for _, other := range line.Others {
		if _, err := fmt.Fprintf(a.env.stdout, "%s%s\n", name, other); err != nil {
			return err
		}
	}
	for _, c := range line.Choices {
		_, err := fmt.Fprintf(a.env.stdout, "  %.4f\t%s\n", c.Probability, c.Choice)
		if err != nil {
			return err
		}
	}
	return nil
}
