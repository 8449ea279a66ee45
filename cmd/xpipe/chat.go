package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/internal/bom"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/spf13/cobra"
)

// chatTokens is how long answers are where neither the model nor a flag says: that default of 20 is no
// answer.
const chatTokens = 1024

const chatHelp = `/image PATH   attach a picture to the next message; several times for several
/audio PATH   attach a sound, for models that hear
/system TEXT  what the model is told before all else; without TEXT: nothing
/save FILE    write the conversation to FILE.md, or FILE.json with the tokens' ids
/clear, /new  begin a new conversation
/help         show this
/quit         end`

type chatOptions struct {
	modelOptions
	generationOptions
	system string
}

func newChatCommand(env *environment) *cobra.Command {
	var o chatOptions
	cmd := &cobra.Command{
		Use:   "chat",
		Short: "Hold a conversation about pictures, or about anything",
		Example: `  xpipe chat --model HuggingFaceTB/SmolVLM-256M-Instruct
  xpipe chat --model ~/models/SmolLM2-135M-Instruct --system "You are brief."
  printf '/image photo.jpg\nwhat is this?\nand its color?\n' | xpipe chat --model ~/models/SmolVLM`,
		Long: `Reads messages, one a line, and writes the model's answers word by word. The model
reads all that was said before, by its chat template. No embedded model can chat;
without --model the command says which of the hub's cache can.

A line that begins with "/" is a command:

` + indent(chatHelp, "  ") + `

Ctrl-C stops an answer and keeps the conversation, with what was written; a second
one, or one at the prompt, ends the command.

Lines may come from a file or another program, too: then nothing but the answers
is printed, and the first error ends the command.

Answers are at most ` + fmt.Sprint(chatTokens) + ` tokens long where the model does not say it and
--max-new-tokens is not given.

With --json each answer is one line {"message","images","sounds","answer","tokens",
"logprob","seconds","token_logprobs","ids","stopped"}.

` + exitHelp,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.model == "" {
				return noChatModel(cmd)
			}
			return runChat(cmd.Context(), env, o)
		},
	}
	o.modelOptions.addFlags(cmd, "")
	o.generationOptions.addFlags(cmd)
	cmd.Flags().StringVar(&o.system, "system", "", "what the model is told before all else")
	return cmd
}

// indent puts a text in front of each line.
func indent(text, by string) string { return by + strings.ReplaceAll(text, "\n", "\n"+by) }

// noChatModel says which models can chat.
func noChatModel(cmd *cobra.Command) error {
	names, err := api.ChatModels()
	if err != nil {
		return err
	}
	have := "the hub's cache has none that can, either; xpipe pull ORG/NAME fetches one"
	if len(names) > 0 {
		have = "in the hub's cache these can: " + strings.Join(names, ", ")
	}
	return usageOf(cmd, "no embedded model can chat; give --model ORG/NAME or --model DIR; %s", have)
}

func runChat(ctx context.Context, env *environment, o chatOptions) error {
	o.wholePrompts = true // a conversation ends where the model's positions do
	p, err := o.open(ctx, env)
	if err != nil {
		return err
	}
	defer p.Close()
	c := &conversation{env: env, pipeline: p, system: o.system, asks: isTerminal(env.stdin), saved: map[string]bool{}}
	c.changes = append(c.changes, func(g *pipeline.Generation) {
		if g.MaxNewTokens == decode.DefaultMaxNewTokens {
			g.MaxNewTokens = chatTokens
		}
	})
	c.changes = append(c.changes, o.generation()...)
	if err := c.begin(); err != nil {
		return instead(err, p)
	}
	settings := o.settings()
	if err := settings.SetGeneration(p, c.changes); err != nil {
		return err
	}
	if c.origin, err = api.NewOrigin(p, version(), settings); err != nil {
		return err
	}
	if env.interrupts != nil {
		var stop func()
		c.interrupts, stop = env.interrupts()
		defer stop()
		ctx = context.WithoutCancel(ctx) // Ctrl-C need not end all
	}
	attach := ""
	if p.Abilities().Takes(media.Pictures) {
		attach = "/image PATH attaches a picture, "
	}
	if p.Abilities().Takes(media.Sounds) {
		attach += "/audio PATH a sound, "
	}
	c.notef("%s: %s/help tells more, /quit ends", p.Bundle().Name, attach)
	err = c.run(ctx)
	if errors.Is(err, errQuit) {
		return nil
	}
	return err
}

// instead says what a model that cannot chat does.
func instead(err error, p *pipeline.Pipeline) error {
	if !errors.Is(err, pipeline.ErrUnsupported) {
		return err
	}
	if verbs := api.TasksOf(p.Abilities()); len(verbs) > 0 {
		return fmt.Errorf("%w; there are xpipe %s", err, strings.Join(verbs, ", xpipe "))
	}
	return err
}

// conversation is one run of chat.
type conversation struct {
	env        *environment
	pipeline   *pipeline.Pipeline
	origin     *api.Origin
	changes    []pipeline.GenerateOption
	interrupts <-chan os.Signal // nil: ctx ends
	asks       bool             // whether somebody sits at a terminal

	chat    *pipeline.Chat
	system  string
	said    []api.TranscriptMessage // without the system's
	items   []media.Item            // of the next message
	names   []api.Name              // of pictures among items
	sounds  []api.Name              // of sounds among them
	saved   map[string]bool         // files that this run wrote
	reading <-chan inputLine
}

var errQuit = errors.New("quit")

// begin begins a new conversation.
func (c *conversation) begin() (err error) {
	c.chat, err = c.pipeline.Chat()
	if err == nil {
		c.chat.SetSystem(c.system)
		c.said, c.items, c.names, c.sounds = nil, nil, nil, nil
	}
	return err
}

// notef tells somebody at a terminal what was done.
func (c *conversation) notef(format string, args ...any) {
	if c.asks && !c.env.json {
		fmt.Fprintln(c.env.stderr, api.Visible(fmt.Sprintf(format, args...)))
	}
}

// run takes line after line. Somebody at a terminal is told of errors, and goes on.
func (c *conversation) run(ctx context.Context) error {
	c.reading = readLines(c.env.stdin)
	for {
		line, err := c.next(ctx)
		if err != nil {
			return err
		}
		err = c.take(ctx, line)
		if err == nil {
			continue
		}
		if !c.asks || errors.Is(err, errQuit) || errors.Is(err, context.Canceled) {
			return err
		}
		c.env.report(err)
	}
}

// inputLine is a line that was read, or why there is none.
type inputLine struct {
	text string
	err  error
}

// mostInput bounds a line, as a text that no model reads would be.
const mostInput = 16 << 20

// readLines reads lines beside what else is done; the end is errQuit.
func readLines(r io.Reader) <-chan inputLine {
	lines := make(chan inputLine)
	go func() {
		in, err := bom.NewReader(r)
		if err != nil {
			lines <- inputLine{err: api.Inputf("standard input: %w", err)}
			return
		}
		scanner := bufio.NewScanner(in)
		scanner.Buffer(nil, mostInput)
		for scanner.Scan() {
			lines <- inputLine{text: scanner.Text()}
		}
		err = errQuit
		if scanner.Err() != nil {
			err = api.Inputf("standard input: %w", scanner.Err())
		}
		lines <- inputLine{err: err}
	}()
	return lines
}

// next waits for the next line.
func (c *conversation) next(ctx context.Context) (string, error) {
	if c.asks {
		fmt.Fprint(c.env.stderr, "> ")
	}
	select {
	case line := <-c.reading:
		if line.err != nil && c.asks {
			fmt.Fprintln(c.env.stderr)
		}
		return line.text, line.err
	case <-c.interrupts:
		if c.asks {
			fmt.Fprintln(c.env.stderr)
		}
		return "", context.Canceled
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// take does what a line says.
func (c *conversation) take(ctx context.Context, line string) error {
	text := strings.TrimSpace(line)
	switch {
	case text == "":
		return nil
	case !utf8.ValidString(text):
		return api.Inputf("the message is not UTF-8")
	case strings.HasPrefix(line, "/"):
		return c.command(ctx, text)
	}
	return c.say(ctx, text)
}

// say gives a message to the model and prints its answer.
func (c *conversation) say(ctx context.Context, text string) error {
	ctx, watch := c.underInterrupts(ctx)
	start := time.Now()
	tokens := c.chat.Say(ctx, text, c.items, c.changes...)
	before := len(c.chat.Messages())
	var err error
	if c.env.json {
		err = drain(tokens)
	} else {
		err = c.env.printStream(tokens)
	}
	stopped, ended := watch()
	if len(c.chat.Messages()) > before {
		said := api.TranscriptMessage{Role: pipeline.RoleUser, Content: text, Images: c.names, Sounds: c.sounds}
		last := c.chat.Last()
		answer := api.TranscriptMessage{
			Role: pipeline.RoleAssistant, Content: last.Text, IDs: last.IDs, Stopped: err != nil,
		}
		c.said = append(c.said, said, answer)
		c.items, c.names, c.sounds = nil, nil, nil
		if err == nil {
			c.env.verboseStats("answer", last)
			c.env.verbosef("%d tokens of the conversation were not read again", c.chat.Reused())
		}
		if c.env.json {
			line := api.NewReply(said, answer, last, time.Since(start).Seconds())
			line.Origin = c.origin
			if printErr := c.env.printJSON(line); printErr != nil {
				return printErr
			}
		}
	} else if stopped {
		c.notef("(stopped before the first word; the message is taken back)")
	}
	switch {
	case ended:
		return context.Canceled
	case stopped && errors.Is(err, context.Canceled):
		return nil
	case errors.Is(err, pipeline.ErrPrompt) && len(c.said) > 0:
		return fmt.Errorf("%w (/clear begins a new conversation)", err)
	}
	return err
}

// drain reads a stream to its end.
func drain(tokens iter.Seq2[pipeline.Token, error]) (err error) {
	for _, err = range tokens {
	}
	return err
}

// underInterrupts returns a context that ends at an interrupt. finish ends the watch, and says whether
// there was one, and whether all is to end: at a second one, or another signal.
func (c *conversation) underInterrupts(
	ctx context.Context,
) (under context.Context, finish func() (stopped, ended bool)) {
	under, cancel := context.WithCancel(ctx)
	if c.interrupts == nil {
		return under, func() (bool, bool) { cancel(); return false, false }
	}
	done := make(chan struct{})
	var watching sync.WaitGroup
	var stopped, ended bool
	watching.Go(func() {
		for {
			select {
			case <-done:
				return
			case signal := <-c.interrupts:
				ended = stopped || signal != os.Interrupt
				stopped = true
				cancel()
			}
		}
	})
	return under, func() (bool, bool) {
		close(done)
		watching.Wait()
		cancel()
		return stopped, ended
	}
}
