// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/tlsca"
)

const (
	rootFile     = "root.crt"
	interFile    = "intermediate.crt"
	interKeyFile = "intermediate.key"
	rootKeyFile  = "root.key"

	building = ".new-" // prefix of a generation that has no name yet
	maxFile  = 1 << 20
)

// openDir makes or checks the folder and locks it; the lock ends with the process. Whoever may write there holds it alone,
// and shares it once all is read (share), so that only a process that takes over (beside) gets in.
func openDir(dir string, beside bool) (*os.File, error) {
	if dir == "" {
		return nil, errors.New("CA folder is not set: set ca.dir")
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, fmt.Errorf("making the CA folder: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("making the CA folder: %w", err)
	}
	if err := private(dir, fs.ModeDir); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the CA folder: %w", err)
	}
	how := unix.LOCK_EX
	if beside {
		how = unix.LOCK_SH
	}
	if err := unix.Flock(int(lock.Fd()), how|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("CA folder %s is in use by another sallyportd: stop it, or set another ca.dir", dir)
		}
		return nil, fmt.Errorf("locking the CA folder %s: %w", dir, err)
	}
	return lock, nil
}

// share lets a process that takes over from this one in.
func share(lock *os.File) error {
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		return fmt.Errorf("sharing the CA folder %s: %w", filepath.Dir(lock.Name()), err)
	}
	return nil
}

// private checks that path is of the given type, belongs to us and is closed to everybody else.
func private(path string, kind fs.FileMode) error {
	st, err := os.Lstat(path)
	if err != nil {
		return err
	}
	what, mode := "folder", "700"
	if kind == 0 {
		what, mode = "key", "600"
	}
	switch uid := st.Sys().(*syscall.Stat_t).Uid; {
	case st.Mode().Type() != kind:
		return fmt.Errorf("CA %s %s is not a %s: move it away, or set another ca.dir", what, path, map[bool]string{true: "folder", false: "regular file"}[kind != 0])
	case int(uid) != os.Geteuid():
		return fmt.Errorf("CA %s %s belongs to uid %d: chown it to uid %d if nobody else may have read it, else move it away to get a new root", what, path, uid, os.Geteuid())
	case st.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("CA %s %s is open to other users (mode %04o): chmod %s it if nobody else may have read it, else move it away to get a new root", what, path, st.Mode().Perm(), mode)
	}
	return nil
}

// sweep removes generations that a crash left unfinished: nobody ever trusted or used them.
func sweep(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, building+"*"))
	if err != nil {
		return err
	}
	for _, p := range left {
		if err := os.RemoveAll(p); err != nil {
			return fmt.Errorf("removing an unfinished CA root: %w", err)
		}
	}
	return nil
}

// readAll returns the generations, oldest first, and the highest number in use.
func readAll(dir string) ([]*generation, int, error) {
	entries, err := os.ReadDir(dir) // sorted by name, and so by number
	if err != nil {
		return nil, 0, fmt.Errorf("reading the CA folder: %w", err)
	}
	var out []*generation
	last := 0
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "gen-") {
			continue
		}
		var n int
		if _, err := fmt.Sscanf(e.Name(), "gen-%d", &n); err != nil || genName(n) != e.Name() {
			return nil, 0, fmt.Errorf("CA folder %s holds %s, which is no generation of ours: move it away", dir, e.Name())
		}
		g, err := read(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, 0, err
		}
		out = append(out, g)
		last = n
	}
	return out, last, nil
}

func genName(n int) string { return fmt.Sprintf("gen-%04d", n) }

// read loads one generation and checks that it is whole, private and of our profile.
func read(dir string) (*generation, error) {
	if err := private(dir, fs.ModeDir); err != nil {
		return nil, err
	}
	damaged := func(file string, err error) error {
		if errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("CA file %s cannot be read: run as its owner", filepath.Join(dir, file))
		}
		return fmt.Errorf("CA file %s is damaged (%w): restore it from a backup, or move %s away to get a new root and restart the programs that use it",
			filepath.Join(dir, file), err, dir)
	}
	g := &generation{name: filepath.Base(dir)}
	for _, f := range []struct {
		name string
		get  func(tlsca.Secret) error
		key  bool
	}{
		{rootFile, func(s tlsca.Secret) (err error) { g.root, err = tlsca.ParseCert(s.Reveal()); return }, false},
		{interFile, func(s tlsca.Secret) (err error) { g.inter, err = tlsca.ParseCert(s.Reveal()); return }, false},
		{interKeyFile, func(s tlsca.Secret) (err error) { g.key, err = tlsca.ParseKey(s); return }, true},
	} {
		path := filepath.Join(dir, f.name)
		if f.key {
			if err := private(path, 0); errors.Is(err, fs.ErrNotExist) {
				return nil, damaged(f.name, errors.New("missing"))
			} else if err != nil {
				return nil, err
			}
		}
		s, err := readFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			err = errors.New("missing")
		}
		if err == nil {
			err = f.get(s)
			s.Wipe()
		}
		if err != nil {
			return nil, damaged(f.name, err)
		}
	}
	if err := g.root.CheckSignatureFrom(g.root); err != nil {
		return nil, damaged(rootFile, errors.New("not signed by itself"))
	}
	if err := constrained(g.root); err != nil {
		return nil, damaged(rootFile, err)
	}
	if err := g.inter.CheckSignatureFrom(g.root); err != nil {
		return nil, damaged(interFile, errors.New("not signed by the root beside it"))
	}
	if err := constrained(g.inter); err != nil {
		return nil, damaged(interFile, err)
	}
	if pub, ok := g.inter.PublicKey.(*ecdsa.PublicKey); !ok || !pub.Equal(&g.key.PublicKey) {
		return nil, damaged(interKeyFile, errors.New("not the key of the intermediate beside it"))
	}
	return g, nil
}

// readFile reads a regular file, without following a link.
func readFile(path string) (tlsca.Secret, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return tlsca.Secret{}, errors.Unwrap(err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil {
		return tlsca.Secret{}, err
	} else if !st.Mode().IsRegular() {
		return tlsca.Secret{}, errors.New("not a regular file")
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = errors.New("too large")
	}
	return tlsca.NewSecret(b), err
}

// create makes generation n on disk: all of it or nothing.
func create(dir string, n int, names []string, keepRoot bool, now time.Time) (g *generation, err error) {
	g, rootKey, err := mint(genName(n), names, now)
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(dir, building) // mode 0700
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	write := func(name string, b []byte) error { return writeSync(filepath.Join(tmp, name), b) }
	writeKey := func(name string, key *ecdsa.PrivateKey) error {
		s, err := tlsca.EncodeKey(key)
		if err != nil {
			return err
		}
		defer s.Wipe()
		return write(name, s.Reveal())
	}
	if err := write(rootFile, tlsca.EncodeCerts(g.root)); err != nil {
		return nil, err
	}
	if err := write(interFile, tlsca.EncodeCerts(g.inter)); err != nil {
		return nil, err
	}
	if err := writeKey(interKeyFile, g.key); err != nil {
		return nil, err
	}
	if keepRoot {
		if err := writeKey(rootKeyFile, rootKey); err != nil {
			return nil, err
		}
	}
	if err := syncDir(tmp); err != nil {
		return nil, err
	}
	if err := os.Rename(tmp, filepath.Join(dir, g.name)); err != nil {
		return nil, err
	}
	return g, syncDir(dir)
}

func writeSync(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
