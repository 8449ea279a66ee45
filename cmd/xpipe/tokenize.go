package main

import (
	"bufio"
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

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/internal/bom"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/tokenize"
	"github.com/spf13/cobra"
)

// tokenizeOptions are the flags of tokenize.
type tokenizeOptions struct {
	tokenizer string
	model     string
	noSpecial bool
	pair      bool
	second    []string // the second text of every line, where it is given as an argument
	offsets   bool
	decode    bool
	jsonl     bool
	noPad     bool
	noTrunc   bool
}

func newTokenizeCommand(env *environment) *cobra.Command {
	var opts tokenizeOptions
	cmd := &cobra.Command{
		Use:   "tokenize --model NAME|DIR [--pair [TEXT]]",
		Short: "Turn lines of text into token ids, or back",
		Example: `  echo "a red apple" | xpipe tokenize --model clip-mini
  xpipe tokenize --tokenizer tokenizer.json --offsets < lines.txt
  echo "[4,1,2]" | xpipe tokenize --model blip2-mini --decode`,
		Long: `Reads one text a line from standard input and prints its token ids, one JSON
array a line. The tokenizer is that of --model, or the file or folder that
--tokenizer names: a tokenizer.json, or what holds one. Special tokens are added,
and the text is cut and padded if the file says so.

A line is everything up to the line feed. To give any character, use --jsonl:
a line is then a JSON string, or an object {"text": "...", "pair": "..."}.

With --pair a line holds two texts with a tab between them, or TEXT is the
second text of every line. With --offsets a line of output is an object with
ids, tokens and offsets, which count bytes of UTF-8. With --decode a line of
input is a JSON array of ids and the output is text; add --jsonl to have it as
a JSON string, which keeps line breaks, and --no-special to leave special
tokens out. With --json every line of output is an object.

` + exitHelp,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.second = args
			if opts.tokenizer != "" && !env.modelGiven(cmd) {
				opts.model = ""
			}
			return runTokenize(cmd.Context(), env, opts)
		},
	}
	addModelFlag(cmd, &opts.model, "")
	f := cmd.Flags()
	f.StringVar(&opts.tokenizer, "tokenizer", "",
		"tokenizer.json, the folder it is in, or an embedded model's name")
	f.BoolVar(&opts.noSpecial, "no-special", false,
		"add no special tokens; with --decode, leave them out")
	f.BoolVar(&opts.pair, "pair", false, "a second text, after a tab or as an argument")
	f.BoolVar(&opts.offsets, "offsets", false, "print tokens and their places, too")
	f.BoolVar(&opts.decode, "decode", false, "turn arrays of ids into text")
	f.BoolVar(&opts.jsonl, "jsonl", false, "texts are JSON strings or objects")
	f.BoolVar(&opts.noPad, "no-padding", false, "do not pad, whatever the file says")
	f.BoolVar(&opts.noTrunc, "no-truncation", false, "do not cut, whatever the file says")
	return cmd
}

func runTokenize(ctx context.Context, env *environment, opts tokenizeOptions) error {
	switch {
	case opts.tokenizer == "" && opts.model == "":
		return api.Usagef("tokenize needs --model NAME|DIR or --tokenizer FILE")
	case opts.tokenizer != "" && opts.model != "":
		return api.Usagef("--model and --tokenizer name two tokenizers; give one")
	case len(opts.second) > 0 && !opts.pair:
		return api.Usagef("%q is no flag; texts come from standard input "+
			"(a second text needs --pair)", opts.second[0])
	case opts.decode && (opts.pair || opts.offsets):
		return api.Usagef("--decode goes with neither --pair nor --offsets")
	}
	t, err := opts.open()
	if err != nil {
		return err
	}
	in := bufio.NewReaderSize(env.stdin, 1<<16)
	if opts.jsonl || opts.decode { // a line of plain text may begin with any character
		if err := bom.Discard(in); err != nil {
			return api.Inputf("standard input: %w", err)
		}
	}
	out := bufio.NewWriterSize(env.stdout, 1<<16)
	defer out.Flush()
	for n := 1; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if in.Buffered() == 0 { // a program may wait for this answer before it writes on
			if err := out.Flush(); err != nil {
				return err
			}
		}
		line, err := in.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return api.Inputf("reading standard input: %w", err)
		}
		last := err != nil
		if last && line == "" {
			return out.Flush()
		}
		line = strings.TrimSuffix(line, "\n")
		if opts.decode {
			err = decodeLine(out, env, t, opts, line)
		} else {
			err = encodeLine(out, env, t, opts, line)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if last {
			return out.Flush()
		}
	}
}

// open opens the tokenizer of a model, or that of a file or folder.
func (opts *tokenizeOptions) open() (*tokenize.Tokenizer, error) {
	model, path := opts.model, opts.tokenizer
	if model == "" {
		info, err := os.Stat(path)
		switch {
		case err == nil && info.IsDir():
			return tokenize.Open(filepath.Join(path, "tokenizer.json"))
		case err == nil || !slices.Contains(mini.Names(), path):
			t, err := tokenize.Open(path)
			if errors.Is(err, fs.ErrNotExist) {
				err = fmt.Errorf("%w%s", err, api.DidYouMean(path, mini.Names()))
			}
			return t, err
		}
		model = path
	}
	bundle, err := api.OpenBundle(model)
	if err != nil {
		return nil, err
	}
	defer bundle.Close()
	return tokenize.Load(bundle.File)
}

func encodeLine(
	out io.Writer, env *environment, t *tokenize.Tokenizer, opts tokenizeOptions, line string,
) error {
	text, pair, err := opts.texts(line)
	if err != nil {
		return err
	}
	var options []tokenize.Option
	if pair != nil {
		options = append(options, tokenize.WithPair(*pair))
	}
	if opts.noSpecial {
		options = append(options, tokenize.WithoutSpecialTokens())
	}
	if opts.noPad {
		options = append(options, tokenize.WithPadding(nil))
	}
	if opts.noTrunc {
		options = append(options, tokenize.WithTruncation(nil))
	}
	e, err := t.Encode(text, options...)
	if err != nil {
		return err
	}
	if !opts.offsets && !env.json {
		return api.WriteJSON(out, e.IDs)
	}
	return api.WriteJSON(out, api.NewEncoded(e, opts.offsets))
}

// texts reads the one or two texts of a line.
func (opts *tokenizeOptions) texts(line string) (text string, pair *string, err error) {
	text = line
	switch {
	case opts.jsonl:
		var object struct {
			Text *string `json:"text"`
			Pair *string `json:"pair"`
		}
		if json.Unmarshal([]byte(line), &text) == nil {
			break
		}
		if json.Unmarshal([]byte(line), &object) != nil || object.Text == nil {
			return "", nil, api.Inputf(`a JSON string or an object {"text": "..."} expected`)
		}
		text, pair = *object.Text, object.Pair
	case opts.pair && len(opts.second) == 0:
		first, second, ok := strings.Cut(line, "\t")
		if !ok {
			return "", nil, api.Inputf("--pair needs two texts with a tab between them")
		}
		text, pair = first, &second
	}
	if pair == nil && len(opts.second) > 0 {
		pair = &opts.second[0]
	}
	if pair == nil && opts.pair {
		return "", nil, api.Inputf(`--pair needs a second text: {"text": "...", "pair": "..."}`)
	}
	return text, pair, nil
}

func decodeLine(
	out io.Writer, env *environment, t *tokenize.Tokenizer, opts tokenizeOptions, line string,
) error {
	var ids []int64
	if json.Unmarshal([]byte(line), &ids) != nil {
		return api.Inputf("a JSON array of ids expected")
	}
	text := t.Decode(ids, opts.noSpecial)
	switch {
	case env.json:
		return api.WriteJSON(out, api.Decoded{Text: text})
	case opts.jsonl:
		return api.WriteJSON(out, text)
	}
	_, err := fmt.Fprintln(out, text)
	return err
}
