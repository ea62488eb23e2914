// SPDX-License-Identifier: Apache-2.0

package examples

import (
	"io/fs"
	"strings"
	"time"
)

// oneFile is a folder with one policy file.
type oneFile string

const fileName = "example.yaml"

// Open implements fs.FS.
func (f oneFile) Open(name string) (fs.File, error) {
	switch name {
	case ".":
		return &file{info: info{".", 0, true}, folder: f}, nil
	case fileName:
		return &file{info: info{fileName, int64(len(f)), false}, Reader: strings.NewReader(string(f))}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// ReadDir implements fs.ReadDirFS.
func (f oneFile) ReadDir(string) ([]fs.DirEntry, error) {
	return []fs.DirEntry{fs.FileInfoToDirEntry(info{fileName, int64(len(f)), false})}, nil
}

type file struct {
	*strings.Reader
	info   info
	folder oneFile
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Close() error               { return nil }

// Read fails for the folder.
func (f *file) Read(b []byte) (int, error) {
	if f.Reader == nil {
		return 0, &fs.PathError{Op: "read", Path: f.info.name, Err: fs.ErrInvalid}
	}
	return f.Reader.Read(b)
}

type info struct {
	name string
	size int64
	dir  bool
}

func (i info) Name() string { return i.name }
func (i info) Size() int64  { return i.size }
func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o500
	}
	return 0o400
}
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.dir }
func (i info) Sys() any           { return nil }
