package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
)

const (
	bothSenses = "../../testdata/layouts/gemma3n-transformersjs"
	heardSound = "../../testdata/audio/16.wav"
)

// A model that sees and hears takes a picture and a sound, or either, in ask, caption and chat: each
// changes the answer.
func TestPictureAndSound(t *testing.T) {
	t.Parallel()
	const figure = "../../testdata/families/images/figure1.png"
	flags := []string{"-m", bothSenses, "--engine", "go", "--max-new-tokens", "8", "--json"}
	ids := func(in string, args ...string) string {
		t.Helper()
		code, out, errors := xpipe(t, in, append(args, flags...)...)
		var line struct{ IDs json.RawMessage }
		if err := json.Unmarshal([]byte(out), &line); err != nil || code != 0 {
			t.Fatalf("%v: exit %d, %v: %s%s", args, code, err, out, errors)
		}
		return string(line.IDs)
	}
	both := ids("", "ask", figure, "is it said?", "--audio", heardSound)
	seen := ids("", "ask", figure, "is it said?")
	heard := ids("", "ask", "--audio", heardSound, "is it said?")
	if both == seen || both == heard || seen == heard {
		t.Errorf("with both %s, a picture %s, a sound %s", both, seen, heard)
	}
	talk := "/image " + figure + "\n/audio " + heardSound + "\n is it said?\n"
	if said := ids(talk, "chat"); said != both {
		t.Errorf("chat: %s, ask: %s", said, both)
	}
	if got := ids("", "ask", "--question", "is it said?", "--audio", heardSound); got != heard {
		t.Errorf("--question without a picture: %s, want %s", got, heard)
	}
	if with, without := ids("", "caption", figure, "--audio", heardSound), ids("", "caption", figure); with == without {
		t.Errorf("caption hears nothing: %s", with)
	}
	const prompt = "<image_soft_token><audio_soft_token>a photo"
	if raw := ids("", "ask", figure, "--audio", heardSound, "--raw-prompt", prompt); raw == both {
		t.Errorf("--raw-prompt: %s", raw)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"ask", figure, "what?", "--audio", heardSound, "-m", chatLlava}, api.ExitModel, "hears nothing"},
		{[]string{"ask", figure, "what?", "--audio", "missing.wav", "-m", bothSenses}, api.ExitInput, "missing.wav"},
		{[]string{"ask", figure, "what?", "--audio", "-", "-m", bothSenses}, api.ExitInput, "from a file"},
		{[]string{"ask", figure, "what?", "--audio", figure, "-m", bothSenses}, api.ExitInput, "figure1.png"},
	} {
		code, out, errors := xpipe(t, "", append(c.args, "--engine", "go")...)
		if code != c.code || !strings.Contains(errors, c.says) {
			t.Errorf("%v: exit %d, %s%s", c.args, code, out, errors)
		}
	}
}
