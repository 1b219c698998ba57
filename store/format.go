package store

import (
	"errors"
	"fmt"

	"github.com/synthetism/edgebroker/journal"
	"github.com/synthetism/edgebroker/relay"
)

// Format is the version of what the records of a store hold. Whoever changes
// that raises it, makes upgraded know the format before, and adds a store of
// it to testdata. A store of a later format is refused; one of an earlier
// format is read, and its first checkpoint writes all of it anew.
const Format = 2

var errFormat = errors.New("unknown format of records")

// upgraded turns a record into one of this Format. data may be changed and
// returned.
func upgraded(format uint16, typ byte, data []byte) (byte, []byte, error) {
	switch format {
	case Format, 1: // which lacks only what a record need not have
		return typ, data, nil
	}
	return 0, nil, fmt.Errorf("format %d: %w", format, errFormat)
}

// record takes one record of the journal.
func (r *replay) record(rec journal.Record) error {
	typ, data, err := upgraded(rec.Format, rec.Type, rec.Data)
	if err != nil {
		return err
	}
	return r.take(relay.Ref(rec.Pos), typ, data)
}

// checkFormat refuses a store of a later format.
func checkFormat(sum journal.Summary) error {
	if sum.Format > Format {
		return &journal.VersionError{Records: true, Found: uint32(sum.Format), Known: Format}
	}
	return nil
}
