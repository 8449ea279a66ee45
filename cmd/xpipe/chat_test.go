package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crossattn/xpipe/api"
)

const (
	chatLlama = "../../testdata/layouts/llama-optimum"
	chatLlava = "../../testdata/layouts/llava-transformersjs"
)

// A conversation over a pipe gives the ids of transformers' generate, turn by turn.
func TestChatPiped(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{chatLlama, chatLlava} {
		var golden struct {
			Conversation struct {
				System string
				Turns  []struct {
					Say    string
					Images []string
					IDs    []int64
					Answer string
				}
			}
		}
		data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
		if err == nil {
			err = json.Unmarshal(data, &golden)
		}
		if err != nil {
			t.Fatal(err)
		}
		g := golden.Conversation
		var in strings.Builder
		for i, turn := range g.Turns {
			if i == 0 && g.System != "" {
				fmt.Fprintf(&in, "/system %s\n", g.System)
			}
			for _, name := range turn.Images {
				fmt.Fprintf(&in, "/image ../../testdata/families/images/%s\n", name)
			}
			fmt.Fprintf(&in, " %s\r\n\n", turn.Say)
		}
		args := []string{"chat", "--engine", "go", "-m", dir, "--max-new-tokens", "12"}
		code, stdout, stderr := xpipe(t, "\uFEFF"+in.String(), append(args, "--json")...)
		if code != 0 || stderr != "" {
			t.Fatalf("%s: exit %d, %s", dir, code, stderr)
		}
		for i, line := range lines(t, stdout) {
			ids := fmt.Sprint(line["ids"])
			if ids != fmt.Sprint(g.Turns[i].IDs) || line["answer"] != g.Turns[i].Answer || line["message"] != g.Turns[i].Say {
				t.Errorf("%s: turn %d: %v, want %+v", dir, i, line, g.Turns[i])
			}
			if images, _ := line["images"].([]any); len(images) != len(g.Turns[i].Images) {
				t.Errorf("%s: turn %d: pictures %v", dir, i, images)
			}
		}
		code, stdout, stderr = xpipe(t, in.String(), args...)
		if code != 0 || stderr != "" || strings.Count(stdout, "\n") < len(g.Turns) {
			t.Errorf("%s as text: exit %d, %q, %s", dir, code, stdout, stderr)
		}
		for _, turn := range g.Turns {
			if !strings.Contains(stdout, api.Printable(turn.Answer)) {
				t.Errorf("%s: %q is not in %q", dir, turn.Answer, stdout)
			}
		}
		if strings.ContainsFunc(stdout, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f }) {
			t.Errorf("%s: raw control characters in %q", dir, stdout)
		}
	}
}

// Commands do what they say; the first that fails ends a run that nobody watches.
func TestChatCommands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	saved := filepath.Join(dir, "a talk.json")
	figure := "../../testdata/families/images/figure0.png"
	quoted := filepath.Join(dir, "a picture.png")
	data, err := os.ReadFile(figure)
	if err == nil {
		err = os.WriteFile(quoted, data, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	chat := func(model, stdin string) (int, string, string) {
		return xpipe(t, stdin, "chat", "--engine", "go", "-m", model, "--max-new-tokens", "3", "--system", "a photo")
	}
	code, stdout, stderr := chat(chatLlava, "/help\nlost\n/clear\n/image "+figure+"\n/image '"+quoted+"'\nwhat?\n"+
		"/save "+saved+"\nand?\n/save "+saved+"\n/save "+filepath.Join(dir, "talk.md")+"\n/quit\nnever\n")
	if code != 0 || stderr != "" || !strings.Contains(stdout, "/save FILE") {
		t.Fatalf("exit %d, %q, %s", code, stdout, stderr)
	}
	var talk api.Transcript
	if data, err = os.ReadFile(saved); err == nil {
		err = json.Unmarshal(data, &talk)
	}
	if err != nil || len(talk.Messages) != 5 || talk.Messages[0].Content != "a photo" || talk.Model != "llava-transformersjs" ||
		len(talk.Messages[1].Images) != 2 || string(talk.Messages[1].Images[1]) != quoted || len(talk.Messages[2].IDs) != 3 {
		t.Errorf("%s, %v", data, err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "talk.md"))
	if text := string(page); err != nil || !strings.Contains(text, "## You") || !strings.Contains(text, "a picture.png>)") || strings.Contains(text, "lost") {
		t.Errorf("%s, %v", page, err)
	}
	for _, c := range []struct {
		model, stdin string
		code         int
		says         string
	}{
		{chatLlava, "/audio a.wav\n", api.ExitModel, "model llava-transformersjs, of family llava, hears nothing; it takes text and pictures"},
		{chatLlama, "/audio a.wav\n", api.ExitModel, "takes text alone"},
		{chatLlama, "/image " + figure + "\n", api.ExitModel, "model llama-optimum, of family text, reads text alone"},
		{chatLlava, "/image none.png\nwhat?\n", api.ExitInput, "none.png"},
		{chatLlava, "/image -\n", api.ExitInput, "standard input"}, {chatLlava, "/image\n", api.ExitUsage, "/image PATH"},
		{chatLlava, "/imgae x\n", api.ExitUsage, `did you mean "/image"?`}, {chatLlava, "/save\n", api.ExitUsage, "/save FILE"},
		{chatLlava, "/save talk.txt\n", api.ExitUsage, ".md or .json"}, {chatLlava, "/save " + saved + "\n", api.ExitInput, "is there already"},
		{chatLlava, "a \xff\n", api.ExitInput, "UTF-8"}, {chatLlava, "\xff\xfea\x00\n", api.ExitInput, "UTF-16"},
		{chatLlava, "hello\n" + strings.Repeat("next to a wall ", 200) + "\n", api.ExitInput, "/clear"},
		{chatLlava, "what is <image>?\n", api.ExitInput, "<image>"},
		{"blip2-mini", "hello\n", api.ExitModel, "there are xpipe caption, xpipe ask"},
	} {
		code, _, stderr := chat(c.model, c.stdin)
		if code != c.code || !strings.Contains(stderr, c.says) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s, %q: exit %d, %s", c.model, c.stdin[:min(40, len(c.stdin))], code, stderr)
		}
	}
	bare := filepath.Join(dir, "bare") // without a chat template
	if err := os.CopyFS(bare, os.DirFS(chatLlava)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(bare, "chat_template.jinja")); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := chat(bare, ""); code != api.ExitModel || !strings.Contains(stderr, "no chat template; there are xpipe caption, xpipe ask") {
		t.Errorf("without a template: exit %d, %s", code, stderr)
	}
}

// Without --model the command names the models of the hub's cache that can chat.
func TestChatWithoutModel(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("HF_HUB_CACHE", cache)
	says := func(want string) {
		t.Helper()
		code, _, stderr := xpipe(t, "", "chat")
		if code != api.ExitUsage || !strings.Contains(stderr, "no embedded model can chat") || !strings.Contains(stderr, want) {
			t.Errorf("exit %d, %s", code, stderr)
		}
	}
	says("xpipe pull")
	for name, from := range map[string]string{"talks": chatLlama, "sees": "../../testdata/layouts/clip-optimum"} {
		repo := filepath.Join(cache, "models--org--"+name)
		commit := strings.Repeat("a", 40)
		if err := os.CopyFS(filepath.Join(repo, "snapshots", commit), os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(repo, "refs"), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(repo, "refs", "main"), []byte(commit), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	says("these can: org/talks")
	if code, _, stderr := xpipe(t, "", "chat"); strings.Contains(stderr, "org/sees") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	code, stdout, stderr := xpipe(t, "a boat?\n", "chat", "-m", "org/talks", "--engine", "go", "--max-new-tokens", "2")
	if code != 0 || stdout == "" {
		t.Errorf("exit %d, %q, %s", code, stdout, stderr)
	}
	if got := want(t, "models"); !strings.Contains(got, "chat") {
		t.Error(got)
	}
}

// at calls what it holds at the first write.
type at struct {
	written bytes.Buffer
	call    func()
}

func (w *at) Write(p []byte) (int, error) {
	if w.call != nil {
		w.call()
		w.call = nil
	}
	time.Sleep(2 * time.Millisecond) // what a signal sets off runs before the answer is whole
	return w.written.Write(p)
}

// An interrupt stops an answer and keeps the conversation; a second one, or one at the prompt, ends.
func TestChatInterrupted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		signals int
		end     bool
	}{{"once", 1, false}, {"twice", 2, true}} {
		signals := make(chan os.Signal, 2)
		out := &at{}
		out.call = func() {
			for range c.signals {
				signals <- os.Interrupt
			}
			for len(signals) > 0 { // they are taken before the answer goes on
				time.Sleep(time.Millisecond)
			}
		}
		var errs bytes.Buffer
		env := &environment{stdin: strings.NewReader("a boat?\nis there a cat?\n/save " + filepath.Join(t.TempDir(), "x.md") + "\n"),
			stdout: out, stderr: &errs,
			interrupts: func() (<-chan os.Signal, func()) { return signals, func() {} }}
		code := execute(t.Context(), env, []string{"chat", "--engine", "go", "-m", chatLlama, "--max-new-tokens", "300"})
		answers := slices.DeleteFunc(strings.Split(out.written.String(), "\n"), func(s string) bool { return s == "" })
		switch {
		case c.end && (code != api.ExitInterrupted || len(answers) != 1):
			t.Errorf("%s: exit %d, %q, %s", c.name, code, answers, errs.String())
		case !c.end && (code != 0 || len(answers) < 2 || len(answers[0]) > 100 || errs.Len() > 0):
			t.Errorf("%s: exit %d, %q, %s", c.name, code, answers, errs.String())
		}
	}
	signals := make(chan os.Signal, 1)
	signals <- os.Interrupt
	hold, write, err := os.Pipe() // a prompt that nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	env, _, _ := testEnvironment()
	env.stdin = hold
	env.interrupts = func() (<-chan os.Signal, func()) { return signals, func() {} }
	if code := execute(t.Context(), env, []string{"chat", "--engine", "go", "-m", chatLlama}); code != api.ExitInterrupted {
		t.Errorf("at the prompt: exit %d", code)
	}
}

// Somebody at a terminal is asked, told of errors, and goes on.
func TestChatAtTerminal(t *testing.T) {
	t.Parallel()
	o := chatOptions{}
	o.model, o.name = chatLlava, "go"
	env, stdout, stderr := testEnvironment()
	p, err := o.open(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	env.stdin = strings.NewReader("/image none\x1b.png\n/image " + apple + "\nwhat?\n")
	c := &conversation{env: env, pipeline: p, asks: true, saved: map[string]bool{}}
	if err := c.begin(); err != nil {
		t.Fatal(err)
	}
	if err := c.run(t.Context()); err != errQuit || len(c.said) != 2 || stdout.Len() == 0 {
		t.Errorf("%v, %+v, %q", err, c.said, stdout)
	}
	got := stderr.String()
	if strings.Count(got, "> ") != 4 || !strings.Contains(got, "attached") || !strings.Contains(got, `none\x1b.png`) || strings.Contains(got, "\x1b") {
		t.Errorf("%q", got)
	}
}
