//go:build slow

package examples

import "testing"

func TestAll(t *testing.T) {
	for i := range programs {
		run(t, i)
	}
}
