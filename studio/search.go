package studio

import "time"

// Query says what is looked for. Fields that are empty ask for nothing. Words and Like together
// find messages that have both.
type Query struct {
	// Words are what people type: all have to be in the message (or the text or name of its
	// attachments), "in quotes" in a row, -not at all; the last may be the beginning of one.
	Words string
	// Like is an embedding, of a picture ("like this one") or of a text ("has a picture of ...").
	// Messages that have pictures are found, the likest first.
	Like      []float32
	LikeModel string // what made it; pictures are compared that have a vector of this model

	// Workspaces are those in which is searched; nil is all. An empty list that is not nil finds
	// nothing.
	Workspaces []ID
	Folder     ID // with the folders in it
	Chat       ID
	Role       Role
	Model      string // of answers
	Persona    ID     // of answers
	Author     ID
	Kind       Kind   // messages that have an attachment of this kind
	Tag        string // of the chat
	From       time.Time
	Until      time.Time // before this
	// Archived says that archived chats are searched, too. What is in the trash never is.
	Archived bool

	Limit  int // 0 is 50
	Offset int
}

// Hit is a message, or a chat by its title (then Message is "").
type Hit struct {
	Workspace ID      `json:"workspace"`
	Chat      ID      `json:"chat"`
	Title     string  `json:"title"` // of the chat
	Message   ID      `json:"message,omitempty"`
	Role      Role    `json:"role,omitempty"`
	Model     string  `json:"model,omitempty"`
	Context   []Piece `json:"context,omitempty"`  // the text around the hit, or its beginning
	Blob      Hash    `json:"blob,omitempty"`     // the picture that is like
	Likeness  float64 `json:"likeness,omitempty"` // cosine, -1 to 1
	// Score orders hits, the greatest first. It compares hits of one search alone.
	Score float64   `json:"score"`
	At    time.Time `json:"at"`
}

// Piece is a stretch of text; Hit says that it was looked for.
type Piece struct {
	Text string `json:"text"`
	Hit  bool   `json:"hit,omitempty"`
}

// Hits are what a search found.
type Hits struct {
	Hits []Hit `json:"hits"`
	More bool  `json:"more"` // there are others after these
}
