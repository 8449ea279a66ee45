package main

import (
	"context"
	"fmt"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
	"github.com/spf13/cobra"
)

type preprocessOptions struct {
	config string
	model  string
	outs   []string // files to write
	png    string   // the deprecated --png

	npy string // of outs, the one that ends in .npy
}

func newPreprocessCommand(env *environment) *cobra.Command {
	var o preprocessOptions
	cmd := &cobra.Command{
		Use:   "preprocess IMAGE|- ... [--config FILE | --model NAME|DIR] [--out FILE.npy|FILE.png]",
		Short: "Turn pictures into the tensor that a model takes",
		Example: `  xpipe preprocess photo.jpg --out photo.npy
  xpipe preprocess *.jpg --model clip-mini -o all.npy -o seen.png
  xpipe preprocess photo.jpg --config preprocessor_config.json --json`,
		Long: `Decodes pictures and resizes, crops and normalizes them as a
preprocessor_config.json says (or the processor_config.json of transformers 5),
to the very values that Hugging Face's image processors and Pillow give. "-"
reads a picture from standard input.

--out FILE.npy writes the tensor, float32 [pictures,3,height,width], and --out
FILE.png the 8-bit picture just before its values are rescaled; of several
pictures, FILE-1.png, FILE-2.png and so on. Give both to have both.

` + exitHelp,
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("config") && env.modelGiven(cmd) {
				return api.Usagef("--config and --model name two configurations; give one")
			}
			if err := o.sortOuts(); err != nil {
				return err
			}
			return runPreprocess(cmd.Context(), env, o, args)
		},
	}
	addModelFlag(cmd, &o.model, mini.Default)
	f := cmd.Flags()
	f.StringVar(&o.config, "config", "", "a preprocessor_config.json, or a processor_config.json of\ntransformers 5")
	f.StringArrayVarP(&o.outs, "out", "o", nil,
		"file to write: .npy for the tensor, .png for the picture (repeat)")
	f.StringVar(&o.png, "png", "", "as --out FILE.png")
	f.MarkHidden("png")
	return cmd
}

// sortOuts takes the files to write apart by their suffixes.
func (o *preprocessOptions) sortOuts() error {
	for _, out := range o.outs {
		var at *string
		switch strings.ToLower(filepath.Ext(out)) {
		case ".npy":
			at = &o.npy
		case ".png":
			at = &o.png
		default:
			return api.Usagef("--out %s: the file ends in .npy or .png", out)
		}
		if *at != "" {
			return api.Usagef("--out %s: %s is such a file already", out, *at)
		}
		*at = out
	}
	return nil
}

func runPreprocess(
	ctx context.Context, env *environment, o preprocessOptions, args []string,
) error {
	stdin := false
	for _, arg := range args {
		if arg == "-" && stdin {
			return api.Usagef(`"-" is given twice`)
		}
		stdin = stdin || arg == "-"
	}
	args, err := api.Expand(args...)
	if err != nil {
		return err
	}
	p, err := o.preprocessor(env)
	if err != nil {
		return err
	}
	var pictures []*vision.RGB // as small as the model's; the files' are let go one by one
	for file := range env.sources().Files(args...) {
		if err := ctx.Err(); err != nil {
			return err
		}
		img, err := file.Load()
		if err != nil {
			return err
		}
		picture, err := p.Picture(img)
		if err != nil {
			return fmt.Errorf("%s: %w", file.Name, err)
		}
		pictures = append(pictures, picture)
	}
	t, err := p.Tensor(ctx, pictures...)
	if err != nil {
		return err
	}

	line := api.NewPreprocessed(args, t)
	line.Out = api.Name(o.npy)
	if o.npy != "" {
		if err := tensor.SaveNpy(o.npy, t); err != nil {
			return err
		}
	}
	if o.png != "" {
		for i, m := range pictures {
			name := o.png
			if len(pictures) > 1 {
				ext := filepath.Ext(name)
				name = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(name, ext), i+1, ext)
			}
			err := writeFile(name, func(w io.Writer) error { return png.Encode(w, m.Image()) })
			if err != nil {
				return err
			}
			line.PNG = append(line.PNG, api.Name(name))
		}
	}
	if env.json {
		return env.printJSON(line)
	}
	var written []string
	if o.npy != "" {
		written = append(written, api.Visible(o.npy))
	}
	for _, name := range line.PNG {
		written = append(written, api.Visible(string(name)))
	}
	arrow := " (not kept: --out FILE.npy or FILE.png writes it)"
	if len(written) > 0 {
		arrow = " -> " + strings.Join(written, ", ")
	}
	_, err = fmt.Fprintf(env.stdout, "%v, %.4f to %.4f, mean %.4f%s\n",
		t, line.Min, line.Max, line.Mean, arrow)
	return err
}

// preprocessor reads the configuration from the file or the bundle.
func (o *preprocessOptions) preprocessor(env *environment) (*vision.Preprocessor, error) {
	if o.config != "" {
		data, err := os.ReadFile(o.config)
		if err != nil {
			return nil, api.WithKind(err, api.KindInput)
		}
		p, err := vision.ParseConfig(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.config, err)
		}
		return p, nil
	}
	p, file, err := api.OpenPreprocessor(o.model)
	if err == nil {
		env.verbosef("configuration: %s of %s", file, o.model)
	}
	return p, err
}
