// SPDX-License-Identifier: Apache-2.0

package hoststore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// removeAnchors takes our roots out of the system's store. It may be repeated after a crash at any step.
func (s *Store) removeAnchors(ctx context.Context, list []Record) error {
	var mine []Record
	ours := map[string]bool{}
	for _, r := range list {
		if r.Kind == KindAnchor {
			mine, ours[r.Root] = append(mine, r), true
		}
	}
	there := false // else nothing of ours is here, and the tool has nothing to do
	for _, r := range mine {
		if _, err := os.Lstat(r.Path); err == nil {
			there = true
		}
		if err := removeAnchor(r); err != nil {
			return fmt.Errorf("%s: %w", r.Path, err)
		}
		s.o.Step("anchor removed")
	}
	t, program, err := s.detect()
	if err != nil {
		return s.stillIn(ours, err)
	}
	var told bytes.Buffer
	for _, r := range mine {
		if t.links != "" {
			n, err := s.unlink(t, r.Path)
			if err != nil {
				return err
			}
			told.WriteString(n)
		}
	}
	s.o.Step("links removed")
	var out string
	if s.stillIn(ours, nil) != nil || there {
		out, err = s.run(ctx, program, t.args...)
		s.o.Step("tool ran")
	}
	if lerr := s.stillIn(ours, errors.Join(err, lastLine(out))); lerr != nil {
		return lerr
	}
	for _, r := range mine {
		for _, b := range r.Before {
			b.restoreTime()
		}
		if r.Made {
			_ = os.Remove(filepath.Dir(r.Path)) // unless somebody put something there
		}
	}
	return s.tellHooks(ctx, t, told.String())
}

// removeAnchor takes our certificate out of a file; what somebody added to it stays.
func removeAnchor(r Record) error {
	dir, err := openDir(filepath.Dir(r.Path))
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	if err := discard(dir, r.Temp); err != nil {
		return err
	}
	b, err := os.ReadFile(r.Path)
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	wrapped := append([]byte(markBegin+"\n"), append(b, "\n"+markEnd+"\n"...)...)
	if rest, _ := cutBlock(wrapped, []root{{sum: r.Root}}); len(bytes.TrimSpace(rest)) > 0 {
		return writeFile(r.Path, r.Temp, bytes.TrimSuffix(rest, []byte("\n")))
	}
	return os.Remove(r.Path)
}

// unlink removes the links to an anchor that the tool made, and those to them by hash. It returns the line by which hooks
// are told; also after a crash in between.
func (s *Store) unlink(t tool, anchor string) (told string, err error) {
	dir := s.at(t.links)
	pem := strings.TrimSuffix(filepath.Base(anchor), t.ext) + ".pem"
	names := map[string]bool{pem: true, "ca-cert-" + pem: true} // as Debian and Alpine call them
	list, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range list {
		path := filepath.Join(dir, e.Name())
		to, err := os.Readlink(path)
		if err != nil || !names[to] && !(names[e.Name()] && to == filepath.Join(t.anchors, filepath.Base(anchor))) {
			continue
		}
		if err := os.Remove(path); err != nil {
			return "", err
		}
	}
	return "-" + filepath.Join(t.links, pem) + "\n", nil
}

// tellHooks tells the tool's hooks what went: the tool itself does so only for certificates of packages.
func (s *Store) tellHooks(ctx context.Context, t tool, lines string) error {
	if t.hooks == "" || lines == "" {
		return nil
	}
	list, err := os.ReadDir(s.at(t.hooks))
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range list {
		if st, err := e.Info(); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			if out, err := s.runWith(ctx, lines, filepath.Join(s.at(t.hooks), e.Name())); err != nil {
				return fmt.Errorf("the hook %s: %w", e.Name(), errors.Join(err, lastLine(out)))
			}
		}
	}
	return nil
}

// stillIn says, with its cause, if a root of ours is still in a bundle that some tool makes.
func (s *Store) stillIn(ours map[string]bool, cause error) error {
	for _, t := range tools {
		data, err := os.ReadFile(s.at(t.bundle))
		if missing(err) {
			continue
		}
		if err != nil {
			return err
		}
		have, err := certificates(data)
		if err != nil {
			continue // none is in it at all
		}
		for sum := range ours {
			if have[sum] {
				return fmt.Errorf("%s still holds our root: %w", t.bundle, cause)
			}
		}
	}
	return nil
}

func before(path string) ([]Before, error) {
	b, err := os.ReadFile(path)
	if missing(err) {
		return nil, nil
	}
	var st unix.Stat_t
	if err == nil {
		err = unix.Stat(path, &st)
	}
	if err != nil {
		return nil, err
	}
	h := sha256.Sum256(b)
	return []Before{{path, hex.EncodeToString(h[:]), st.Mtim.Sec, st.Mtim.Nsec}}, nil
}

// restoreTime gives a file its time again if it is what it was.
func (b *Before) restoreTime() {
	now, err := before(b.Path)
	if err == nil && len(now) == 1 && now[0].SHA == b.SHA {
		t := time.Unix(b.Sec, b.Nsec)
		_ = os.Chtimes(b.Path, t, t) // the content is what counts
	}
}

// writeFile puts a file that everybody may read in place at once.
func writeFile(path, temp string, data []byte) error {
	dir, err := openDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	if err := discard(dir, temp); err != nil {
		return err
	}
	fd, err := unix.Openat(dir, temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), temp)
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err == nil {
		err = unix.Renameat(dir, temp, dir, filepath.Base(path))
	}
	if err != nil {
		return errors.Join(err, unix.Unlinkat(dir, temp, 0))
	}
	return syncDir(dir)
}
