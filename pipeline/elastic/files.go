// SPDX-License-Identifier: Apache-2.0

package elastic

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/pipeline/journal/durable"
)

// cursorFile says how far shipping got.
type cursorFile struct {
	Resume journal.Mark `json:"resume"` // the oldest records that are needed again: exchanges without an outcome begin there
	Done   journal.Mark `json:"done"`   // records before are dealt with

	Written map[string]string `json:"written,omitempty"` // by stream: the backing index that was last written to
	Forms   []formFrom        `json:"forms,omitempty"`   // in which contents are shipped, in the order of the records
	Bare    []string          `json:"bare,omitempty"`    // exchanges whose contents are not there
}

// sound says whether nothing is to be read again from behind what is done.
func (c *cursorFile) sound() bool {
	for _, p := range c.Resume {
		at := func(d journal.Progress) bool { return d.Generation == p.Generation && d.Position == p.Position }
		if !c.Done.Covers(p.Generation, p.Position) && !slices.ContainsFunc(c.Done, at) {
			return false
		}
	}
	return true
}

func (c *cursorFile) equal(d *cursorFile) bool {
	return slices.Equal(c.Resume, d.Resume) && slices.Equal(c.Done, d.Done) && maps.Equal(c.Written, d.Written) && slices.Equal(c.Forms, d.Forms) && slices.Equal(c.Bare, d.Bare)
}

// Shipped reads how far the shipper whose files are in a folder has come. Nothing is no error: it has not begun.
func Shipped(dir string) (journal.Mark, error) {
	c, err := readCursor(filepath.Join(dir, "elastic.cursor"))
	if err == nil && c.Done == nil {
		c.Done = journal.Mark{}
	}
	return c.Done, err
}

// errBadCursor says that the file is not one of ours, or was cut.
var errBadCursor = errors.New("the cursor file cannot be read")

// readCursor gives the zero cursor, the beginning of the journal, if there is no file yet.
func readCursor(path string) (cursorFile, error) {
	var c cursorFile
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("reading the cursor of the Elasticsearch shipper: %w", err)
	}
	if err := json.Unmarshal(b, &c); err != nil || !c.sound() {
		return cursorFile{}, fmt.Errorf("%w: %s", errBadCursor, path)
	}
	return c, nil
}

// writeCursor replaces the file in one step. It is on disk when it returns.
func writeCursor(path string, c *cursorFile) error {
	b, err := json.Marshal(c)
	if err == nil {
		err = durable.WriteFile(path, append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("writing the cursor of the Elasticsearch shipper: %w", err)
	}
	return nil
}
