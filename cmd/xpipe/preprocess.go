package main

import (
	"context"
	"fmt"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
	"github.com/spf13/cobra"
)

type preprocessOptions struct {
	config string
	model  string
	out    string
	png    string
}

func newPreprocessCommand(env *environment) *cobra.Command {
	var o preprocessOptions
	cmd := &cobra.Command{
		Use:   "preprocess IMAGE|- ... [--config FILE | --model BUNDLE] [--out FILE.npy] [--png FILE.png]",
		Short: "Turn pictures into the tensor that a model takes",
		Long: `Decodes pictures and resizes, crops and normalizes them as a
preprocessor_config.json says, to the very values that Hugging Face's image
processors and Pillow give. "-" reads a picture from standard input.

--out writes the tensor, float32 [pictures,3,height,width]. --png writes the
8-bit picture just before its values are rescaled; with several pictures,
FILE-1.png, FILE-2.png and so on.

` + exitHelp,
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("config") && cmd.Flags().Changed("model") {
				return usagef("--config and --model name two configurations; give one")
			}
			return runPreprocess(cmd.Context(), env, o, args)
		},
	}
	cmd.Flags().StringVar(&o.config, "config", "", "a preprocessor_config.json")
	cmd.Flags().StringVarP(&o.model, "model", "m", mini.Default, "an embedded model's name or a bundle's folder")
	cmd.Flags().StringVarP(&o.out, "out", "o", "", "write the tensor to a .npy file")
	cmd.Flags().StringVar(&o.png, "png", "", "write the 8-bit picture to a .png file")
	return cmd
}

// preprocessLine is what preprocess --json prints.
type preprocessLine struct {
	Images []string `json:"images"`
	DType  string   `json:"dtype"`
	Shape  []int    `json:"shape"`
	Min    float32  `json:"min"`
	Max    float32  `json:"max"`
	Mean   float64  `json:"mean"`
	Out    string   `json:"out,omitempty"`
	PNG    []string `json:"png,omitempty"`
}

func runPreprocess(ctx context.Context, env *environment, o preprocessOptions, args []string) error {
	stdin := false
	for _, arg := range args {
		if arg == "-" && stdin {
			return usagef(`"-" is given twice`)
		}
		stdin = stdin || arg == "-"
	}
	p, err := o.preprocessor(env)
	if err != nil {
		return err
	}
	pictures := make([]*vision.RGB, len(args))
	for i, arg := range args {
		if err := ctx.Err(); err != nil {
			return err
		}
		img, err := env.loadPicture(arg)
		if err != nil {
			return err
		}
		// The model's picture is small; the file's is let go before the next.
		if pictures[i], err = p.Picture(img); err != nil {
			return fmt.Errorf("%s: %w", arg, err)
		}
	}
	t, err := p.Tensor(ctx, pictures...)
	if err != nil {
		return err
	}

	line := preprocessLine{Images: args, DType: t.DType().String(), Shape: t.Shape(), Out: o.out}
	line.Min, line.Max, line.Mean = spread(tensor.Data[float32](t))
	if o.out != "" {
		if err := tensor.SaveNpy(o.out, t); err != nil {
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
			if err := writeFile(name, func(w io.Writer) error { return png.Encode(w, m.Image()) }); err != nil {
				return err
			}
			line.PNG = append(line.PNG, name)
		}
	}
	if env.json {
		return env.printJSON(line)
	}
	written := append([]string{}, line.PNG...)
	if o.out != "" {
		written = append([]string{o.out}, written...)
	}
	arrow := ""
	if len(written) > 0 {
		arrow = " -> " + strings.Join(written, ", ")
	}
	_, err = fmt.Fprintf(env.stdout, "%v, %.4f to %.4f, mean %.4f%s\n", t, line.Min, line.Max, line.Mean, arrow)
	return err
}

// preprocessor reads the configuration from the file or the bundle.
func (o *preprocessOptions) preprocessor(env *environment) (*vision.Preprocessor, error) {
	if o.config != "" {
		data, err := os.ReadFile(o.config)
		if err != nil {
			return nil, inputError{err}
		}
		p, err := vision.ParseConfig(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.config, err)
		}
		return p, nil
	}
	// The bundle need not be whole: no graph of it is used.
	const name = "preprocessor_config.json"
	fsys, err := mini.FS(o.model)
	if err != nil {
		fsys = os.DirFS(o.model)
		if info, err := os.Stat(o.model); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("%w: there is no embedded model and no folder named %q; embedded are %v", models.ErrBundle, o.model, mini.Names())
		}
	}
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", models.ErrBundle, o.model, err)
	}
	p, err := vision.ParseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", models.ErrBundle, filepath.Join(o.model, name), err)
	}
	env.verbosef("configuration: %s of %s", name, o.model)
	return p, nil
}

// spread describes values, of which there is at least one.
func spread(values []float32) (low, high float32, mean float64) {
	low, high = values[0], values[0]
	for _, v := range values {
		low, high = min(low, v), max(high, v)
		mean += float64(v)
	}
	return low, high, mean / float64(len(values))
}
