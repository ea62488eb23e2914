// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// cover tells that an open file or folder holds our roots. fs says that everything on its file system does.
func (t *Trust) cover(fd int, fs bool) error {
	if t.opts.Opens == nil {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	f := agent.StoreFile{File: agent.File{Dev: st.Dev, Ino: st.Ino}}
	if fs {
		var s unix.Statfs_t
		if err := unix.Fstatfs(fd, &s); err != nil {
			return err
		}
		f.Ino, f.FSID = 0, uint64(uint32(s.Fsid.Val[0]))|uint64(uint32(s.Fsid.Val[1]))<<32
	}
	return supported(t.opts.Opens.Cover(f, t.ids))
}

// supported drops the error of a kernel that cannot see opens: trust is proven by handshakes alone there.
func supported(err error) error {
	var no *agent.Unsupported
	if errors.As(err, &no) {
		return nil
	}
	return err
}

// CoverFiles tells of the files of ours that hold our roots without being mounted: the file of our roots, and what was
// changed on the host, or copied for units. Whoever opens one trusts them. Call it once Opens works.
func (t *Trust) CoverFiles() error {
	if t.opts.Opens == nil || len(t.roots) == 0 {
		return nil
	}
	var err error
	if t.opts.RootsFile != "" {
		err = t.coverFile(t.opts.RootsFile)
	}
	return errors.Join(err, t.coverHost())
}

// coverHost tells of the host's files. One that is replaced between our change and this is told when the next program
// starts: until then, who opens it is not proven, which fails safe.
func (t *Trust) coverHost() error {
	if t.opts.Opens == nil || t.opts.Host != HostFiles && t.opts.Host != HostUnit {
		return nil
	}
	paths := slices.Clone(systemFiles)
	records, err := hostLedger{t.ledger}.Standing()
	if err != nil {
		return err
	}
	for _, r := range records {
		paths = append(paths, r.Path)
	}
	for _, p := range paths {
		err = errors.Join(err, t.coverFile(p))
	}
	if t.opts.Copies == "" {
		return err
	}
	return errors.Join(err, filepath.WalkDir(t.opts.Copies, func(p string, d fs.DirEntry, werr error) error {
		if werr != nil || d.IsDir() {
			return nil // none, or gone meanwhile
		}
		return t.coverFile(p)
	}))
}

// coverFile tells of one PEM file, if it holds roots of ours: of those that it holds.
func (t *Trust) coverFile(name string) error {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil // not there
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > maxStore {
		return nil
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxStore))
	if err != nil {
		return nil
	}
	ours := map[agent.RootID]bool{}
	for _, r := range t.ids {
		ours[r] = true
	}
	var held []agent.RootID
	for len(raw) > 0 {
		var block *pem.Block
		if block, raw = pem.Decode(raw); block == nil {
			break
		}
		if id := rootID(block.Bytes); ours[id] && !slices.Contains(held, id) {
			held = append(held, id)
		}
	}
	if len(held) == 0 {
		return nil
	}
	return supported(t.opts.Opens.Cover(agent.StoreFile{File: agent.File{Dev: st.Dev, Ino: st.Ino}}, held))
}

// rootID names a certificate in DER.
func rootID(der []byte) agent.RootID {
	sum := sha256.Sum256(der)
	return agent.RootID(binary.BigEndian.Uint64(sum[:]))
}
