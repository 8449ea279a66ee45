package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// make test-full, which continuous integration runs, names each test of which go test ./... takes a
// sample: one that uses internal/sweep, or calls a helper that does.
func TestSampledTestsRunWhole(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	rule := regexp.MustCompile(`(?s)\ntest-full:.*?go test -tags slow -run '([^']+)' \\\n\s*(.*?)\n`).FindSubmatch(makefile)
	if rule == nil {
		t.Fatal("the Makefile has no test-full")
	}
	whole, packages := regexp.MustCompile(string(rule[1])), strings.Fields(string(rule[2]))
	files, err := exec.Command("git", "-C", "../..", "ls-files", "*_test.go").Output()
	if err != nil {
		t.Skip("not a checkout: ", err)
	}
	users := map[string]map[string][]string{} // by folder and function: what it names
	for _, name := range strings.Fields(string(files)) {
		dir := path.Dir(name)
		if users[dir] == nil {
			users[dir] = map[string][]string{}
		}
		addUses(t, "../../"+name, users[dir])
	}
	found := 0
	for dir, functions := range users {
		for name := range functions {
			if !strings.HasPrefix(name, "Test") || !sampled(functions, name, map[string]bool{}) {
				continue
			}
			found++
			if !slices.Contains(packages, "./"+dir) || !whole.MatchString(name) {
				t.Errorf("%s: %s takes a sample, and make test-full does not run it whole", dir, name)
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d tests take a sample", found)
	}
}

// samples stands for anything of package sweep.
const samples = "sweep."

// addUses notes what each function of a file names: its package's own names, and package sweep.
func addUses(t *testing.T, file string, uses map[string][]string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if os.IsNotExist(err) {
		return // removed, and not yet committed
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range parsed.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			uses[d.Name.Name] = append(uses[d.Name.Name], identifiers(d.Body)...)
		case *ast.GenDecl: // export_test.go names helpers anew
			for _, s := range d.Specs {
				if v, ok := s.(*ast.ValueSpec); ok && len(v.Values) == len(v.Names) {
					for i, name := range v.Names {
						uses[name.Name] = append(uses[name.Name], identifiers(v.Values[i])...)
					}
				}
			}
		}
	}
}

func identifiers(n ast.Node) []string {
	var names []string
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			names = append(names, n.Name)
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "sweep" {
				names = append(names, samples)
			}
		}
		return true
	})
	return names
}

// sampled says whether a function uses package sweep, itself or by functions that it names.
func sampled(uses map[string][]string, name string, seen map[string]bool) bool {
	if seen[name] {
		return false
	}
	seen[name] = true
	for _, used := range uses[name] {
		if used == samples || sampled(uses, used, seen) {
			return true
		}
	}
	return false
}
