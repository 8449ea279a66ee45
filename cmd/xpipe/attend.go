package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/tensor"
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
}

// attendFile is what attend writes with --json or into a .json.
type attendFile struct {
	Image    string        `json:"image"`
	Question string        `json:"question,omitempty"`
	Text     string        `json:"text"`
	Rows     int           `json:"rows"` // of each map
	Cols     int           `json:"cols"`
	Seen     [4]float32    `json:"seen"` // what the maps cover: x1, y1, x2, y2, in parts of the picture
	Boxes    [][4]float32  `json:"boxes,omitempty"`
	Tokens   []attendToken `json:"tokens"`
}

// attendToken is a token and its map, [rows][cols] summing to 1.
type attendToken struct {
	Text    string      `json:"text"`
	LogProb *float64    `json:"logprob,omitempty"`
	Share   float64     `json:"share"`
	Map     [][]float32 `json:"map"`
}

func newAttendCommand(env *environment) *cobra.Command {
	var o attendOptions
	cmd := &cobra.Command{
		Use:   "attend IMAGE [QUESTION]",
		Short: "Show where the model looked for each word",
		Long: `Captions the picture, or answers the question, and shows for each word which
part of the picture the model attended to.

  -o FILE.png    the words in a row, a heat map over the picture for each
  -o FILE.html   one page without dependencies: point at a word to see its map,
                 choose layers and heads
  -o FILE.json   {"tokens":[{"text","share","map":[[...]]},...]}: each map sums to
                 1; share is how much of the attention fell on the picture at all
  -o FILE.npz    the maps, and the probabilities of every layer and head

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
		Args: usageArgs(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("engine") {
				o.name = tappingEngine()
			}
			if o.regions != "" && !cmd.Flags().Changed("model") {
				o.model = mini.Regions
			}
			return runAttend(cmd.Context(), env, o, args)
		},
	}
	o.modelOptions.addFlags(cmd, mini.Captions)
	o.generationOptions.addFlags(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.out, "out", "o", "", "file to write: .png, .html, .json or .npz")
	f.StringVar(&o.text, "text", "", "make the model write this text instead of its own")
	f.StringVar(&o.regions, "regions", "", "regions for LXMERT: .npz or .tsv; IMAGE names the picture, and is drawn on if it is a file")
	f.StringArrayVar(&o.picks, "pick", nil, "LAYER/HEAD or rollout for one stage (repeat for the next)")
	f.BoolVar(&o.rollout, "rollout", false, "rollout in every stage")
	f.Lookup("engine").Usage = engineUsage(tappingEngine())
	return cmd
}

func runAttend(ctx context.Context, env *environment, o attendOptions, args []string) error {
	kind := strings.ToLower(filepath.Ext(o.out))
	if o.out != "" && !slices.Contains([]string{".png", ".html", ".json", ".npz"}, kind) {
		return usagef("--out %s: the file ends in .png, .html, .json or .npz", o.out)
	}
	picks, err := o.parsePicks()
	if err != nil {
		return err
	}
	request := pipeline.Request{}
	if len(args) > 1 {
		if request.Question = strings.TrimSpace(args[1]); request.Question == "" {
			return fmt.Errorf("%w: the question is empty", pipeline.ErrPrompt)
		}
	}
	if o.regions != "" {
		all, err := pipeline.LoadRegions(o.regions)
		if err != nil {
			return err
		}
		a := asker{env: env, options: askOptions{regions: o.regions}, regions: all}
		if request.Regions, err = a.regionsOf(args[0]); err != nil {
			return err
		}
		if img, err := env.loadPicture(args[0]); err == nil {
			request.Image = img // to draw on
		}
	} else if request.Image, err = env.loadPicture(args[0]); err != nil {
		return err
	}
	p, err := o.open(ctx, env)
	if err != nil {
		return err
	}
	defer p.Close()
	var a *pipeline.Attention
	if o.text != "" {
		a, err = p.AttendText(ctx, request, o.text)
	} else {
		a, err = p.Attend(ctx, request, o.generation()...)
	}
	if err != nil {
		return err
	}
	v := &attendView{Attention: a, words: a.Words(), image: args[0], question: request.Question, picks: picks}
	if o.rollout {
		for range a.Stages {
			v.picks = append(v.picks, pipeline.Pick{Rollout: true})
		}
	}
	if v.most, err = a.Greatest(v.words, v.picks...); err != nil {
		return err
	}
	if o.out == "" {
		switch {
		case env.json:
			file, err := v.file()
			if err != nil {
				return err
			}
			return env.printJSON(file)
		case isTerminal(env.stdout) && a.Image != nil:
			return v.terminal(env.stdout, terminalWidth(env.stdout))
		}
		return v.lines(env.stdout)
	}
	write := map[string]func(io.Writer) error{".png": v.png, ".html": v.html, ".json": v.json, ".npz": v.npz}[kind]
	return writeFile(o.out, write)
}

// writeFile writes a file, and where write fails removes one that it made. What was
// there before stays, since it may be a device or a link.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	made := err == nil
	if errors.Is(err, fs.ErrExist) {
		f, err = os.Create(path)
	}
	if err != nil {
		return err
	}
	err = write(f)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil && made {
		os.Remove(path)
	}
	return err
}

// parsePicks reads --pick.
func (o *attendOptions) parsePicks() ([]pipeline.Pick, error) {
	if o.rollout && len(o.picks) > 0 {
		return nil, usagef("--rollout and --pick exclude each other")
	}
	var picks []pipeline.Pick
	for _, arg := range o.picks {
		var p pipeline.Pick
		layer, head, _ := strings.Cut(arg, "/")
		if arg == "rollout" {
			p.Rollout = true
		} else if n, err := fmt.Sscanf(layer+" "+head+" 0", "%d %d", &p.Layer, &p.Head); err != nil || n != 2 || p.Layer < 0 || p.Head < 0 {
			return nil, usagef("--pick %q is neither LAYER/HEAD nor rollout", arg)
		}
		picks = append(picks, p)
	}
	return picks, nil
}

// attendView is one result in all its forms.
type attendView struct {
	*pipeline.Attention
	words           []pipeline.Word
	image, question string
	picks           []pipeline.Pick
	most            float64 // the end of the colour scale
}

// text is what the model wrote; for CLIP there is nothing.
func (v *attendView) text() string {
	if v.Text == nil {
		return ""
	}
	return v.Text.Text
}

// file is the result as data.
func (v *attendView) file() (*attendFile, error) {
	f := &attendFile{Image: v.image, Question: v.question, Text: v.text(), Seen: v.Seen, Tokens: []attendToken{}}
	for _, b := range v.Boxes {
		f.Boxes = append(f.Boxes, b)
	}
	for i, text := range v.Tokens {
		m, err := v.Map(i, v.picks...)
		if err != nil {
			return nil, err
		}
		t := attendToken{Text: text, Share: m.Share}
		if v.Text != nil && i < len(v.Text.Tokens) {
			t.LogProb = &v.Text.Tokens[i].LogProb
		}
		for r := range m.Rows {
			t.Map = append(t.Map, m.Weights[r*m.Cols:(r+1)*m.Cols])
		}
		f.Rows, f.Cols = m.Rows, m.Cols
		f.Tokens = append(f.Tokens, t)
	}
	return f, nil
}

func (v *attendView) json(w io.Writer) error {
	f, err := v.file()
	if err != nil {
		return err
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(f)
}

// npz has maps [tokens,rows,cols] and share [tokens]; stage0, stage1 ...
// [layers,heads,rows,columns] and rollout0 ... [rows,columns] as the pipeline has
// them; ids [tokens] where there are any; boxes for regions.
func (v *attendView) npz(w io.Writer) error {
	f, err := v.file()
	if err != nil {
		return err
	}
	var maps, share []float32
	for _, t := range f.Tokens {
		maps, share = append(maps, slices.Concat(t.Map...)...), append(share, float32(t.Share))
	}
	arrays := map[string]*tensor.Tensor{}
	put := func(name string, t *tensor.Tensor, e error) {
		if e != nil {
			err = e
		}
		arrays[name] = t
	}
	t, e := tensor.New([]int{len(f.Tokens), f.Rows, f.Cols}, maps)
	put("maps", t, e)
	t, e = tensor.New([]int{len(share)}, share)
	put("share", t, e)
	if v.Text != nil && len(v.Text.Tokens) > 0 {
		var ids []int64
		for _, t := range v.Text.Tokens {
			ids = append(ids, t.ID)
		}
		t, e = tensor.New([]int{len(ids)}, ids)
		put("ids", t, e)
	}
	for i, s := range v.Stages {
		put(fmt.Sprintf("stage%d", i), s.Maps, nil)
		if s.Rollout != nil {
			put(fmt.Sprintf("rollout%d", i), s.Rollout, nil)
		}
	}
	if v.Reverse != nil {
		put("reverse", v.Reverse.Maps, nil)
	}
	if len(v.Boxes) > 0 {
		var boxes []float32
		for _, b := range v.Boxes {
			boxes = append(boxes, b[:]...)
		}
		t, e = tensor.New([]int{len(v.Boxes), 4}, boxes)
		put("boxes", t, e)
	}
	if err != nil {
		return err
	}
	return tensor.WriteNpz(w, arrays)
}

// lines says in words where each word looked.
func (v *attendView) lines(w io.Writer) error {
	for _, word := range v.words {
		m, err := v.WordMap(word, v.picks...)
		if err != nil {
			return err
		}
		best := 0
		for i, x := range m.Weights {
			if x > m.Weights[best] {
				best = i
			}
		}
		where := fmt.Sprintf("row %d, column %d of %dx%d", best/m.Cols+1, best%m.Cols+1, m.Rows, m.Cols)
		if v.Boxes != nil {
			where = fmt.Sprintf("region %d of %d", best+1, len(v.Boxes))
		}
		if _, err := fmt.Fprintf(w, "%s\t%.3f\t%s\t%.3f\n", word.Text, m.Share, where, m.Weights[best]); err != nil {
			return err
		}
	}
	return nil
}
