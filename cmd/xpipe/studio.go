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
	"text/tabwriter"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/studio"
	"github.com/crossattn/xpipe/studio/store"
	"github.com/spf13/cobra"
)

func newStudioCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "studio",
		Short: "Back up, restore, export and import what the studio holds",
		Example: `  xpipe studio list
  xpipe studio backup monday.zip
  xpipe studio export --workspace Labels labels.zip`,
		Long: `The studio is the page of xpipe serve. It keeps chats, prompts, personas and files in
one folder, --data. These commands copy it whole (backup, restore), or a chat or
workspace of it (export, import).

` + exitHelp,
		Args: verbsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return env.printHelp(cmd) },
	}
	cmd.AddCommand(
		newStudioListCommand(env),
		newStudioBackupCommand(env),
		newStudioRestoreCommand(env),
		newStudioExportCommand(env),
		newStudioImportCommand(env),
	)
	return cmd
}

// dataOption is the flag that says where a studio lies.
type dataOption struct{ data string }

func (o *dataOption) addFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.data, "data", "", "the studio's folder (default: xpipe/studio in XDG_DATA_HOME)")
}

// dir is the folder of a studio.
func (o *dataOption) dir(env *environment) (string, error) {
	if o.data != "" {
		return o.data, nil
	}
	getenv := env.getenv
	if getenv == nil {
		getenv = os.Getenv
	}
	dir, err := store.DefaultDir(getenv)
	return dir, api.WithKind(err, api.KindUsage)
}

// open opens a studio, also one that a server is using, if only to read.
func (o *dataOption) open(ctx context.Context, env *environment, readOnly bool) (*store.Store, error) {
	dir, err := o.dir(env)
	if err != nil {
		return nil, err
	}
	s, err := store.Open(ctx, dir, store.Options{ReadOnly: readOnly})
	if errors.Is(err, studio.ErrNotFound) {
		err = fmt.Errorf("%w; xpipe serve makes one, --data says where it is", err)
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok { // the folder that was given
		err = api.WithKind(err, api.KindInput)
	}
	return s, studioKind(err)
}

// studioKind gives errors of the studio their kinds.
func studioKind(err error) error {
	for _, row := range []struct {
		wraps error
		kind  api.Kind
	}{
		{studio.ErrNotFound, api.Kind{Name: "not_found", Exit: api.ExitInput, Status: 404}},
		{studio.ErrInvalid, api.KindInput},
		{studio.ErrNewer, api.KindInput},
		{studio.ErrDamaged, api.KindInput},
		{studio.ErrLocked, api.KindInput},
		{studio.ErrKey, api.KindInput},
		{fs.ErrExist, api.KindInput},
	} {
		if errors.Is(err, row.wraps) {
			return api.WithKind(err, row.kind)
		}
	}
	return err
}

// studioThing is a line about a thing.
func studioThing(kind studio.ThingKind, id, workspace studio.ID, name string) api.StudioThing {
	return api.StudioThing{Kind: string(kind), ID: string(id), Workspace: string(workspace), Name: name}
}

func newStudioListCommand(env *environment) *cobra.Command {
	var o dataOption
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List workspaces and chats",
		Example: `  xpipe studio list
  xpipe studio list --json
  xpipe studio list --data /srv/studio`,
		Long: `Lists the workspaces and the chats in them, with the IDs by which export takes them.
With --json each is one line {"kind","id","workspace","name"}.

` + exitHelp,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return runStudioList(cmd.Context(), env, o) },
	}
	o.addFlag(cmd)
	return cmd
}

func runStudioList(ctx context.Context, env *environment, o dataOption) (err error) {
	s, err := o.open(ctx, env, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	workspaces, err := s.Workspaces(ctx)
	if err != nil {
		return studioKind(err)
	}
	w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	print := func(e api.StudioThing, indent string) error {
		if env.json {
			return env.printJSON(e)
		}
		_, err := fmt.Fprintf(w, "%s\t%s%s\n", e.ID, indent, api.Visible(e.Name))
		return err
	}
	for _, workspace := range workspaces {
		if err := print(studioThing(studio.ThingWorkspace, workspace.ID, workspace.ID, workspace.Name), ""); err != nil {
			return err
		}
		chats, err := s.Chats(ctx, studio.ChatFilter{Workspace: workspace.ID})
		if err != nil {
			return studioKind(err)
		}
		for _, c := range chats {
			if err := print(studioThing(studio.ThingChat, c.ID, workspace.ID, c.Title), "  "); err != nil {
				return err
			}
		}
	}
	return w.Flush()
}

func newStudioBackupCommand(env *environment) *cobra.Command {
	var o dataOption
	var keys bool
	cmd := &cobra.Command{
		Use:   "backup OUT.zip",
		Short: "Copy the whole studio into one file",
		Example: `  xpipe studio backup monday.zip
  xpipe studio backup --keys safe/monday.zip
  xpipe studio backup --data /srv/studio "$(date +%F).zip"`,
		Long: `Writes everything that the studio holds, as it is at one moment, into a new file that
only its owner may read; also while xpipe serve is using it. xpipe studio restore
takes it back. The key file is left out: who has the backup cannot use the keys of
upstreams, and after a restore they have to be entered again. --keys puts it in.

With --json it prints {"file","bytes"}.

` + exitHelp,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runStudioBackup(cmd.Context(), env, o, args[0], store.BackupOptions{Keys: keys})
		},
	}
	o.addFlag(cmd)
	cmd.Flags().BoolVar(&keys, "keys", false, "put the key file in, so that the keys of upstreams can be used again")
	return cmd
}

func runStudioBackup(ctx context.Context, env *environment, o dataOption, out string, options store.BackupOptions) (err error) {
	s, err := o.open(ctx, env, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Backup(ctx, out, options); err != nil {
		return studioKind(err)
	}
	return env.wrote(out)
}

// wrote tells of a file or folder that is there now.
func (env *environment) wrote(path string) error {
	var bytes int64
	err := filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(api.StudioFile{File: api.Name(path), Bytes: bytes})
	}
	_, err = fmt.Fprintf(env.stdout, "%s: %.1f MB\n", api.Visible(path), float64(bytes)/1e6)
	return err
}

func newStudioRestoreCommand(env *environment) *cobra.Command {
	var o dataOption
	cmd := &cobra.Command{
		Use:   "restore BACKUP.zip",
		Short: "Make a studio of a backup",
		Example: `  xpipe studio restore monday.zip
  xpipe studio restore --data /srv/studio monday.zip
  xpipe studio restore --data /tmp/look monday.zip && xpipe serve --data /tmp/look`,
		Long: `Makes the studio's folder of a backup. The folder must not be there yet, or be empty.
Everything is checked first: the database, and the hash of every file. The folder has
its name only when all of it is on the disk.

With --json it prints {"file","bytes"}.

` + exitHelp,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := o.dir(env)
			if err != nil {
				return err
			}
			if err := store.Restore(cmd.Context(), args[0], dir); err != nil {
				return studioKind(err)
			}
			return env.wrote(dir)
		},
	}
	o.addFlag(cmd)
	return cmd
}

func newStudioExportCommand(env *environment) *cobra.Command {
	var o dataOption
	var chat, workspace string
	cmd := &cobra.Command{
		Use:   "export (--chat ID | --workspace ID|NAME) OUT",
		Short: "Write a chat as Markdown, or a workspace as a zip file",
		Example: `  xpipe studio export --workspace Labels labels.zip
  xpipe studio export --chat 2ahzq3mhz6dsfhd4yijmzv7cky talk
  xpipe studio list --json`,
		Long: `With --chat, makes the folder OUT with chat.md, the branch that is shown, and its
attachments in files. With --workspace, makes the file OUT, a zip file of JSON and
attachments, which xpipe studio import takes. xpipe studio list shows the IDs. What is
in the trash stays out, and so do the keys of upstreams.

With --json it prints {"file","bytes"}.

` + exitHelp,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (chat == "") == (workspace == "") {
				return usageOf(cmd, "export needs --chat ID or --workspace ID")
			}
			return runStudioExport(cmd.Context(), env, o, studio.ID(chat), workspace, args[0])
		},
	}
	o.addFlag(cmd)
	cmd.Flags().StringVar(&chat, "chat", "", "the chat's ID")
	cmd.Flags().StringVar(&workspace, "workspace", "", "the workspace's ID, or its name")
	return cmd
}

func runStudioExport(ctx context.Context, env *environment, o dataOption, chat studio.ID, workspace, out string) (err error) {
	s, err := o.open(ctx, env, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if chat != "" {
		if err := writeNew(out, func(part string) error {
			if err := os.Mkdir(part, 0o700); err != nil {
				return err
			}
			folder := &folderSink{dir: part}
			return errors.Join(s.WriteChat(ctx, chat, folder), folder.finish())
		}); err != nil {
			return studioKind(err)
		}
		return env.wrote(out)
	}
	id, err := findWorkspace(ctx, s, workspace)
	if err != nil {
		return studioKind(err)
	}
	err = writeNew(out, func(part string) error {
		f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		return errors.Join(s.WriteWorkspace(ctx, id, f), f.Sync(), f.Close())
	})
	if err != nil {
		return studioKind(err)
	}
	return env.wrote(out)
}

// writeNew makes a file or folder under another name, and gives it its own when it is whole.
func writeNew(path string, write func(part string) error) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(path), ".xpipe-export-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	part := filepath.Join(tmp, "part")
	if err := write(part); err != nil {
		return err
	}
	return os.Rename(part, path)
}

// findWorkspace is the workspace of an ID, or the only one of a name.
func findWorkspace(ctx context.Context, s *store.Store, name string) (studio.ID, error) {
	if id := studio.ID(name); id.Valid() {
		w, err := s.Workspace(ctx, id)
		if err != nil {
			return "", err
		}
		return w.ID, nil
	}
	list, err := s.Workspaces(ctx)
	if err != nil {
		return "", err
	}
	var ids []studio.ID
	var names []string
	for _, w := range list {
		if strings.EqualFold(w.Name, name) {
			ids = append(ids, w.ID)
		}
		names = append(names, w.Name)
	}
	switch len(ids) {
	case 0:
		return "", fmt.Errorf("%w: there is no workspace %q%s", studio.ErrNotFound, name, api.DidYouMean(name, names))
	case 1:
		return ids[0], nil
	}
	return "", fmt.Errorf("%w: %d workspaces are called %q; give an ID of xpipe studio list", studio.ErrInvalid, len(ids), name)
}

// folderSink is a studio.Sink that writes files into a folder.
type folderSink struct {
	dir  string
	file *os.File
}

// Create begins a file. Names are those of studio.FileName, below folders of the store's own.
func (s *folderSink) Create(name string) (io.Writer, error) {
	if err := s.finish(); err != nil {
		return nil, err
	}
	local, err := filepath.Localize(name)
	if err != nil {
		return nil, fmt.Errorf("%q is no name of a file here: %w", name, err)
	}
	path := filepath.Join(s.dir, local)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	s.file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	return s.file, err
}

func (s *folderSink) finish() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}

func newStudioImportCommand(env *environment) *cobra.Command {
	var o dataOption
	cmd := &cobra.Command{
		Use:   "import WORKSPACE.zip",
		Short: "Add a workspace that export wrote",
		Example: `  xpipe studio import labels.zip
  xpipe studio import --data /srv/studio labels.zip
  xpipe studio import labels.zip --json`,
		Long: `Adds the workspace of a zip file, all of it or nothing. Where it is there already, it
comes as a copy of its own. No xpipe serve may be using the studio meanwhile.

With --json it prints {"kind","id","workspace","name"}.

` + exitHelp,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runStudioImport(cmd.Context(), env, o, args[0])
		},
	}
	o.addFlag(cmd)
	return cmd
}

func runStudioImport(ctx context.Context, env *environment, o dataOption, path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return api.Inputf("%s is no file", path)
	}
	s, err := o.open(ctx, env, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	w, err := s.ReadWorkspace(ctx, f, info.Size())
	if err != nil {
		return studioKind(fmt.Errorf("%s: %w", path, err))
	}
	if env.json {
		return env.printJSON(studioThing(studio.ThingWorkspace, w.ID, w.ID, w.Name))
	}
	_, err = fmt.Fprintf(env.stdout, "%s\t%s\n", w.ID, api.Visible(w.Name))
	return err
}
