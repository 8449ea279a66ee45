// Command gen writes the assembly of package kernel and the Go files around it:
//
//	x_amd64.s, x_amd64.go   the assembly and its declarations
//	x_noasm.go              the same functions for builds without the assembly, see twins.go
//	x_vector.go             for kernels of both widths: the choice between them
//
// Run it in the folder above, with "go generate", after any change here. A new kernel is one
// function here; the rest is written for it. The test of this folder fails if files are stale.
package main

import (
	"flag"
	"log"

	. "github.com/mmcloughlin/avo/build"
)

// kernels is what goes into one file of assembly.
type kernels struct {
	write func()
	wide  bool // for AVX-512; otherwise for AVX2
	twin  bool // wide, and the file of AVX2 has the same functions
	vex   bool // has instructions that encodeVEX makes bytes of; simulated as wide ones are
}

var files = map[string]kernels{
	"gemm":         {write: gemm},
	"gemm512":      {write: gemm512, wide: true},
	"math":         {write: mathKernels},
	"math512":      {write: mathKernels, wide: true, twin: true},
	"attention":    {write: attention},
	"attention512": {write: attention, wide: true, twin: true},
	"conv":         {write: conv},
	"conv512":      {write: conv512, wide: true},
	"int8":         {write: int8Kernels},
	"dot512":       {write: dotKernels, wide: true},
	"dotvnni":      {write: dotKernels, vex: true},
	"dotamx":       {write: amxKernels, wide: true, vex: true},
	"gemmamx":      {write: amxFloats, wide: true, vex: true},
	"gemmbf16":     {write: gemmDots, wide: true, vex: true},
	"pause":        {write: pause},
	"q4":           {write: q4Kernels},
	"q4wide512":    {write: q4Wide, wide: true},
	"spectrum":     {write: spectrum},
	"unpack":       {write: unpackKernels},
}

func main() {
	log.SetFlags(0)
	what := flag.String("kernels", "", "gemm, math, conv, attention, int8, pause, q4, gemm512, math512, "+
		"attention512, conv512, dot512, dotvnni, dotamx, gemmamx, gemmbf16, q4wide512, spectrum or unpack")
	flag.Usage = func() { flag.PrintDefaults() }
	// avo's own flags (-out, -stubs, -pkg) are parsed by Generate.
	flag.Parse()
	k, ok := files[*what]
	if !ok {
		log.Fatalf("no kernels %q", *what)
	}
	ConstraintExpr("!noasm")
	if k.wide {
		lanes = 16
	}
	if k.wide || k.vex {
		ConstraintExpr("!simulate")
	}
	k.write()
	Generate()
	if k.vex {
		if err := encodeVEX(flag.Lookup("out").Value.String()); err != nil {
			log.Fatal(err)
		}
	}
	if err := writeTwins(flag.Lookup("stubs").Value.String(), k); err != nil {
		log.Fatal(err)
	}
}
