package store

func measure(dir string) error { return nil }
