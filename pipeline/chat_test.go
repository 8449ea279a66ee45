package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models/mini"
)

// A conversation in which a model reads its own answers gives PyTorch's ids, turn by turn; so does the
// whole of it as a request.
func TestChatEqualsTransformers(t *testing.T) {
	t.Parallel()
	for _, model := range []string{
		"llama-optimum", "llama-genai", "llava-transformersjs", "idefics3-transformersjs", "qwen2vl-transformersjs",
	} { // none of whose decoders has a branch: each turn reads what is new alone
		t.Run(model, func(t *testing.T) {
			dir, g := filepath.Join(layoutsDir, model), loadDecoderGolden(t, model).Conversation
			mostlyGo(t, func(t *testing.T, eng engine.Engine) {
				p, err := Open(t.Context(), dir, WithEngine(eng))
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				checkConversation(t, p, g, true)
			})
		})
	}
}

// checkConversation has a model talk as the golden conversation does, and compares ids and texts. goesOn
// says that turns read what is new alone.
func checkConversation(t *testing.T, p *Pipeline, g goldenConversation, goesOn bool) {
	t.Helper()
	c, err := p.Chat()
	if err != nil {
		t.Fatal(err)
	}
	c.SetSystem("another")
	c.SetSystem(g.System)
	var said []Message // with pictures that are not encoded
	if g.System != "" {
		said = append(said, Message{Role: RoleSystem, Text: g.System})
	}
	for i, turn := range g.Turns {
		var items []media.Item
		for _, name := range turn.Images {
			items = append(items, media.Picture{Image: loadImage(t, filepath.Join(familiesDir, "images", name))})
		}
		said = append(said, Message{Role: RoleUser, Items: items, Text: turn.Say})
		whole, err := p.Generate(t.Context(), []Request{{Messages: said}}, WithMaxNewTokens(12))
		if err != nil {
			t.Fatal(err)
		}
		var streamed strings.Builder
		for token, err := range c.Say(t.Context(), turn.Say, items, WithMaxNewTokens(12)) {
			if err != nil {
				t.Fatalf("turn %d: %v", i, err)
			}
			streamed.WriteString(token.Text)
		}
		if got := c.Last(); !slices.Equal(got.IDs, turn.IDs) || got.Text != turn.Answer || got.Stats.Tokens == 0 {
			t.Errorf("turn %d: ids %v, %q; want %v, %q", i, got.IDs, got.Text, turn.IDs, turn.Answer)
		}
		if got := whole[0][0].IDs; !slices.Equal(got, turn.IDs) {
			t.Errorf("turn %d as a request: ids %v, want %v", i, got, turn.IDs)
		}
		if got := strings.TrimSpace(streamed.String()); got != turn.Answer {
			t.Errorf("turn %d streamed: %q, want %q", i, got, turn.Answer)
		}
		if reused := c.Reused() > 0; reused != (goesOn && i > 0) {
			t.Errorf("turn %d: %d tokens were not read again", i, c.Reused())
		}
		if all := c.Messages(); all[len(all)-1].Text != turn.Answer || all[len(all)-1].Role != RoleAssistant {
			t.Errorf("turn %d is kept as %+v", i, all[len(all)-1])
		}
		said = append(said, Message{Role: RoleAssistant, Text: turn.Answer})
	}
}

// Turns that read what is new alone give the ids of a run that reads all, windows and pictures included,
// also once what the system says has changed.
func TestChatGoesOn(t *testing.T) {
	t.Parallel()
	for dir, sees := range map[string]bool{
		"../testdata/texts/gemma2-gqa": false, "../testdata/texts/mistral-gqa": false, "../testdata/texts/qwen3-gqa": false,
		filepath.Join(layoutsDir, "gemma3-transformersjs"): true, filepath.Join(layoutsDir, "gemma3-genai"): true,
		filepath.Join(layoutsDir, "smolvlm-transformersjs"): true, filepath.Join(layoutsDir, "qwen2_5vl-genai"): true,
	} {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			mostlyGo(t, func(t *testing.T, eng engine.Engine) {
				p, err := Open(t.Context(), dir, WithEngine(eng))
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				c, err := p.Chat()
				if err != nil {
					t.Fatal(err)
				}
				for i, say := range []string{"a red boat?", "and the house", "why", "what else is there?"} {
					var items []media.Item
					if sees && i%2 == 0 {
						items = append(items, media.Picture{Image: figure(t, "figure0.png@60x40")})
					}
					for _, err := range c.Say(t.Context(), say, items, WithMaxNewTokens(6)) {
						if err != nil {
							t.Fatal(err)
						}
					}
					all := c.Messages()
					whole, err := p.Generate(t.Context(), []Request{{Messages: all[:len(all)-1]}}, WithMaxNewTokens(6))
					if err != nil {
						t.Fatal(err)
					}
					if got := c.Last().IDs; !slices.Equal(got, whole[0][0].IDs) {
						t.Errorf("turn %d: ids %v, want %v", i, got, whole[0][0].IDs)
					}
					if (c.Reused() > 4) != (i > 0) {
						t.Errorf("turn %d: %d tokens were not read again", i, c.Reused())
					}
				}
				for _, err := range c.Say(t.Context(), "and?", nil, WithMaxNewTokens(2), WithNumBeams(2)) {
					if err != nil {
						t.Fatal(err)
					}
				}
				if c.Reused() <= 4 {
					t.Errorf("with beams %d tokens were not read again", c.Reused())
				}
			})
		})
	}
}

// A decoder's states of layers without attention are those of what was read last, so turns of such a model
// read all again: each token is as probable as where nothing is remembered.
func TestChatWithStates(t *testing.T) {
	t.Parallel()
	p, err := Open(t.Context(), filepath.Join(layoutsDir, "lfm2vl-transformersjs"), WithEngine(goEngine))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c, err := p.Chat()
	if err != nil {
		t.Fatal(err)
	}
	for i, say := range []string{"a red boat?", "and the house", "why"} {
		for _, err := range c.Say(t.Context(), say, nil, WithMaxNewTokens(6)) {
			if err != nil {
				t.Fatal(err)
			}
		}
		all := c.Messages()
		whole, err := p.Generate(t.Context(), []Request{{Messages: all[:len(all)-1]}}, WithMaxNewTokens(6))
		if err != nil {
			t.Fatal(err)
		}
		got, want := c.Last(), whole[0][0]
		if !slices.Equal(got.IDs, want.IDs) || math.Abs(got.LogProb-want.LogProb) > 1e-5 {
			t.Errorf("turn %d: ids %v of %v, want %v of %v", i, got.IDs, got.LogProb, want.IDs, want.LogProb)
		}
		if c.Reused() != 0 {
			t.Errorf("turn %d: %d tokens were not read again", i, c.Reused())
		}
	}
}

// An answer that is stopped is kept as far as it goes, and one that never began is not.
func TestChatStops(t *testing.T) {
	t.Parallel()
	p, err := Open(t.Context(), filepath.Join(layoutsDir, "llava-transformersjs"), WithEngine(goEngine))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if !p.Abilities().Chat {
		t.Error("it says that it cannot chat")
	}
	c, err := p.Chat()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range c.Say(t.Context(), "a boat?", nil) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 3 {
			break
		}
	}
	if got := c.Messages(); len(got) != 2 || len(c.Last().IDs) != 3 {
		t.Fatalf("after a break: %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n = 0
	var last error
	for _, err := range c.Say(ctx, "and?", nil) {
		if n++; n == 3 {
			cancel()
		}
		last = err
	}
	if got := c.Messages(); !errors.Is(last, context.Canceled) || len(got) != 4 || len(c.Last().IDs) != n-1 {
		t.Errorf("after the end of ctx: %v, %+v", last, got)
	}
	refused := func(what string, kind error, text string, items ...media.Item) {
		t.Helper()
		var last error
		for _, err := range c.Say(t.Context(), text, items) {
			last = err
		}
		if !errors.Is(last, kind) || len(c.Messages()) != 4 {
			t.Errorf("%s: %v, %d messages", what, last, len(c.Messages()))
		}
	}
	refused("no picture", ErrImage, "what?", nil)
	refused("a sound", ErrUnsupported, "what?", sound{})
	refused("a placeholder alone", ErrPrompt, "<image>")
	for range c.Say(ctx, "x", nil) { // ended before it begins
	}
	if len(c.Messages()) != 4 {
		t.Error("an answer that never began is kept")
	}
	for _, err := range c.Say(t.Context(), "still there?", nil, WithMaxNewTokens(2)) {
		if err != nil {
			t.Error(err)
		}
	}
	if got := fmt.Sprint(len(c.Messages()), len(c.Last().Tokens)); got != "6 2" {
		t.Error(got)
	}
	other := sharedEmbedded(t, mini.BLIP2, goEngine)
	if _, err := other.Chat(); !errors.Is(err, ErrUnsupported) || other.Abilities().Chat {
		t.Errorf("a model that cannot chat: %v", err)
	}
}

type sound struct{}

func (sound) Kind() media.Kind { return media.Sounds }
