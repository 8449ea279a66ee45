// Command gen writes the assembly of package kernel. Run it through go generate
// in the folder above.
package main

import (
	"flag"
	"log"
	"strings"

	. "github.com/mmcloughlin/avo/build"
)

func main() {
	what := flag.String("kernels", "", "gemm, math, conv, attention or int8; gemm512, math512 or attention512")
	files := map[string]func(){
		"gemm": gemm, "math": mathKernels, "conv": conv, "attention": attention, "int8": int8Kernels,
		"gemm512": gemm512, "math512": mathKernels, "attention512": attention,
	}
	flag.Usage = func() { flag.PrintDefaults() }
	// avo's own flags (-out, -stubs) are parsed by Generate.
	flag.Parse()
	f, ok := files[*what]
	if !ok {
		log.Fatalf("no kernels %q", *what)
	}
	ConstraintExpr("!noasm")
	if strings.HasSuffix(*what, "512") {
		lanes = 16
		ConstraintExpr("!simulate")
	}
	f()
	Generate()
}
