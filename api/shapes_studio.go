package api

// StudioThing is a line of studio list, and what import added.
type StudioThing struct {
	Kind      string `json:"kind"` // workspace or chat
	ID        string `json:"id"`
	Workspace string `json:"workspace"` // the ID of the one it belongs to, or is
	Name      string `json:"name"`
}

// StudioFile is what studio backup, restore and export made.
type StudioFile struct {
	File  Name  `json:"file"`  // or folder
	Bytes int64 `json:"bytes"` // with all files in it
}
