package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/index"
	"github.com/spf13/cobra"
)

type findOptions struct {
	modelOptions
	storeOption
	api.Sought
	like, out       string
	all, duplicates bool
}

func newFindCommand(env *environment) *cobra.Command {
	var o findOptions
	cmd := &cobra.Command{
		Use:   "find [TEXT]",
		Short: "Find pictures, pages and sounds of a library by words or by a picture",
		Example: `  xpipe find "a dog on a beach"
  xpipe find --like photo.jpg --after 2024-06 -o found.html
  xpipe find invoice --in pages --where ~/papers --json`,
		Long: `Searches the library that xpipe index made: by what pictures show, and by the words of
names, pages, speech and of what was described and read. Both lists are joined by
their ranks, so that a hit near the top of either is near the top (reciprocal rank
fusion); --explain shows where each hit stands in them, and its cosine and BM25.
--like finds pictures that look like one, with TEXT or without.

--in keeps to photos, pages or sounds, --after to what was taken, or changed, at a date
or later, and --where to a file, a folder or a pattern such as '*/2024/*'. --all lists
what the library holds. --duplicates groups pictures that are nearly equal: the same
one in another size or format, lighter, or compressed again.

-o FILE.html writes a page with small pictures. With --json each hit is one line
{"path","kind","score","start","end"}, with "page", "time", "latitude", "longitude",
"text", "group" and "explain" where there are such. kind is photo, page or sound,
score is from 0 to 1, and start and end are seconds in a sound, else null.

` + exitHelp,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				if o.Text = strings.TrimSpace(args[0]); o.Text == "" {
					return usageOf(cmd, "the text is empty")
				}
			}
			asked := o.Text != "" || o.like != ""
			switch {
			case asked && (o.all || o.duplicates) || o.all && o.duplicates:
				return usageOf(cmd, "a text or --like, --all and --duplicates ask for different things; give one")
			case !asked && !o.all && !o.duplicates:
				return usageOf(cmd, "find needs a text, --like PICTURE, --all or --duplicates")
			case o.Limit < 0:
				return usageOf(cmd, "--limit must be 0 (all) or more")
			case o.out != "" && !strings.EqualFold(filepath.Ext(o.out), ".html"):
				return usageOf(cmd, "--out %s: the file ends in .html", o.out)
			}
			if !asked && !cmd.Flags().Changed("limit") {
				o.Limit = 0
			}
			if !env.modelGiven(cmd) {
				o.model = ""
			}
			return runFind(cmd.Context(), env, o)
		},
	}
	o.modelOptions.addFlags(cmd, "")
	cmd.Flags().Lookup("model").Usage = "the library's model, if it lies elsewhere now: a name, or a folder"
	o.storeOption.addFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&o.like, "like", "", "a picture that hits look like; - is standard input")
	f.StringSliceVar(&o.In, "in", nil, "photos, pages or sounds (default: all)")
	f.StringVar(&o.After, "after", "", "only what was taken at a date or later, such as 2024-05-31 or 2024")
	f.StringVar(&o.Where, "where", "", "only what lies at a path, in or below a folder, or fits a pattern")
	f.IntVar(&o.Limit, "limit", 20, "the best so many hits; 0: all")
	f.BoolVar(&o.Explain, "explain", false, "show where each hit stands in each list")
	f.BoolVar(&o.all, "all", false, "list what the library holds")
	f.BoolVar(&o.duplicates, "duplicates", false, "group pictures that are nearly equal")
	f.VarP((*pathFlag)(&o.out), "out", "o", "write a page, .html")
	return cmd
}

func runFind(ctx context.Context, env *environment, o findOptions) error {
	path, err := o.file(env)
	if err != nil {
		return err
	}
	store, err := index.Open(ctx, path)
	if err != nil {
		return err
	}
	defer store.Close()
	var hits []api.Hit
	if o.duplicates {
		hits, err = store.Duplicates(ctx, o.Sought)
	} else {
		query := index.Query{Sought: o.Sought}
		if err := o.vectors(ctx, env, store, &query); err != nil {
			return err
		}
		hits, err = store.Find(ctx, query)
	}
	if err != nil {
		return err
	}
	if o.out != "" {
		err := writeFile(o.out, func(w io.Writer) error {
			return index.WriteHTML(ctx, w, o.title(), hits, env.sources())
		})
		if err == nil && !env.json {
			fmt.Fprintf(env.stderr, "wrote %s: %d hits\n", api.Visible(o.out), len(hits))
		}
		return err
	}
	for _, hit := range hits {
		if env.json {
			err = env.printJSON(hit)
		} else {
			_, err = fmt.Fprintln(env.stdout, lineOf(hit))
		}
		if err != nil {
			return err
		}
	}
	if len(hits) == 0 {
		env.warnf("nothing is found")
	}
	return nil
}

// title is what the page of hits is called.
func (o *findOptions) title() string {
	switch {
	case o.duplicates:
		return "Pictures that are nearly equal"
	case o.all:
		return "All of the library"
	case o.Text == "":
		return "Like " + o.like
	case o.like == "":
		return o.Text
	}
	return o.Text + ", like " + o.like
}

// vectors makes those of what is asked, by the library's model.
func (o *findOptions) vectors(ctx context.Context, env *environment, store *index.Store, q *index.Query) error {
	if o.Text == "" && o.like == "" || store.Model().Dim == 0 {
		return nil
	}
	p, model, err := o.openEmbedder(ctx, env, store)
	if err == nil {
		defer p.Close()
		if held := store.Model(); model.Hash != held.Hash {
			err = fmt.Errorf("%w: they were made by %s, of another state than %s is in; xpipe index --reembed makes them anew",
				index.ErrOtherModel, held.Name, model.Name)
		}
	}
	if err != nil {
		if o.like != "" || errors.Is(err, context.Canceled) {
			return err
		}
		env.warnf("pictures are found by their words alone: %w", err)
		return nil
	}
	if o.Text != "" {
		rows, err := p.EmbedTexts(ctx, o.Text)
		if err != nil {
			return err
		}
		q.TextVector = rows[0]
	}
	if o.like != "" {
		img, err := env.loadPicture(o.like)
		if err != nil {
			return err
		}
		rows, err := p.EmbedImages(ctx, img)
		if err != nil {
			return fmt.Errorf("%s: %w", o.like, err)
		}
		q.LikeVector = rows[0]
	}
	return nil
}

// lineOf is a hit as people read it.
func lineOf(h api.Hit) string {
	line := ""
	if h.Group > 0 {
		line = fmt.Sprintf("%d  ", h.Group)
	}
	if h.Score > 0 {
		line += fmt.Sprintf("%.3f  ", h.Score)
	}
	line += api.Visible(string(h.Path))
	if h.Page > 0 {
		line += fmt.Sprintf(", page %d", h.Page)
	}
	if h.Start != nil && h.End != nil {
		line += fmt.Sprintf(" [%s --> %s]", api.Clock(*h.Start), api.Clock(*h.End))
	}
	if e := h.Explain; e != nil {
		for _, list := range []struct {
			name string
			rank *api.Rank
		}{{"text", e.Text}, {"like", e.Like}, {"words", e.Words}} {
			if list.rank != nil {
				line += fmt.Sprintf("  %s #%d %.3f", list.name, list.rank.Rank, list.rank.Value)
			}
		}
	}
	if h.Text != "" {
		line += "  " + api.Printable(h.Text)
	}
	return line
}

// servedLibrary is a library as a server searches it.
type servedLibrary struct{ *index.Store }

func (l servedLibrary) Model() (name, hash string) {
	if err := l.Refresh(context.Background()); err != nil {
		return "", ""
	}
	m := l.Store.Model()
	return m.Name, m.Hash
}

func (l servedLibrary) Find(ctx context.Context, sought api.Sought, text, like []float32) ([]api.Hit, error) {
	return l.Store.Find(ctx, index.Query{Sought: sought, TextVector: text, LikeVector: like})
}
