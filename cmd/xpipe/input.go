package main

import (
	"image"
	"io"
	"os"

	"github.com/crossattn/xpipe/api"
)

// sources are where the pictures of a verb come from.
func (env *environment) sources() api.Sources { return api.Sources{Stdin: env.stdin} }

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
