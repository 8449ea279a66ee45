package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/spf13/cobra"
)

type attendOptions struct {
	modelOptions
	generationOptions
	out     string
	text    string
	regions string
	picks   []string
	rollout bool

	document documentOptions
	named    bool // --model was given
}

func newAttendCommand(env *environment) *cobra.Command {
	var o attendOptions
	cmd := &cobra.Command{
		Use:   "attend IMAGE|AUDIO|DOCUMENT [QUESTION...]",
		Short: "Show where the model looked, or listened, for each word",
		Example: `  xpipe attend photo.jpg -o where.html
  xpipe attend photo.jpg "what color is the car?" -o where.png
  xpipe attend invoice.pdf "what is the total?" -o where.html`,
		Long: `Captions the picture, or answers the question, and shows for each word which
part of the picture the model attended to.

  -o FILE.png    the words in a row, a heat map over the picture for each
  -o FILE.html   one page without dependencies: point at a word to see its map,
                 choose layers and heads
  -o FILE.json   {"tokens":[{"text","share","map":[[...]]},...]}: each map sums to
                 1; share is how much of the attention fell on the picture at all
  -o FILE.npz    the maps, and the probabilities of every layer and head

Of a document, as xpipe ask knows them (PDF, TIFF of several pages, pictures with --read
or --page), the box of the line that answers is drawn on its page, or with --model where
the model looked on the picture of the page.

A sound becomes a page alone, -o FILE.html: its spectrogram with each word over the
sound it came from, which the word plays.

Without -o a terminal shows small pictures; elsewhere a line for each word says
its share and the brightest cell, row and column from the top left.

Maps are means over layers and heads unless --pick chooses: for each stage on
the way to the picture LAYER/HEAD, counted from 1, 0 for the mean over all, or
"rollout", which includes residual connections. For BLIP-2 the stages are the
language model's and the Q-Former's: --pick 0 --pick 2/1 is head 1 of the
Q-Former's second cross-attention. A third stage, as blip2-mini has it, says from
which cells the encoder's tokens come, and leaves nothing to choose.

A model of CLIP's kind writes nothing. Where its image encoder is convolutional,
as clip-mini's, QUESTION is a text, and the map (class activation) says where the
picture fits it.

The Go engine, the default here, shows the attention of any graph whose form it
knows. With ONNX Runtime (--engine ort) graphs that were not exported with
--attention-maps run a second time on the Go engine. Attention shows what was
read, not why: make eval-attention measures how far it can be trusted.

` + exitHelp,
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("text") {
				if strings.TrimSpace(o.text) == "" {
					return usageOf(cmd, "--text is empty")
				}
				if err := env.checkNothingWritten(cmd, "--text"); err != nil {
					return err
				}
			}
			o.named = cmd.Flags().Changed("model")
			if !cmd.Flags().Changed("engine") {
				o.name = api.TappingEngine()
			}
			if api.IsSound(args[0]) && !cmd.Flags().Changed("model") {
				o.model = hearingModel
			}
			if o.regions != "" && !cmd.Flags().Changed("model") {
				o.model = mini.LXMERT
			}
			return runAttend(cmd.Context(), env, o, args)
		},
	}
	o.modelOptions.addFlags(cmd, mini.BLIP2)
	o.generationOptions.addFlags(cmd)
	o.document.addFlags(cmd)
	f := cmd.Flags()
	f.VarP((*pathFlag)(&o.out), "out", "o", "file to write: .png, .html, .json or .npz")
	f.StringVar(&o.text, "text", "", "make the model write this text instead of its own")
	f.StringVar(&o.regions, "regions", "",
		"regions for LXMERT: .npz or .tsv; IMAGE names the picture, and is drawn on if it is a file")
	f.StringArrayVar(&o.picks, "pick", nil,
		"LAYER/HEAD or rollout for one stage (repeat for the next)")
	f.BoolVar(&o.rollout, "rollout", false, "rollout in every stage")
	f.Lookup("engine").Usage = engineUsage(api.TappingEngine())
	return cmd
}

func runAttend(ctx context.Context, env *environment, o attendOptions, args []string) error {
	kind := strings.ToLower(filepath.Ext(o.out))
	if o.out != "" && !slices.Contains([]string{".png", ".html", ".json", ".npz"}, kind) {
		return api.Usagef("--out %s: the file ends in .png, .html, .json or .npz", o.out)
	}
	if _, err := o.parsePicks(); err != nil {
		return err
	}
	if api.IsSound(args[0]) {
		if kind != ".html" {
			return api.Usagef("a sound is shown as a page: give -o FILE.html")
		}
		return attendSound(ctx, env, o, args)
	}
	if o.document.asksDocuments(ctx, args[:1]) {
		return attendDocument(ctx, env, o, kind, args)
	}
	request, err := o.request(env, args)
	if err != nil {
		return err
	}
	p, err := o.open(ctx, env)
	if err != nil {
		return err
	}
	defer p.Close()
	return o.attendPicture(ctx, env, p, kind, args[0], request)
}

// attendPicture shows where a model looked on a picture of a name.
func (o *attendOptions) attendPicture(
	ctx context.Context, env *environment, p *pipeline.Pipeline, kind, name string, request pipeline.Request,
) error {
	picks, err := o.parsePicks()
	if err != nil {
		return err
	}
	var a *pipeline.Attention
	if o.text != "" {
		a, err = p.AttendText(ctx, request, o.text)
	} else {
		a, err = p.Attend(ctx, request, o.generation()...)
	}
	if err != nil {
		return err
	}
	if o.rollout {
		for range a.Stages {
			picks = append(picks, pipeline.Pick{Rollout: true})
		}
	}
	v, err := api.NewAttentionView(a, name, request.Question, picks...)
	if err != nil {
		return err
	}
	v.MadeBy = api.MadeBy{
		Model: p.Bundle().Name, Engine: p.Engine().Name(), Version: version(),
	}
	if o.out != "" {
		err := writeFile(o.out, map[string]func(io.Writer) error{
			".png": v.WritePNG, ".html": v.WriteHTML, ".json": v.WriteJSON, ".npz": v.WriteNpz,
		}[kind])
		if err == nil && !env.json {
			fmt.Fprintf(env.stderr, "wrote %s: where %s looked for %q\n",
				api.Visible(o.out), v.MadeBy.Model, cmp.Or(v.Written(), v.Question))
		}
		return err
	}
	switch {
	case env.json:
		return v.WriteJSON(env.stdout)
	case isTerminal(env.stdout) && a.Image != nil:
		return drawAttention(env.stdout, v, terminalWidth(env.stdout))
	}
	return listAttention(env.stdout, v)
}

// request is what the model is asked. Where it sees regions, the picture is there to draw on.
func (o *attendOptions) request(env *environment, args []string) (r pipeline.Request, err error) {
	if len(args) > 1 {
		if err := checkTexts("attend", "question", args[1:]); err != nil {
			return r, err
		}
		r.Question = strings.TrimSpace(strings.Join(args[1:], " ")) // written without quotes, too
		if r.Question == "" {
			return r, fmt.Errorf("%w: the question is empty", pipeline.ErrPrompt)
		}
	}
	if o.regions == "" {
		r.Image, err = env.loadPicture(args[0])
		return r, err
	}
	regions, err := api.LoadRegions(o.regions)
	if err != nil {
		return r, err
	}
	if r.Regions, err = regions.Of(args[0]); err != nil {
		return r, err
	}
	if img, err := env.loadPicture(args[0]); err == nil {
		r.Image = img
	}
	return r, nil
}

// parsePicks reads --pick.
func (o *attendOptions) parsePicks() ([]pipeline.Pick, error) {
	if o.rollout && len(o.picks) > 0 {
		return nil, api.Usagef("--rollout and --pick exclude each other")
	}
	var picks []pipeline.Pick
	for _, arg := range o.picks {
		p, err := api.ParsePick(arg)
		if err != nil {
			return nil, api.Usagef("--%w", err)
		}
		picks = append(picks, p)
	}
	return picks, nil
}

// listAttention says in words where each word looked.
func listAttention(w io.Writer, v *api.AttentionView) error {
	for _, word := range v.Words() {
		m, err := v.WordMap(word, v.Picks...)
		if err != nil {
			return err
		}
		best := 0
		for i, x := range m.Weights {
			if x > m.Weights[best] {
				best = i
			}
		}
		row, column := best/m.Cols+1, best%m.Cols+1
		where := fmt.Sprintf("row %d, column %d of %dx%d", row, column, m.Rows, m.Cols)
		if v.Boxes != nil {
			where = fmt.Sprintf("region %d of %d", best+1, len(v.Boxes))
		}
		_, err = fmt.Fprintf(w, "%s\t%.3f\t%s\t%.3f\n", api.Visible(word.Text), m.Share, where, m.Weights[best])
		if err != nil {
			return err
		}
	}
	return nil
}
