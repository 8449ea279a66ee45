package pipeline

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/sweep"
)

// Bundles of models that have rows of pictures in their prompt caption, answer and converse as
// transformers does: with several pictures, several turns and none.
func TestConversationsOfBundles(t *testing.T) {
	t.Parallel()
	for _, name := range generative(t) {
		g := loadGolden(t, name)
		if len(g.Chat.Rows) == 0 || !sweep.KeepsName(name, 2) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, eng engine.Engine) {
				if eng.Name() != "go" && !sweep.Whole {
					t.Log("the Go engine alone; make test-full runs both")
					return
				}
				p := sharedGolden(t, g, eng)
				twelve := WithMaxNewTokens(12)
				for i, row := range g.Chat.Rows {
					got, err := p.Generate(t.Context(), []Request{row.request(t)}, twelve)
					if err != nil {
						t.Fatalf("row %d: %v", i, err)
					}
					sameIDs(t, fmt.Sprint("row ", i), got[0][0], row.IDs)
				}
				caption, answer := g.Chat.Rows[0], g.Chat.Rows[1] // by the bundle's own prompts
				img := loadImage(t, filepath.Join(familiesDir, "images", caption.Images[0]))
				text, err := p.Caption(t.Context(), img, twelve)
				if err != nil {
					t.Fatal(err)
				}
				sameIDs(t, "caption", text, caption.IDs)
				img = loadImage(t, filepath.Join(familiesDir, "images", answer.Images[0]))
				if text, err = p.Answer(t.Context(), img, "what color is the cat?", twelve); err != nil {
					t.Fatal(err)
				}
				sameIDs(t, "answer", text, answer.IDs)
				if g.Chat.Conversation.Turns != nil {
					checkConversation(t, p, g.Chat.Conversation, name != "gemma3") // whose pictures see all of themselves
				}
			})
		})
	}
}
