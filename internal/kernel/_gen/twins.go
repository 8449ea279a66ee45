package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"strings"
)

// declared is a function of the assembly as its Go declaration has it.
type declared struct {
	name   string
	params []string // "name type" each
	args   []string // names alone
	result string   // type; "" without one
}

func (d declared) String() string {
	return strings.TrimSpace(fmt.Sprintf("(%s) %s", strings.Join(d.params, ", "), d.result))
}

// call returns Go code that calls f with arguments and returns what it returns.
func (d declared) call(f string, args ...string) string {
	code := fmt.Sprintf("%s(%s)", f, strings.Join(args, ", "))
	if d.result != "" {
		code = "return " + code
	}
	return code
}

// writeTwins writes the Go files that stand beside a file of declarations, x_amd64.go, which avo
// wrote just now: x_noasm.go, and x_vector.go without 512 in its name.
func writeTwins(stubs string, k kernels) error {
	header, functions, err := readStubs(stubs)
	if err != nil {
		return err
	}
	base, ok := strings.CutSuffix(stubs, "_amd64.go")
	if !ok {
		return fmt.Errorf("-stubs %s does not end in _amd64.go", stubs)
	}
	if err := writeGo(base+"_noasm.go", header+noAssembly(functions, k.wide || k.vex)); err != nil || !k.twin {
		return err
	}
	return writeGo(strings.TrimSuffix(base, "512")+"_vector.go", header+choices(functions))
}

// noAssembly returns the functions for builds without assembly, which never call them: they panic.
// Those for AVX-512 are called if the tag simulate has their text interpreted.
func noAssembly(functions []declared, wide bool) string {
	var b strings.Builder
	constraint := "!amd64 || noasm"
	if wide {
		constraint += " || simulate"
	}
	fmt.Fprintf(&b, "//go:build %s\n\npackage kernel\n", constraint)
	for _, d := range functions {
		body := "panic(noAssembly)"
		if wide {
			body = d.call("instead", append([]string{fmt.Sprintf("%q", d.name)}, d.args...)...)
		}
		fmt.Fprintf(&b, "\nfunc %s%v {\n%s\n}\n", d.name, d, body)
	}
	return b.String()
}

// choices returns a function xVector for each xAVX512 and xAVX2.
func choices(functions []declared) string {
	var b strings.Builder
	b.WriteString("package kernel\n\n")
	b.WriteString("// Each function is the assembly of that name for the widest vectors in use. They may be\n")
	b.WriteString("// called only if avx2 returns true.\n")
	for _, d := range functions {
		name := strings.TrimSuffix(d.name, "AVX512")
		wide, narrow := d.call(name+"AVX512", d.args...), d.call(name+"AVX2", d.args...)
		fmt.Fprintf(&b, "\nfunc %sVector%v {\n", name, d)
		if d.result == "" {
			fmt.Fprintf(&b, "if avx512() {\n%s\n} else {\n%s\n}\n}\n", wide, narrow)
		} else {
			fmt.Fprintf(&b, "if avx512() {\n%s\n}\n%s\n}\n", wide, narrow)
		}
	}
	return b.String()
}

// readStubs reads the declarations of a file, and the comment that says what wrote it.
func readStubs(path string) (header string, functions []declared, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", nil, err
	}
	header, _, _ = strings.Cut(string(text), "\n")
	file, err := parser.ParseFile(token.NewFileSet(), path, text, 0)
	if err != nil {
		return "", nil, err
	}
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		d := declared{name: f.Name.Name}
		for _, field := range f.Type.Params.List {
			for _, name := range field.Names {
				d.params = append(d.params, name.Name+" "+types.ExprString(field.Type))
				d.args = append(d.args, name.Name)
			}
		}
		if r := f.Type.Results; r != nil {
			d.result = types.ExprString(r.List[0].Type)
		}
		functions = append(functions, d)
	}
	return header + "\n\n", functions, nil
}

func writeGo(path, text string) error {
	code, err := format.Source([]byte(text))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, code) {
		return nil
	}
	return os.WriteFile(path, code, 0o666)
}
