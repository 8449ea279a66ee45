-- The first schema. Released schemas never change: what is new comes in another file.
--
-- Every row belongs to a workspace, directly or through its chat, but for upstreams and settings,
-- which may be the whole studio's. id is what others call a row; n is short, for keys of this file
-- alone. Times are microseconds since 1970, UTC. author is a person: '' while there is only one.

CREATE TABLE workspaces (
	n INTEGER PRIMARY KEY,
	id TEXT NOT NULL UNIQUE,
	name TEXT NOT NULL,
	created INTEGER NOT NULL,
	updated INTEGER NOT NULL,
	trashed INTEGER
) STRICT;

CREATE TABLE folders (
	id TEXT PRIMARY KEY,
	workspace TEXT NOT NULL REFERENCES workspaces(id) ON DELETE CASCADE,
	parent TEXT NOT NULL DEFAULT '',
	name TEXT NOT NULL,
	created INTEGER NOT NULL,
	updated INTEGER NOT NULL,
	trashed INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX folders_workspace ON folders(workspace, parent);

CREATE TABLE chats (
	n INTEGER PRIMARY KEY,
	id TEXT NOT NULL UNIQUE,
	workspace TEXT NOT NULL REFERENCES workspaces(id) ON DELETE CASCADE,
	folder TEXT NOT NULL DEFAULT '',
	title TEXT NOT NULL,
	leaf TEXT NOT NULL DEFAULT '',
	persona TEXT NOT NULL DEFAULT '',
	models TEXT NOT NULL DEFAULT '[]', -- JSON
	pinned INTEGER NOT NULL DEFAULT 0,
	archived INTEGER NOT NULL DEFAULT 0,
	author TEXT NOT NULL DEFAULT '',
	created INTEGER NOT NULL,
	updated INTEGER NOT NULL,
	trashed INTEGER
) STRICT;
CREATE INDEX chats_workspace ON chats(workspace, pinned DESC, updated DESC);
CREATE INDEX chats_folder ON chats(folder) WHERE folder <> '';

CREATE TABLE tags (
	chat INTEGER NOT NULL REFERENCES chats(n) ON DELETE CASCADE,
	tag TEXT NOT NULL,
	PRIMARY KEY (chat, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_tag ON tags(tag);

-- parent is no foreign key: deleting a long chat would nest deeper than SQLite goes.
CREATE TABLE messages (
	n INTEGER PRIMARY KEY,
	id TEXT NOT NULL UNIQUE,
	chat INTEGER NOT NULL REFERENCES chats(n) ON DELETE CASCADE,
	parent TEXT NOT NULL DEFAULT '',
	role TEXT NOT NULL,
	state TEXT NOT NULL,
	error TEXT NOT NULL DEFAULT '',
	run TEXT NOT NULL DEFAULT '',
	author TEXT NOT NULL DEFAULT '',
	created INTEGER NOT NULL,
	updated INTEGER NOT NULL,
	trashed INTEGER,
	answer TEXT, -- JSON without the words; NULL for what people wrote
	parts TEXT NOT NULL -- JSON
) STRICT;
CREATE INDEX messages_chat ON messages(chat);
CREATE INDEX messages_unfinished ON messages(state) WHERE state IN ('waiting', 'writing');
CREATE INDEX messages_trashed ON messages(trashed) WHERE trashed IS NOT NULL;

-- Where the words of an answer came from: JSON, deflated.
CREATE TABLE words (
	message INTEGER PRIMARY KEY REFERENCES messages(n) ON DELETE CASCADE,
	words BLOB NOT NULL
) STRICT;

CREATE TABLE personas (
	id TEXT PRIMARY KEY,
	workspace TEXT NOT NULL REFERENCES workspaces(id) ON DELETE CASCADE,
	name TEXT NOT NULL,
	persona TEXT NOT NULL, -- JSON of the rest
	created INTEGER NOT NULL,
	updated INTEGER NOT NULL,
	trashed INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX personas_workspace ON personas(workspace);

CREATE TABLE prompts (
	id TEXT PRIMARY KEY,
	workspace TEXT NOT NULL REFERENCES workspaces(id) ON DELETE CASCADE,
	name TEXT NOT NULL,
	prompt TEXT NOT NULL, -- JSON of the rest
	created INTEGER NOT NULL,
	updated INTEGER NOT NULL,
	trashed INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX prompts_workspace ON prompts(workspace);

CREATE TABLE jobs (
	id TEXT PRIMARY KEY,
	workspace TEXT NOT NULL REFERENCES workspaces(id) ON DELETE CASCADE,
	name TEXT NOT NULL,
	state TEXT NOT NULL,
	job TEXT NOT NULL, -- JSON of the rest
	created INTEGER NOT NULL,
	updated INTEGER NOT NULL,
	trashed INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX jobs_workspace ON jobs(workspace);

CREATE TABLE job_rows (
	job TEXT NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
	number INTEGER NOT NULL,
	state TEXT NOT NULL,
	failed INTEGER NOT NULL DEFAULT 0,
	row TEXT NOT NULL, -- JSON of input and cells
	PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;

-- key is sealed with the key file.
CREATE TABLE upstreams (
	id TEXT PRIMARY KEY,
	workspace TEXT REFERENCES workspaces(id) ON DELETE CASCADE, -- NULL: for all
	name TEXT NOT NULL,
	url TEXT NOT NULL,
	models TEXT NOT NULL, -- JSON
	key BLOB,
	created INTEGER NOT NULL,
	updated INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
	scope TEXT PRIMARY KEY,
	settings TEXT NOT NULL -- JSON
) STRICT, WITHOUT ROWID;

-- The contents lie in files named by hash. pending says that one was put and has not been used yet.
CREATE TABLE blobs (
	n INTEGER PRIMARY KEY,
	hash TEXT NOT NULL UNIQUE,
	size INTEGER NOT NULL,
	created INTEGER NOT NULL,
	pending INTEGER NOT NULL DEFAULT 1
) STRICT;

-- Who has which blob: one of message, prompt and job. A blob that nobody has goes.
CREATE TABLE attachments (
	n INTEGER PRIMARY KEY,
	blob INTEGER NOT NULL REFERENCES blobs(n),
	message INTEGER REFERENCES messages(n) ON DELETE CASCADE,
	prompt TEXT REFERENCES prompts(id) ON DELETE CASCADE,
	job TEXT REFERENCES jobs(id) ON DELETE CASCADE,
	part INTEGER NOT NULL, -- its place among the message's parts
	kind TEXT NOT NULL,
	name TEXT NOT NULL,
	type TEXT NOT NULL
) STRICT;
CREATE INDEX attachments_blob ON attachments(blob, kind);
CREATE INDEX attachments_message ON attachments(message) WHERE message IS NOT NULL;
CREATE INDEX attachments_prompt ON attachments(prompt) WHERE prompt IS NOT NULL;
CREATE INDEX attachments_job ON attachments(job) WHERE job IS NOT NULL;

-- Files that no row has any more and that may still be there.
CREATE TABLE doomed (hash TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

-- Embeddings of pictures: float32, little-endian, of length 1.
CREATE TABLE vectors (
	blob INTEGER NOT NULL REFERENCES blobs(n) ON DELETE CASCADE,
	model TEXT NOT NULL,
	vector BLOB NOT NULL,
	PRIMARY KEY (blob, model)
) STRICT;

-- What is searched, by messages.n: the words of studio.Tokens, apart by spaces, and in facets words
-- that filters ask for (see index.go). The texts themselves are in messages alone, so that a row is
-- deleted by saying again what it held; secure-delete takes its words off the disk.
CREATE VIRTUAL TABLE search USING fts5(body, attached, facets, content='', tokenize='ascii');
INSERT INTO search(search, rank) VALUES ('secure-delete', 1);

-- Titles, by chats.n, likewise.
CREATE VIRTUAL TABLE titles USING fts5(title, content='', tokenize='ascii');
INSERT INTO titles(titles, rank) VALUES ('secure-delete', 1);
