package hub

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// DefaultRevision is the branch that a Ref without a revision means.
const DefaultRevision = "main"

// ErrName is the kind of error of what is no name of a repository or revision.
var ErrName = errors.New("no name of a repository")

// Ref names a repository, and a state of it.
type Ref struct {
	Repo     string // org/name
	Revision string // a branch, a tag or a commit; never empty
}

func (r Ref) String() string {
	if r.Revision == DefaultRevision {
		return r.Repo
	}
	return r.Repo + "@" + r.Revision
}

// The rules of huggingface_hub's validate_repo_id, with the owner required.
var (
	namePart     = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?$`)
	revisionForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._/+-]{0,254}$`)
	commitForm   = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// ParseRef reads org/name or org/name@revision. Errors wrap ErrName.
func ParseRef(s string) (Ref, error) {
	repo, revision, given := strings.Cut(s, "@")
	if !given {
		revision = DefaultRevision
	}
	owner, name, slash := strings.Cut(repo, "/")
	switch {
	case !slash:
		return Ref{}, fmt.Errorf("%q: %w: it has the form org/name or org/name@revision", s, ErrName)
	case !namePart.MatchString(owner) || !namePart.MatchString(name) ||
		strings.Contains(repo, "--") || strings.Contains(repo, "..") || strings.HasSuffix(repo, ".git"):
		return Ref{}, fmt.Errorf("%q: %w: org and name are letters, digits, -, _ and ., at most 96, "+
			"without -- or .., and begin and end with a letter, a digit or _", s, ErrName)
	case !revisionForm.MatchString(revision) || strings.Contains(revision, "..") ||
		strings.Contains(revision, "//") || strings.HasSuffix(revision, "/"):
		return Ref{}, fmt.Errorf("%q: %w: revision %q is no branch, tag or commit", s, ErrName, revision)
	}
	return Ref{repo, revision}, nil
}

// IsCommit reports whether a revision is a commit, which never changes.
func IsCommit(revision string) bool { return commitForm.MatchString(revision) }

// Folder is the repository's in a cache.
func (r Ref) Folder() string { return "models--" + strings.ReplaceAll(r.Repo, "/", "--") }

// repoOf is the repository of a folder in the cache, and false for other folders.
func repoOf(folder string) (string, bool) {
	rest, ok := strings.CutPrefix(folder, "models--")
	if !ok {
		return "", false
	}
	owner, name, ok := strings.Cut(rest, "--")
	if !ok { // of the time when models had no owner, such as gpt2
		return "", false
	}
	ref, err := ParseRef(owner + "/" + name)
	return ref.Repo, err == nil
}
