package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/crossattn/xpipe/studio"
)

// childVariable makes the test program another one: its value is what it does, with a folder.
const childVariable = "XPIPE_STORE_CHILD"

var children = map[string]func(dir string) error{"write": writeUntilKilled}

func TestMain(m *testing.M) {
	if child := children[os.Getenv(childVariable)]; child != nil {
		if err := child(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childVariable+"="+name)
	cmd.Stderr = os.Stderr
	return cmd
}

// writeUntilKilled writes to a store of one chat and says on standard output what was acknowledged.
func writeUntilKilled(dir string) error {
	ctx := context.Background()
	s, err := Open(ctx, dir, Options{})
	if err != nil {
		return err
	}
	list, err := s.Workspaces(ctx)
	if err != nil {
		return err
	}
	chats, err := s.Chats(ctx, studio.ChatFilter{Workspace: list[0].ID})
	if err != nil {
		return err
	}
	fmt.Println("begin")
	for i := 0; ; i++ {
		content := fmt.Sprint(i, strings.Repeat("x", rand.N(20000)), rand.Int())
		blob, err := s.PutBlob(ctx, strings.NewReader(content), 0)
		if err != nil {
			return err
		}
		m := studio.Message{Chat: chats[0].ID, Role: studio.RoleUser, State: studio.Done, Parts: []studio.Part{
			studio.TextPart(fmt.Sprint("number ", i)), {Kind: studio.KindFile, Blob: blob.Hash, Name: "x"}}}
		if err := s.AddMessage(ctx, &m); err != nil {
			return err
		}
		fmt.Println("message", m.ID, blob.Hash)
		if i%5 == 4 { // some go again
			fmt.Println("purging", m.ID)
			if err := s.Purge(ctx, studio.Thing{Kind: studio.ThingMessage, ID: m.ID}); err != nil {
				return err
			}
			fmt.Println("purged", m.ID, blob.Hash)
		}
		a := studio.Message{Chat: chats[0].ID, Role: studio.RoleAssistant, State: studio.Writing, Answer: &studio.Answer{Model: "m"}}
		if err := s.AddMessage(ctx, &a); err != nil {
			return err
		}
		_, err = s.UpdateMessage(ctx, a.ID, func(m *studio.Message) error {
			m.State, m.Parts = studio.Done, []studio.Part{studio.TextPart(fmt.Sprint("answer ", i))}
			return nil
		})
		if err != nil {
			return err
		}
		fmt.Println("answer", a.ID)
	}
}

// kills is how often the test kills; the build tag slow makes it 50.
var kills = 5

// A process that writes is killed at random moments: nothing that it acknowledged is lost, what it
// purged stays away, and the store is whole.
func TestKills(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ok(b.Close())
	said := map[string]string{}
	acknowledged := 0
	for range kills {
		cmd := child("write", b.dir)
		out, err := cmd.StdoutPipe()
		b.ok(err)
		b.ok(cmd.Start())
		lines := bufio.NewScanner(out)
		if !lines.Scan() {
			t.Fatal("the process that writes does not begin")
		}
		timer := time.AfterFunc(rand.N(300*time.Millisecond), func() { cmd.Process.Kill() })
		for lines.Scan() {
			f := strings.Fields(lines.Text())
			switch f[0] {
			case "message":
				said[f[1]] = f[2]
			case "purging": // from here on it may be there or not
				delete(said, f[1])
			case "purged":
				said[f[1]] = "purged " + f[2]
			case "answer":
				said[f[1]] = ""
			}
			acknowledged++
		}
		timer.Stop()
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() >= 0 {
			t.Fatalf("the process ended by itself: %v", err)
		}
		b.open()
		b.ok(b.check())
		for id, what := range said {
			m, err := b.Message(t.Context(), studio.ID(id))
			hash, purged := strings.CutPrefix(what, "purged ")
			if purged {
				if _, blob := b.OpenBlob(t.Context(), studio.Hash(hash)); !errors.Is(err, studio.ErrNotFound) || !errors.Is(blob, studio.ErrNotFound) {
					t.Errorf("what was purged is there: %v, %v", err, blob)
				}
				continue
			}
			if err != nil {
				t.Errorf("what was acknowledged is lost: %v", err)
			} else if what != "" && string(m.Parts[1].Blob) != what || m.State != studio.Done {
				t.Errorf("what was acknowledged has changed: %+v", m)
			}
		}
		b.ok(b.Close())
	}
	t.Logf("%d kills, %d things acknowledged", kills, acknowledged)
}
