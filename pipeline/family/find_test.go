package family

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/graph"
)

// Each family is found by its name, and is there once.
func TestFind(t *testing.T) {
	t.Parallel()
	var names []models.Family
	for _, f := range Families {
		if row, err := Families.Find(f.Name); err != nil || row.Name != f.Name || row.Open == nil {
			t.Errorf("%s: %+v, %v", f.Name, row, err)
		}
		if slices.Contains(names, f.Name) {
			t.Errorf("%s has two rows", f.Name)
		}
		names = append(names, f.Name)
	}
	for _, table := range []Table{Families, nil, Families[:1]} {
		if row, err := table.Find("none"); row != nil || !errors.Is(err, graph.ErrUnsupported) ||
			!strings.Contains(err.Error(), "none") {
			t.Errorf("%+v, %v", row, err)
		}
	}
	if _, err := Families[:1].Find(Families[1].Name); !errors.Is(err, graph.ErrUnsupported) {
		t.Errorf("a family that a shorter table lacks: %v", err)
	}
}

// A manifest may name the table's families; the error about another one names them all, and none
// besides.
func TestKnown(t *testing.T) {
	t.Parallel()
	open := func(family string, table Table) error {
		_, err := models.OpenFS(fstest.MapFS{
			models.ManifestName: {Data: fmt.Appendf(nil,
				`{"format":1,"family":%q,"graphs":{"a":"a.onnx"}}`, family)},
			"a.onnx": {},
		}, table.Known(), models.WithoutVerification())
		return err
	}
	for _, f := range Families {
		if err := open(string(f.Name), Families); err != nil {
			t.Error(err)
		}
	}
	for _, table := range []Table{Families, Families[:2]} {
		err := open("resnet", table)
		if !errors.Is(err, graph.ErrBundle) || !strings.Contains(err.Error(), `"resnet"`) {
			t.Errorf("%v", err)
			continue
		}
		_, list, _ := strings.Cut(err.Error(), "it is one of")
		for i, f := range Families {
			if strings.Contains(list+",", " "+string(f.Name)+",") != (i < len(table)) {
				t.Errorf("of %d families, %q lists %s wrongly", len(table), list, f.Name)
			}
		}
	}
}

// A directory without a manifest is read by the layouts of the table's families alone.
func TestKnownLayouts(t *testing.T) {
	t.Parallel()
	clip, err := Families.Find("clip")
	if err != nil || len(clip.Layouts) == 0 {
		t.Fatal(clip, err)
	}
	dir := "../../testdata/layouts/clip-optimum"
	if b, err := models.Open(dir, Families.Known()); err != nil || b.Family != "clip" {
		t.Errorf("%v", err)
	} else {
		b.Close()
	}
	for _, table := range []Table{nil, {Family{Name: "clip"}}} {
		if _, err := models.Open(dir, table.Known()); !errors.Is(err, graph.ErrBundle) {
			t.Errorf("without its layouts: %v", err)
		}
	}
}
