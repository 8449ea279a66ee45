package main

import (
	"fmt"
	"image"
	"image/color"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/spf13/cobra"
	"golang.org/x/image/colornames"
)

// sources are where the pictures of a verb come from.
func (env *environment) sources() api.Sources {
	return api.Sources{Stdin: env.stdin, Background: env.background}
}

// addPictureFlags adds the flags of all verbs that read pictures.
func (env *environment) addPictureFlags(verbs ...*cobra.Command) {
	for _, cmd := range verbs {
		cmd.Flags().Var(colorFlag{&env.background}, "background",
			"lay transparent pictures on this colour, such as white or #fafafa (default: the "+
				"colours that they hide, often black)")
	}
}

// colorFlag is a flag for a colour, by a name of CSS or as #rrggbb.
type colorFlag struct{ to **color.RGBA }

func (f colorFlag) Type() string { return "color" }

func (f colorFlag) String() string {
	if f.to == nil || *f.to == nil {
		return ""
	}
	c := **f.to
	return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B)
}

func (f colorFlag) Set(text string) error {
	c, ok := colornames.Map[strings.ToLower(text)]
	if !ok {
		n, err := strconv.ParseUint(strings.TrimPrefix(text, "#"), 16, 32)
		if err != nil || len(text) != len("#rrggbb") || text[0] != '#' {
			return fmt.Errorf("%q is no colour such as white or #fafafa%s",
				text, api.DidYouMean(text, colornames.Names))
		}
		c = color.RGBA{uint8(n >> 16), uint8(n >> 8), uint8(n), 255}
	}
	*f.to = &c
	return nil
}

// loadPicture decodes the picture at path; "-" is standard input.
func (env *environment) loadPicture(path string) (image.Image, error) {
	return env.sources().LoadPicture(path)
}

// eachLine decodes the JSON lines of a file, "-" being standard input, and gives them to take in
// order. Errors name the file and the line.
func eachLine[T any](env *environment, path string, take func(T) error) error {
	var in io.Reader = env.stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return api.WithKind(err, api.KindInput)
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return api.Inputf("%s is a folder; it should be a file with lines of JSON", path)
		}
		in = f
	}
	return api.EachLine(in, path, take)
}
