package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/spf13/cobra"
)

type askOptions struct {
	modelOptions
	generationOptions
	questions string
	choices   []string
	shots     []string
	shotsFile string
	regions   string
}

// question is one line of ask --questions.
type question struct {
	Image    string `json:"image"`
	Question string `json:"question"`
}

// answerLine is one line of ask --json.
type answerLine struct {
	question
	Answer  string       `json:"answer"`
	Others  []string     `json:"others,omitempty"` // with --num-return-sequences
	Tokens  int          `json:"tokens"`
	LogProb float64      `json:"logprob"`
	Seconds float64      `json:"seconds"`
	Each    []tokenLine  `json:"token_logprobs"`
	Choices []choiceLine `json:"choices,omitempty"` // with --choices
}

// choiceLine is one of the answers of --choices.
type choiceLine struct {
	Choice      string  `json:"choice"`
	LogProb     float64 `json:"logprob"`
	Probability float64 `json:"probability"`
	Calibrated  float64 `json:"calibrated"`
}

// shotLine is one line of ask --shots.
type shotLine struct {
	Image    string `json:"image"`
	Question string `json:"question"`
	Text     string `json:"text"`
}

func newAskCommand(env *environment) *cobra.Command {
	var o askOptions
	cmd := &cobra.Command{
		Use:   "ask IMAGE QUESTION...",
		Short: "Answer questions about a picture",
		Long: `Prints one line for each question about the picture. "-" reads the picture
from standard input. The answer to a single question is written word by word on
a terminal.

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
			if o.questions != "" {
				return usageArgs(cobra.NoArgs)(cmd, args)
			}
			return usageArgs(cobra.MinimumNArgs(2))(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
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
	f.StringVar(&o.questions, "questions", "", "read pictures and questions from a file of JSON lines")
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
	a := &asker{env: env, options: o, several: len(groups) > 1}
	if a.shots, err = o.loadShots(env); err != nil {
		return err
	}
	if o.regions != "" {
		if a.regions, err = pipeline.LoadRegions(o.regions); err != nil {
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
			env.printJSON(failedLine{group[0].Image, oneLine(err)})
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
func (o *askOptions) groups(env *environment, args []string) ([][]question, error) {
	if o.questions == "" {
		group := make([]question, len(args)-1)
		for i, q := range args[1:] {
			if strings.TrimSpace(q) == "" {
				return nil, fmt.Errorf("%w: the question is empty", pipeline.ErrPrompt)
			}
			group[i] = question{args[0], q}
		}
		return [][]question{group}, nil
	}
	var groups [][]question
	err := eachLine(env, o.questions, func(q question) error {
		if q.Image == "" || strings.TrimSpace(q.Question) == "" {
			return fmt.Errorf(`it needs "image" and "question"`)
		}
		if last := len(groups) - 1; last >= 0 && groups[last][0].Image == q.Image {
			groups[last] = append(groups[last], q)
		} else {
			groups = append(groups, []question{q})
		}
		return nil
	})
	if err == nil && len(groups) == 0 {
		err = inputError{fmt.Errorf("%s: no questions in it", o.questions)}
	}
	return groups, err
}

// loadShots decodes the examples of --shot and --shots.
func (o *askOptions) loadShots(env *environment) ([]pipeline.Shot, error) {
	var shots []pipeline.Shot
	add := func(line shotLine) error {
		img, err := env.loadPicture(line.Image)
		if err == nil {
			shots = append(shots, pipeline.Shot{Image: img, Question: line.Question, Text: line.Text})
		}
		return err
	}
	for _, arg := range o.shots {
		image, text, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, usagef("--shot %q is not IMAGE=TEXT", arg)
		}
		if err := add(shotLine{Image: image, Text: text}); err != nil {
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
	regions  map[string]*pipeline.Regions
	several  bool // pictures, so that answers are named
}

// requests are the questions of a group with what they are about.
func (a *asker) requests(group []question) ([]pipeline.Request, error) {
	about := pipeline.Request{Shots: a.shots}
	if a.regions != nil {
		r, err := a.regionsOf(group[0].Image)
		if err != nil {
			return nil, err
		}
		about.Regions = r
	} else {
		img, err := a.env.loadPicture(group[0].Image)
		if err != nil {
			return nil, err
		}
		about.Image = img
	}
	requests := make([]pipeline.Request, len(group))
	for i, q := range group {
		requests[i] = about
		requests[i].Question = q.Question
	}
	return requests, nil
}

// regionsOf finds a picture's regions by its file name with or without ending;
// a file of regions of one picture needs no name.
func (a *asker) regionsOf(image string) (*pipeline.Regions, error) {
	base := filepath.Base(image)
	for _, name := range []string{image, base, strings.TrimSuffix(base, filepath.Ext(base))} {
		if r := a.regions[name]; r != nil {
			return r, nil
		}
	}
	if len(a.regions) == 1 {
		for _, r := range a.regions {
			return r, nil
		}
	}
	return nil, fmt.Errorf("%w: %s has no picture %q among its %d", pipeline.ErrRegions, a.options.regions, image, len(a.regions))
}

// answer answers the questions about one picture.
func (a *asker) answer(ctx context.Context, group []question) error {
	start := time.Now()
	requests, err := a.requests(group)
	if err != nil {
		return err
	}
	if len(a.options.choices) > 0 {
		return a.choose(ctx, group, requests, start)
	}
	if len(group) == 1 && !a.several && !a.env.json && isTerminal(a.env.stdout) && a.regions == nil {
		return a.env.printStream(a.pipeline.Stream(ctx, requests[0], a.options.generation()...))
	}
	answers, err := a.pipeline.Generate(ctx, requests, a.options.generation()...)
	if err != nil {
		return err
	}
	seconds := time.Since(start).Seconds() / float64(len(group))
	a.env.verboseStats(group[0].Image, answers[0][0])
	for i, texts := range answers {
		line := answerLine{
			question: group[i], Answer: texts[0].Text, Tokens: len(texts[0].Tokens), LogProb: texts[0].LogProb,
			Seconds: seconds, Each: tokenLines(texts[0]),
		}
		for _, t := range texts[1:] {
			line.Others = append(line.Others, t.Text)
		}
		if err := a.print(line); err != nil {
			return err
		}
	}
	return nil
}

// choose picks among the answers of --choices for each question.
func (a *asker) choose(ctx context.Context, group []question, requests []pipeline.Request, start time.Time) error {
	for i, r := range requests {
		scored, err := a.pipeline.Choose(ctx, r, a.options.choices...)
		if err != nil {
			return err
		}
		line := answerLine{question: group[i], Each: []tokenLine{}, Seconds: time.Since(start).Seconds()}
		best := scored[0]
		for _, c := range scored {
			line.Choices = append(line.Choices, choiceLine{c.Text, c.LogProb, c.Probability, c.Calibrated})
			if c.Probability > best.Probability {
				best = c
			}
		}
		line.Answer, line.LogProb = best.Text, best.LogProb
		if err := a.print(line); err != nil {
			return err
		}
		start = time.Now()
	}
	return nil
}

// print writes one answer, others below it, or the choices with their
// probabilities.
func (a *asker) print(line answerLine) error {
	if a.env.json {
		return a.env.printJSON(line)
	}
	name := ""
	if a.several {
		name = line.Image + ": "
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
		if _, err := fmt.Fprintf(a.env.stdout, "  %.4f\t%s\n", c.Probability, c.Choice); err != nil {
			return err
		}
	}
	return nil
}

// eachLine decodes the JSON lines of a file, "-" being standard input, and
// gives them to take in order. Errors name the file and the line.
func eachLine[T any](env *environment, path string, take func(T) error) error {
	in := env.stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	lines := json.NewDecoder(bufio.NewReader(in))
	for n := 1; ; n++ {
		var v T
		err := lines.Decode(&v)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = take(v)
		}
		if err != nil {
			return inputError{fmt.Errorf("%s: line %d: %w", path, n, err)}
		}
	}
}
