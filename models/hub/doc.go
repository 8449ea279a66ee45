// Package hub reads the cache of Hugging Face's hub, the one that huggingface_hub, transformers and
// optimum use: what they fetched opens here without a network. Package fetch fills it.
//
// The cache holds a folder for each repository, models--org--name, with
//
//	refs/main                   the commit that a branch or tag stood for when it was last fetched
//	snapshots/COMMIT/PATH       the files of a commit, links to
//	blobs/HASH                  their contents: by SHA-256 for large files (LFS), by git's hash for others
//
// huggingface_hub 2 may keep a blob in a store that the repositories of a cache share, and link to
// it. Sources: huggingface_hub 2.4.0 (file_download.py, constants.py, utils/_shared_blobs.py,
// utils/_validators.py).
//
// Links in a cache are followed within a repository's folder only, and from there into the shared
// store.
package hub
