// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent/trust/hoststore"
)

// maxLedger is the size from which the ledger is rewritten without what is over.
const maxLedger = 1 << 20

// entry is one line of the ledger: a mount, or a change of the host's files, that we are about to make, or (Over) the end of
// one.
type entry struct {
	ID    string    `json:"id"` // TAG/PLACE: one mount
	Tag   string    `json:"tag,omitempty"`
	Over  string    `json:"over,omitempty"` // "removed", "gone" or "failed": this ID needs nothing any more
	Time  time.Time `json:"time"`
	Boot  string    `json:"boot,omitempty"` // boot ID: mounts do not outlive it
	NS    uint64    `json:"ns,omitempty"`   // inode of the mount namespace
	PID   int       `json:"pid,omitempty"`
	Start uint64    `json:"start,omitempty"` // nanoseconds since boot
	Comm  string    `json:"comm,omitempty"`
	Store string    `json:"store,omitempty"`
	Path  string    `json:"path,omitempty"` // from the root of the namespace

	Host *hoststore.Record `json:"host,omitempty"` // a change of the host's own files, which outlives a boot
}

// ledger is a file of JSON lines, synced before what it announces is done. Every operation opens it anew under a file
// lock, so that a daemon and an uninstaller may use it at the same time.
type ledger struct{ path string }

// append writes entries and syncs them. A tail torn by a crash is closed off first; read skips it.
func (l ledger) append(entries ...entry) error {
	if len(entries) == 0 {
		return nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, e := range entries {
		if err := enc.Encode(e); err != nil {
			return fmt.Errorf("writing the trust ledger: %w", err)
		}
	}
	err := l.locked(func(f *os.File) error {
		st, err := f.Stat()
		if err != nil {
			return err
		}
		if st.Size() > 0 {
			last := make([]byte, 1)
			if _, err := f.ReadAt(last, st.Size()-1); err != nil {
				return err
			}
			if last[0] != '\n' {
				b = *bytes.NewBuffer(append([]byte("\n"), b.Bytes()...))
			}
		}
		if _, err := f.Write(b.Bytes()); err != nil {
			return err
		}
		return f.Sync()
	})
	if err != nil {
		return fmt.Errorf("writing the trust ledger %s: %w", l.path, err)
	}
	return nil
}

// locked runs do on the file, opened for appending, made if missing, under an exclusive lock.
func (l ledger) locked(do func(*os.File) error) error {
	for {
		f, err := os.OpenFile(l.path, os.O_RDWR|os.O_APPEND|unix.O_NOFOLLOW, 0)
		if errors.Is(err, fs.ErrNotExist) {
			if f, err = os.OpenFile(l.path, os.O_RDWR|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW, 0o600); err == nil {
				err = syncDir(filepath.Dir(l.path))
			}
		}
		if err != nil {
			return err
		}
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); err == nil {
			var a, b unix.Stat_t // compaction may have put another file in its place meanwhile
			if err = unix.Fstat(int(f.Fd()), &a); err == nil && unix.Lstat(l.path, &b) == nil && a.Ino == b.Ino && a.Dev == b.Dev {
				return errors.Join(do(f), f.Close())
			}
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
}

// read returns the announced mounts that are not over yet, in order.
func (l ledger) read() ([]entry, error) {
	all, err := l.all()
	return slices.DeleteFunc(all, func(e entry) bool { return e.Host != nil }), err
}

// all returns what is announced and not over yet, in order. Lines that are no entry are skipped: only the end of a write that
// was never synced, and so never acted on, can be torn.
func (l ledger) all() ([]entry, error) {
	b, err := os.ReadFile(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the trust ledger: %w", err)
	}
	return parseLedger(b), nil
}

func parseLedger(b []byte) []entry {
	var open []entry
	over := map[string]bool{}
	for line := range bytes.Lines(b) {
		var e entry
		if json.Unmarshal(line, &e) != nil || e.ID == "" {
			continue
		}
		if e.Over != "" {
			over[e.ID] = true
		} else if e.Host != nil || strings.HasPrefix(e.Tag, tagPrefix) {
			open = append(open, e)
		}
	}
	out := open[:0]
	for _, e := range open {
		if !over[e.ID] {
			out = append(out, e)
		}
	}
	return out
}

// compact rewrites a ledger that has grown, keeping what is not over.
func (l ledger) compact() error {
	st, err := os.Stat(l.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() < maxLedger {
		return nil
	}
	err = l.locked(func(*os.File) error {
		entries, err := l.all()
		if err != nil {
			return err
		}
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		for _, e := range entries {
			if err := enc.Encode(e); err != nil {
				return err
			}
		}
		return replaceFile(l.path, b.Bytes(), 0o600)
	})
	if err != nil {
		return fmt.Errorf("compacting the trust ledger %s: %w", l.path, err)
	}
	return nil
}

// replaceFile puts a file in place of another at once, synced.
func replaceFile(path string, b []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
