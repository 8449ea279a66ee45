package fallback

import (
	"context"
	"fmt"
	"os"
	"sort"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback/onnx"
)

func TestDump(t *testing.T) {
	for _, path := range []string{os.Getenv("XPIPE_DUMP")} {
		if path == "" {
			t.Skip()
		}
		m, err := onnx.Load(engine.FileSource(path))
		if err != nil {
			t.Fatal(err)
		}
		g, err := plan(context.Background(), m, 2, false)
		if err != nil {
			t.Fatal(err)
		}
		c := map[string]int{}
		for _, n := range g.nodes {
			var op string
			fmt.Sscanf(n.name[len(n.name)-1:], "%s", &op)
			i := len(n.name) - 1
			for n.name[i] != '(' {
				i--
			}
			c[n.name[i:]]++
		}
		var keys []string
		for k := range c {
			keys = append(keys, k)
		}
		sort.Slice(keys, func(i, j int) bool { return c[keys[i]] > c[keys[j]] })
		fmt.Println(path, len(g.nodes))
		for _, k := range keys {
			fmt.Print(k, c[k], " ")
		}
		fmt.Println()
	}
}
