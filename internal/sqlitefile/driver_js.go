package sqlitefile

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
)

// There is no SQLite without cgo for WebAssembly; programs that might open files build all the same.
func init() { sql.Register("sqlite", missing{}) }

type missing struct{}

func (missing) Open(string) (driver.Conn, error) {
	return nil, fmt.Errorf("%w: there is no SQLite on this system", errors.ErrUnsupported)
}

func resultCode(error) (int, bool) { return 0, false }
