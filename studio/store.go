package studio

import (
	"context"
	"io"
	"os"
	"time"
)

// Store keeps a studio. Whatever it acknowledged by returning nil is on the disk. Methods may be
// called at once. They return errors that wrap those of this package.
//
// Add gives a thing its ID (where it has none) and its times. Update calls change on the thing as it
// is and stores what it makes of it, with nothing in between; an error of change leaves the thing as
// it was. change has to be quick: others wait who write. IDs, workspaces and times stay whatever
// change does, but for what methods say. Things in the trash are found by their IDs, and in lists
// only where that is asked for.
type Store interface {
	AddWorkspace(context.Context, *Workspace) error
	UpdateWorkspace(ctx context.Context, id ID, change func(*Workspace) error) (*Workspace, error)
	Workspace(ctx context.Context, id ID) (*Workspace, error)
	Workspaces(context.Context) ([]Workspace, error) // by name

	// UpdateFolder moves a folder where change sets another parent.
	AddFolder(context.Context, *Folder) error
	UpdateFolder(ctx context.Context, id ID, change func(*Folder) error) (*Folder, error)
	Folder(ctx context.Context, id ID) (*Folder, error)
	Folders(ctx context.Context, workspace ID) ([]Folder, error) // all levels, by name

	// UpdateChat moves a chat where change sets another folder, or another workspace.
	AddChat(context.Context, *Chat) error
	UpdateChat(ctx context.Context, id ID, change func(*Chat) error) (*Chat, error)
	Chat(ctx context.Context, id ID) (*Chat, error)
	Chats(context.Context, ChatFilter) ([]Chat, error)
	Tags(ctx context.Context, workspace ID) ([]TagCount, error) // of chats, by name

	// AddMessage adds to the end of the chat's messages and makes the chat's Updated the present.
	// The blobs of its parts have to be there. UpdateMessage is for what is being written: see
	// Message.CheckChange; its change sees no Answer.Words, and sets them where it sets any.
	AddMessage(context.Context, *Message) error
	UpdateMessage(ctx context.Context, id ID, change func(*Message) error) (*Message, error)
	Message(ctx context.Context, id ID) (*Message, error)         // with Answer.Words
	Messages(ctx context.Context, chat ID) ([]Message, error)     // in the order in which they were added, without Answer.Words
	Attachments(ctx context.Context, chat ID) ([]Attached, error) // of all messages, in their order
	// Attachment returns a part of a workspace that has the blob, with its name and media type:
	// ErrNotFound says that nothing there has it, whoever else may.
	Attachment(ctx context.Context, workspace ID, blob Hash) (*Part, error)

	AddPersona(context.Context, *Persona) error
	UpdatePersona(ctx context.Context, id ID, change func(*Persona) error) (*Persona, error)
	Persona(ctx context.Context, id ID) (*Persona, error)
	Personas(ctx context.Context, workspace ID) ([]Persona, error) // by name

	AddPrompt(context.Context, *Prompt) error
	UpdatePrompt(ctx context.Context, id ID, change func(*Prompt) error) (*Prompt, error)
	Prompt(ctx context.Context, id ID) (*Prompt, error)
	Prompts(ctx context.Context, workspace ID) ([]Prompt, error) // pinned first, then by name

	// UpdateUpstream forgets the key where the address changes: it was not given for another server.
	AddUpstream(context.Context, *Upstream) error
	UpdateUpstream(ctx context.Context, id ID, change func(*Upstream) error) (*Upstream, error)
	Upstream(ctx context.Context, id ID) (*Upstream, error)
	Upstreams(ctx context.Context, workspace ID) ([]Upstream, error) // with those of all the studio; by name
	RemoveUpstream(ctx context.Context, id ID) error                 // at once, with its key
	SetKey(ctx context.Context, upstream ID, key Secret) error       // "" removes it
	Key(ctx context.Context, upstream ID) (Secret, error)            // ErrNotFound where it has none

	// AddJob adds the job with its rows. UpdateJob leaves them as they are; SetRow changes one.
	AddJob(context.Context, *Job) error
	UpdateJob(ctx context.Context, id ID, change func(*Job) error) (*Job, error)
	SetRow(ctx context.Context, job ID, row JobRow) error
	Job(ctx context.Context, id ID) (*Job, error)               // with rows
	Jobs(ctx context.Context, workspace ID) ([]Job, error)      // newest first; "" is all workspaces
	Unfinished(ctx context.Context) (jobs []ID, err error)      // waiting or being done, the oldest first
	Settings(ctx context.Context, scope string) ([]byte, error) // JSON that web keeps, such as a person's; nil where there is none
	SetSettings(ctx context.Context, scope string, json []byte) error

	// Trash puts a thing in the trash with all in it; Restore takes back what was put there with it;
	// Purge deletes it for good, with the blobs that nothing else has. It need not be in the trash.
	Trash(context.Context, Thing) error
	Restore(context.Context, Thing) error
	Purge(context.Context, Thing) error
	InTrash(ctx context.Context, workspace ID) ([]Trashed, error)             // newest first; "" is the workspaces themselves
	EmptyTrash(ctx context.Context, before time.Time) (purged int, err error) // what was put there before

	// PutBlob reads a content to its end and keeps it. One that no thing has a day later goes when
	// the store is opened. One that is longer than limit is refused (ErrInvalid); 0 is no limit.
	PutBlob(ctx context.Context, content io.Reader, limit int64) (*Blob, error)
	OpenBlob(ctx context.Context, blob Hash) (*os.File, error)
	// SetVector keeps the embedding of a picture, made by a model. Unembedded lists pictures that
	// have none of the model, the newest first.
	SetVector(ctx context.Context, blob Hash, model string, vector []float32) error
	Unembedded(ctx context.Context, model string, limit int) ([]Hash, error)

	Search(context.Context, Query) (*Hits, error)

	// WriteChat writes a chat as Markdown (the branch that is shown) and its files; WriteWorkspace
	// a workspace as a zip file that ReadWorkspace takes back.
	WriteChat(ctx context.Context, chat ID, to Sink) error
	WriteWorkspace(ctx context.Context, workspace ID, to io.Writer) error
	// ReadWorkspace adds the workspace of a zip file. Where one of its ID is there already, it is
	// added as another one with new IDs.
	ReadWorkspace(ctx context.Context, zip io.ReaderAt, size int64) (*Workspace, error)

	// Usage says how much is held.
	Usage(context.Context) (*Usage, error)
	Close() error
}

// ChatFilter chooses chats. They come pinned first, then the last updated first.
type ChatFilter struct {
	Workspace ID
	Folder    *ID // those right in this folder; a pointer to "" is those in none; nil is all
	Tag       string
	Archived  *bool // nil is both
	Pinned    *bool
	Limit     int // 0 is no limit
	Offset    int
}

// TagCount is a tag and how many chats have it.
type TagCount struct {
	Tag   string `json:"tag"`
	Chats int    `json:"chats"`
}

// Attached is an attachment and the message that has it.
type Attached struct {
	Message ID `json:"message"`
	Part
}

// Sink takes files, such as a folder or a zip file.
type Sink interface {
	// Create begins a file; name has slashes between folders. The one before is finished.
	Create(name string) (io.Writer, error)
}

// Usage is how much is held.
type Usage struct {
	Workspaces int   `json:"workspaces"`
	Chats      int   `json:"chats"`
	Messages   int   `json:"messages"`
	Blobs      int   `json:"blobs"`
	BlobBytes  int64 `json:"blob_bytes"`
	Bytes      int64 `json:"bytes"` // of the database
}
