package api

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/crossattn/xpipe/pipeline"
)

// Regions are the regions of pictures in one file.
type Regions struct {
	path   string
	byName map[string]*pipeline.Regions
}

// LoadRegions reads a file of regions, with the formats and errors of pipeline.LoadRegions.
func LoadRegions(path string) (*Regions, error) {
	byName, err := pipeline.LoadRegions(path)
	if err != nil {
		return nil, err
	}
	return &Regions{path, byName}, nil
}

// Of returns the regions of a picture, by its file name with or without ending. In a file of one
// picture's regions the name does not matter. Errors wrap pipeline.ErrRegions.
func (r *Regions) Of(image string) (*pipeline.Regions, error) {
	base := filepath.Base(image)
	for _, name := range []string{image, base, strings.TrimSuffix(base, filepath.Ext(base))} {
		if found := r.byName[name]; found != nil {
			return found, nil
		}
	}
	if len(r.byName) == 1 {
		for _, only := range r.byName {
			return only, nil
		}
	}
	return nil, fmt.Errorf("%w: %s has no picture %q among its %d",
		pipeline.ErrRegions, r.path, image, len(r.byName))
}
