package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline"
)

// command does what a line that begins with "/" says.
func (c *conversation) command(ctx context.Context, line string) error {
	name, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	needs := func(what string) error {
		if rest == "" {
			return api.Usagef("%s needs %s", name, what)
		}
		return nil
	}
	switch name {
	case "/quit", "/exit", "/bye":
		return errQuit
	case "/help", "/?":
		to := c.env.stdout
		if c.env.json {
			to = c.env.stderr
		}
		_, err := fmt.Fprintln(to, chatHelp)
		return err
	case "/clear", "/new":
		c.notef("a new conversation")
		return c.begin()
	case "/system":
		c.system = rest
		c.chat.SetSystem(rest)
		return nil
	case "/image":
		if err := needs("a file: /image PATH"); err != nil {
			return err
		}
		return c.attach(rest)
	case "/audio":
		if err := needs("a file: /audio PATH"); err != nil {
			return err
		}
		return c.hear(ctx, rest)
	case "/save":
		if err := needs("a file: /save FILE.md or FILE.json"); err != nil {
			return err
		}
		return c.save(pathOf(rest))
	}
	return api.Usagef("there is no %s%s; /help lists what there is, and a message that begins with / "+
		"has a space in front", name, api.DidYouMean(name, []string{
		"/quit", "/help", "/clear", "/new", "/system", "/image", "/audio", "/save"}))
}

// attach decodes a picture for the next message.
func (c *conversation) attach(name string) error {
	bundle := c.pipeline.Bundle()
	if !c.pipeline.Abilities().Takes(media.Pictures) {
		return fmt.Errorf("%w: model %s, of family %s, reads text alone",
			pipeline.ErrUnsupported, bundle.Name, bundle.Family)
	}
	path := pathOf(name)
	if path == "-" {
		return api.Inputf("/image takes a file; messages come from standard input")
	}
	img, err := c.env.loadPicture(path)
	if err != nil {
		return err
	}
	c.items = append(c.items, media.Picture{Image: img})
	c.names = append(c.names, api.Name(path))
	c.notef("attached %s to the next message (%d)", path, len(c.items))
	return nil
}

// hear decodes a sound for the next message.
func (c *conversation) hear(ctx context.Context, name string) error {
	path := pathOf(name)
	sound, err := loadHeard(ctx, c.pipeline, path)
	if err != nil {
		return err
	}
	c.items = append(c.items, sound)
	c.sounds = append(c.sounds, api.Name(path))
	c.notef("attached %s to the next message (%d)", path, len(c.items))
	return nil
}

// pathOf is the path of a file as it is written, dragged onto a terminal, or copied from a shell: with
// quotation marks, backslashes before spaces, or ~ for the home folder.
func pathOf(text string) string {
	if _, err := os.Lstat(text); err == nil {
		return text
	}
	path := text
	for _, mark := range []string{`"`, `'`} {
		if len(text) > 1 && strings.HasPrefix(text, mark) && strings.HasSuffix(text, mark) {
			path = text[1 : len(text)-1]
		}
	}
	if path == text && filepath.Separator == '/' {
		path = strings.ReplaceAll(path, `\ `, " ")
	}
	if below, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			path = filepath.Join(home, below)
		}
	}
	return path
}

// save writes the conversation to a file, which it makes or has made.
func (c *conversation) save(path string) error {
	t := &api.Transcript{Origin: c.origin, Messages: c.said}
	if c.system != "" {
		system := api.TranscriptMessage{Role: pipeline.RoleSystem, Content: c.system}
		t.Messages = append([]api.TranscriptMessage{system}, c.said...)
	}
	if t.Messages == nil {
		t.Messages = []api.TranscriptMessage{}
	}
	write := map[string]func(io.Writer) error{
		".json": t.WriteJSON, ".md": t.WriteMarkdown, ".markdown": t.WriteMarkdown,
	}[strings.ToLower(filepath.Ext(path))]
	if write == nil {
		return api.Usagef("/save %s: the file ends in .md or .json", path)
	}
	if _, err := os.Lstat(path); err == nil && !c.saved[path] {
		return api.Inputf("%s is there already; /save takes a new file", path)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return api.WithKind(err, api.KindInput)
	}
	if err := writeFile(path, write); err != nil {
		return err
	}
	c.saved[path] = true
	c.notef("wrote %s", path)
	return nil
}
