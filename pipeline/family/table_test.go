package family

import (
	"os"
	"strings"
	"testing"
)

// BUNDLE.md tells of every family in the table: its section, the model types that are read without
// xpipe.json, and the roles and files of each form.
func TestBundleFormatTellsOfFamilies(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../models/BUNDLE.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, f := range Families {
		if !strings.Contains(text, "\n## "+string(f.Name)+"\n") {
			t.Errorf("no section %s", f.Name)
		}
		for _, l := range f.Layouts {
			if l.Family != f.Name {
				t.Errorf("the layout of %s says family %s, not %s", l.Type, l.Family, f.Name)
			}
			if !strings.Contains(text, "`"+l.Type+"`") {
				t.Errorf("%s: nothing says that model_type %s is read", f.Name, l.Type)
			}
			for _, form := range append(l.Forms, l.Optional) {
				for _, part := range form {
					if !strings.Contains(text, "`"+part+"`") {
						t.Errorf("%s: nothing says what %s is", f.Name, part)
					}
				}
			}
		}
	}
}
