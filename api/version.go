package api

import (
	"runtime"
	"runtime/debug"
)

// Version is what version prints: which build of the program this is.
type Version struct {
	Version string   `json:"version"`
	Commit  string   `json:"commit,omitempty"` // "" where the build does not know it
	Go      string   `json:"go"`               // version that built the program
	OS      string   `json:"os"`
	Arch    string   `json:"arch"`
	Engines []string `json:"engines"` // by name, those that need a library too
}

// NewVersion describes this program; version is what it calls itself.
func NewVersion(version string) Version {
	v := Version{
		Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH,
		Engines: EngineNames(),
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Commit = s.Value
			}
		}
	}
	return v
}
