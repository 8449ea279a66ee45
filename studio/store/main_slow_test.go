//go:build slow

package store

func init() { kills = 50 }
