package house

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// costDoc has the table of what a program pays.
const costDoc = "../../docs/go.md"

// cost is a row of the table.
type cost struct {
	imports           []string // packages of this module
	packages, modules int      // with those of the standard library; beside this module
	bytes, stripped   float64  // of a small program, in MB
}

var costRow = regexp.MustCompile("(?m)^\\| (`[a-z0-9`/, -]+`) \\| (\\d+) \\| (\\d+) \\| ([\\d.]+) \\| ([\\d.]+) \\|$")

// costs reads the table.
func costs(t *testing.T) []cost {
	t.Helper()
	doc, err := os.ReadFile(costDoc)
	if err != nil {
		t.Fatal(err)
	}
	var rows []cost
	for _, m := range costRow.FindAllStringSubmatch(string(doc), -1) {
		var c cost
		for name := range strings.SplitSeq(m[1], ", ") {
			c.imports = append(c.imports, strings.Trim(name, "`"))
		}
		c.packages, _ = strconv.Atoi(m[2])
		c.modules, _ = strconv.Atoi(m[3])
		c.bytes, _ = strconv.ParseFloat(m[4], 64)
		c.stripped, _ = strconv.ParseFloat(m[5], 64)
		rows = append(rows, c)
	}
	if len(rows) < 6 {
		t.Fatalf("%s has %d rows of costs", costDoc, len(rows))
	}
	return rows
}

// A program carries the modules that the documentation says, and packages within 5 % of it.
func TestCosts(t *testing.T) {
	t.Parallel()
	modules := required(t)
	deps := map[string][]string{}
	for _, p := range packages(t) {
		deps[strings.TrimPrefix(p.ImportPath, module)] = append(p.Deps, p.ImportPath)
	}
	for _, c := range costs(t) {
		carried, from := map[string]bool{}, map[string]bool{}
		for _, name := range c.imports {
			if deps[name] == nil {
				t.Errorf("there is no package %s", name)
			}
			for _, dep := range deps[name] {
				carried[dep] = true
				if m := moduleOf(modules, dep); m != "" {
					from[m] = true
				}
			}
		}
		if n := len(carried); n*100 > c.packages*105 || n*100 < c.packages*95 {
			t.Errorf("%v: %d packages, the documentation says %d", c.imports, n, c.packages)
		}
		if n := len(from); n != c.modules {
			t.Errorf("%v: %d modules, the documentation says %d: %v", c.imports, n, c.modules, from)
		}
	}
}

// required lists the modules of go.mod.
func required(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v\S+`).FindAllStringSubmatch(string(data), -1) {
		paths = append(paths, m[1])
	}
	return paths
}

// moduleOf returns the module of a package; "" for the standard library and this module.
func moduleOf(modules []string, path string) string {
	i := slices.IndexFunc(modules, func(m string) bool { return path == m || strings.HasPrefix(path, m+"/") })
	if i < 0 {
		return ""
	}
	return modules[i]
}

func (c cost) String() string {
	return fmt.Sprintf("%v: %d packages, %d modules, %.1f MB, %.1f stripped",
		c.imports, c.packages, c.modules, c.bytes, c.stripped)
}
