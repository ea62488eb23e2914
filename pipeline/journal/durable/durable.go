// SPDX-License-Identifier: Apache-2.0

// Package durable writes small files so that they are whole after a crash: the old one or the new one, and the new one once the call has
// returned.
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// WriteFile makes or replaces a file, mode 0600, in one step. It is on disk when WriteFile returns without an error. What a call that died left
// behind, path with ".new", the next one uses again.
func WriteFile(path string, b []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir brings the names of a folder to disk.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
