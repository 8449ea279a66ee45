//go:build slow

package house

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// uses are what small programs do with the packages they import, so that the linker keeps those.
var uses = map[string]string{
	"tokenize": `t, err := tokenize.New(nil)
	fmt.Println(err)
	if err == nil {
		fmt.Println(t.Encode(os.Args[1]))
	}`,
	"vision": `fmt.Println(vision.DecodeFile(os.Args[1]))`,
	"document/pdf": `d, err := pdf.Open(context.Background(), os.Args[1], pdf.Options{})
	fmt.Println(err)
	if err == nil {
		fmt.Println(d.Page(context.Background(), 1))
	}`,
	"pipeline":               `open(pipeline.Open(context.Background(), os.Args[1]))`,
	"models/mini/blip2-mini": `open(pipeline.OpenFS(context.Background(), blip2mini.FS()))`,
	"models/mini":            `files, _ := mini.FS(mini.Default); open(pipeline.OpenFS(context.Background(), files))`,
	"api":                    `open(api.Open(context.Background(), os.Args[1]))`,
}

const opens = `
func open(p *pipeline.Pipeline, err error) {
	fmt.Println(err)
	status, _ := os.ReadFile("/proc/self/status")
	os.Stdout.Write(status)
	if len(os.Args) > 2 {
		fmt.Println(p.CaptionFile(context.Background(), os.Args[2]))
	}
}
`

// Small programs have the size that the documentation says, and one that opened blip2-mini its
// resident memory.
func TestCostsOfPrograms(t *testing.T) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("the figures are of Linux on x86-64")
	}
	for _, c := range costs(t) {
		last := c.imports[len(c.imports)-1]
		var b strings.Builder
		b.WriteString("package main\n\nimport (\n\t\"fmt\"\n\t\"os\"\n")
		imports := c.imports
		if last == "api" {
			imports = []string{"api", "pipeline"}
		}
		pipelined := last != "tokenize" && last != "vision" && last != "document/pdf"
		if pipelined || last == "document/pdf" {
			b.WriteString("\t\"context\"\n")
		}
		for _, name := range imports {
			b.WriteString("\t\"" + module + name + "\"\n")
		}
		b.WriteString(")\n\nfunc main() {\n\t" + uses[last] + "\n}\n")
		if pipelined {
			b.WriteString(opens)
		}
		dir := t.TempDir()
		source, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "program")
		if err := os.WriteFile(source, []byte(b.String()), 0o666); err != nil {
			t.Fatal(err)
		}
		for flags, want := range map[string]float64{"": c.bytes, "-s -w": c.stripped} {
			cmd := exec.Command("go", "build", "-buildvcs=false", "-ldflags", flags, "-o", program, source)
			cmd.Dir = "../.."
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %v\n%s\n%s", c.imports, err, out, b.String())
			}
			info, err := os.Stat(program)
			if err != nil {
				t.Fatal(err)
			}
			got := float64(info.Size()) / 1e6
			t.Logf("%v %q: %.1f MB", c.imports, flags, got)
			if got > want*1.05 || got < want*0.9 {
				t.Errorf("%v %q: %.1f MB, the documentation says %.1f", c.imports, flags, got, want)
			}
		}
		var arg string
		switch last {
		case "models/mini/blip2-mini":
		case "pipeline":
			arg = "../../models/mini/blip2-mini"
		default:
			continue
		}
		out, err := exec.Command(program, arg).Output()
		m := regexp.MustCompile(`VmRSS:\s*(\d+) kB`).FindSubmatch(out)
		if err != nil || m == nil {
			t.Fatalf("%v: %v\n%s", c.imports, err, out)
		}
		got, _ := strconv.Atoi(string(m[1]))
		t.Logf("%v: %d MB resident after opening blip2-mini", c.imports, got/1000)
		if got > residentMost*1000 {
			t.Errorf("%v: %d kB resident, the documentation says %d MB at most", c.imports, got, residentMost)
		}
	}
}

// residentMost is what docs/go.md says of memory after opening blip2-mini, in MB.
const residentMost = 150
