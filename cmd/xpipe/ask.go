package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/spf13/cobra"
)

type askOptions struct {
	modelOptions
	generationOptions
	questions string
}

// question is one line of ask --questions.
type question struct {
	Image    string `json:"image"`
	Question string `json:"question"`
}

// answerLine is one line of ask --json.
type answerLine struct {
	question
	Answer  string      `json:"answer"`
	Tokens  int         `json:"tokens"`
	LogProb float64     `json:"logprob"`
	Seconds float64     `json:"seconds"`
	Each    []tokenLine `json:"token_logprobs"`
}

func newAskCommand(env *environment) *cobra.Command {
	var o askOptions
	cmd := &cobra.Command{
		Use:   "ask IMAGE QUESTION...",
		Short: "Answer questions about a picture",
		Long: `Prints one line for each question about the picture. "-" reads the picture
from standard input.

With --questions FILE the pictures and questions come from a file of JSON
lines {"image":PATH,"question":TEXT}; neighbouring lines about one picture
share its encoding. "-" reads the lines from standard input.

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
			return runAsk(cmd.Context(), env, o, args)
		},
	}
	o.modelOptions.addFlags(cmd)
	o.generationOptions.addFlags(cmd)
	cmd.Flags().StringVar(&o.questions, "questions", "", "read pictures and questions from a file of JSON lines")
	return cmd
}

func runAsk(ctx context.Context, env *environment, o askOptions, args []string) error {
	groups, err := o.groups(env, args)
	if err != nil {
		return err
	}
	p, err := o.open(ctx, env)
	if err != nil {
		return err
	}
	defer p.Close()
	failed := 0
	for _, group := range groups {
		err := o.answer(ctx, env, p, group, len(groups) > 1)
		if err == nil {
			continue
		}
		if env.json && ctx.Err() == nil {
			env.printJSON(failedLine{group[0].Image, oneLine(err)})
		}
		if len(groups) == 1 || ctx.Err() != nil {
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
			group[i] = question{args[0], q}
		}
		return [][]question{group}, nil
	}
	in := env.stdin
	if o.questions != "-" {
		f, err := os.Open(o.questions)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	var groups [][]question
	lines := json.NewDecoder(bufio.NewReader(in))
	for n := 1; ; n++ {
		var q question
		err := lines.Decode(&q)
		if err == io.EOF {
			break
		}
		if err == nil && (q.Image == "" || q.Question == "") {
			err = fmt.Errorf(`it needs "image" and "question"`)
		}
		if err != nil {
			return nil, inputError{fmt.Errorf("%s: line %d: %w", o.questions, n, err)}
		}
		if last := len(groups) - 1; last >= 0 && groups[last][0].Image == q.Image {
			groups[last] = append(groups[last], q)
		} else {
			groups = append(groups, []question{q})
		}
	}
	if len(groups) == 0 {
		return nil, inputError{fmt.Errorf("%s: no questions in it", o.questions)}
	}
	return groups, nil
}

// answer answers the questions about one picture.
func (o *askOptions) answer(ctx context.Context, env *environment, p *pipeline.Pipeline, group []question, named bool) error {
	start := time.Now()
	img, err := env.loadPicture(group[0].Image)
	if err != nil {
		return err
	}
	if len(group) == 1 && !named && !env.json && isTerminal(env.stdout) {
		return env.printStream(p.Stream(ctx, pipeline.Request{Image: img, Question: group[0].Question}, o.generation()...))
	}
	requests := make([]pipeline.Request, len(group))
	for i, q := range group {
		requests[i] = pipeline.Request{Image: img, Question: q.Question}
	}
	answers, err := p.AnswerBatch(ctx, requests, o.generation()...)
	if err != nil {
		return err
	}
	seconds := time.Since(start).Seconds() / float64(len(group))
	env.verboseStats(group[0].Image, answers[0])
	for i, a := range answers {
		switch {
		case env.json:
			err = env.printJSON(answerLine{group[i], a.Text, len(a.Tokens), a.LogProb, seconds, tokenLines(a)})
		case named:
			_, err = fmt.Fprintf(env.stdout, "%s: %s\n", group[i].Image, a.Text)
		default:
			_, err = fmt.Fprintln(env.stdout, a.Text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
