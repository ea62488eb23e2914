// SPDX-License-Identifier: Apache-2.0

// Package snapshot reads a folder of small files as a whole: all of them as they were at one moment, with who owns them, or
// not at all. It is how the policy folder is read while people, configuration management or a kubelet may be writing to it.
//
// A file that somebody has open for writing is not read: the kernel tells by refusing a lease on it (fcntl(2), F_SETLEASE;
// not on every file system). Files that are replaced by renaming, and folders that are swapped through a symbolic link, as
// ConfigMaps are, need no lease: what was read is dropped if anything moved meanwhile.
package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrMoving is wrapped by errors that mean: somebody is at work there, look again.
var ErrMoving = errors.New("being changed")

// maxFile bounds the size of a file, and maxFiles their number.
const (
	maxFile  = 4 << 20
	maxFiles = 4096
)

// File is one file as it was read.
type File struct {
	Name     string
	SHA256   string // hex
	UID, GID uint32
	Modified time.Time
}

// Folder is a folder as it was at one moment. It is an fs.FS of its own: what was read is what is used.
type Folder struct {
	Files []File // by name
	Mark  Mark
	data  map[string][]byte
}

// Mark changes whenever a file of the folder may have: it is made of what stat says of each.
type Mark string

// chosen says whether a file counts.
func chosen(name string) bool {
	ext := path.Ext(name)
	return (ext == ".yaml" || ext == ".yml") && !strings.HasPrefix(name, ".")
}

// Look gives the mark of a folder without reading its files.
func Look(dir string) (Mark, error) {
	names, err := list(dir)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(dir, name), &st); err != nil {
			return "", moved(fmt.Errorf("looking at %s: %w", filepath.Join(dir, name), err))
		}
		b.WriteString(mark(name, &st))
	}
	return Mark(b.String()), nil
}

// moved makes ErrMoving of what a rename under our eyes causes.
func moved(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrMoving, err)
	}
	return err
}

func mark(name string, st *unix.Stat_t) string {
	return fmt.Sprintf("%q %d %d %d %d.%d %d.%d %d %d\n", name, st.Dev, st.Ino, st.Size, st.Mtim.Sec, st.Mtim.Nsec, st.Ctim.Sec, st.Ctim.Nsec, st.Uid, st.Gid)
}

func list(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the policy folder: %w", err)
	}
	var out []string
	for _, e := range entries {
		if chosen(e.Name()) {
			out = append(out, e.Name())
		}
	}
	if len(out) > maxFiles {
		return nil, fmt.Errorf("%d files in %s, at most %d are read: join some", len(out), dir, maxFiles)
	}
	slices.Sort(out)
	return out, nil
}

// Read reads a folder. An error that wraps ErrMoving means that it was changed meanwhile.
func Read(dir string) (*Folder, error) {
	before, err := Look(dir)
	if err != nil {
		return nil, err
	}
	names, err := list(dir)
	if err != nil {
		return nil, err
	}
	s := &Folder{Mark: before, data: map[string][]byte{}}
	var read strings.Builder
	for _, name := range names {
		f, raw, m, err := readFile(filepath.Join(dir, name), name)
		if err != nil {
			return nil, moved(fmt.Errorf("reading %s: %w", filepath.Join(dir, name), err))
		}
		s.Files, s.data[name] = append(s.Files, f), raw
		read.WriteString(m)
	}
	after, err := Look(dir)
	if err != nil {
		return nil, err
	}
	if after != before || Mark(read.String()) != before {
		return nil, fmt.Errorf("%s: %w", dir, ErrMoving)
	}
	return s, nil
}

// readFile reads a file that nobody is writing to. What the file says of itself is taken from the file that was read.
func readFile(at, name string) (File, []byte, string, error) {
	f, err := os.OpenFile(at, os.O_RDONLY|unix.O_NONBLOCK, 0) // of a pipe, too, we do not wait for the other end
	if err != nil {
		return File{}, nil, "", err
	}
	defer f.Close() // which ends the lease
	if i, err := f.Stat(); err != nil || !i.Mode().IsRegular() {
		return File{}, nil, "", errors.Join(err, errors.New("it is no regular file: move it elsewhere"))
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK); errors.Is(err, unix.EAGAIN) {
		return File{}, nil, "", fmt.Errorf("somebody has it open for writing: %w", ErrMoving)
	} // any other error: leases are not to be had here; comparing marks is what is left
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return File{}, nil, "", err
	}
	if len(raw) > maxFile {
		return File{}, nil, "", fmt.Errorf("larger than %d MiB: split it", maxFile>>20)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return File{}, nil, "", err
	}
	sum := sha256.Sum256(raw)
	return File{Name: name, SHA256: hex.EncodeToString(sum[:]), UID: st.Uid, GID: st.Gid, Modified: time.Unix(st.Mtim.Sec, st.Mtim.Nsec)}, raw, mark(name, &st), nil
}

// Changed are the files that differ from those of another snapshot, which may be nil: added or changed ones as they are here,
// and the removed ones as they were there.
func (s *Folder) Changed(from *Folder) (fresh, gone []File) {
	was := map[string]File{}
	if from != nil {
		for _, f := range from.Files {
			was[f.Name] = f
		}
	}
	for _, f := range s.Files {
		if o, ok := was[f.Name]; !ok || o.SHA256 != f.SHA256 {
			fresh = append(fresh, f)
		}
		delete(was, f.Name)
	}
	if from != nil {
		for _, f := range from.Files {
			if _, ok := was[f.Name]; ok {
				gone = append(gone, f)
			}
		}
	}
	return fresh, gone
}

// Open implements fs.FS.
func (s *Folder) Open(name string) (fs.File, error) {
	if raw, ok := s.data[name]; ok {
		return &open{Reader: bytes.NewReader(raw), info: info{name, int64(len(raw))}}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// ReadDir implements fs.ReadDirFS.
func (s *Folder) ReadDir(string) ([]fs.DirEntry, error) {
	var out []fs.DirEntry
	for _, f := range s.Files {
		out = append(out, fs.FileInfoToDirEntry(info{f.Name, int64(len(s.data[f.Name]))}))
	}
	return out, nil
}

type open struct {
	*bytes.Reader
	info info
}

func (o *open) Stat() (fs.FileInfo, error) { return o.info, nil }
func (o *open) Close() error               { return nil }

type info struct {
	name string
	size int64
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return 0o400 }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return false }
func (i info) Sys() any           { return nil }
