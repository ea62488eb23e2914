// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/bpf"
)

// OwnFolders are the names of the cgroups that an agent makes below the folder to which it attaches.
var OwnFolders = []string{"sallyport", "sallyport-selftest"}

// Installed says whether all programs that fail closed are pinned.
func Installed(pinDir string) bool {
	if pinDir == "" {
		pinDir = DefaultPinDir
	}
	for _, h := range hooks {
		l, err := link.LoadPinnedLink(filepath.Join(pinDir, "link_"+h.name), nil)
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

// Uninstall removes all pins, and with them the programs; then the cgroups that an agent made for itself, if nobody is in
// them, and the file systems that it mounted, if nobody else uses them. It needs no daemon; what is not there is fine.
func Uninstall(pinDir string) error {
	if pinDir == "" {
		pinDir = DefaultPinDir
	}
	attached := AttachedTo(pinDir)
	if err := unpin(pinDir); err != nil {
		return err
	}
	for _, dir := range attached {
		for _, name := range OwnFolders {
			// One that somebody is in stays: it is not ours alone.
			if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EBUSY) {
				return fmt.Errorf("removing our cgroup: %w", err)
			}
		}
	}
	return unmount()
}

func unpin(pinDir string) error {
	entries, err := os.ReadDir(pinDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the pins in %s: %w", pinDir, err)
	}
	// connect first: no new redirection while the rest goes.
	for _, first := range []string{"link_" + bpf.RedirectProgConnect4, "link_" + bpf.RedirectProgConnect6} {
		if err := os.Remove(filepath.Join(pinDir, first)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("detaching: %w", err)
		}
	}
	for _, e := range entries {
		if err := os.Remove(filepath.Join(pinDir, e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing pin %s: %w", e.Name(), err)
		}
	}
	return os.Remove(pinDir)
}

// AttachedTo finds the folders (one, or none) to which the pinned programs are attached, by their ids.
func AttachedTo(pinDir string) (out []string) {
	l, err := link.LoadPinnedLink(filepath.Join(pinDir, "link_"+bpf.RedirectProgConnect4), nil)
	if err != nil {
		return nil
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil || info.Cgroup() == nil {
		return nil
	}
	root, err := CgroupRoot()
	if err != nil {
		return nil
	}
	_ = filepath.WalkDir(root, func(dir string, d fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil && d.IsDir() && unix.Stat(dir, &st) == nil && st.Ino == info.Cgroup().CgroupId {
			out = append(out, dir)
			return filepath.SkipAll
		}
		return nil
	})
	return out
}

// unmount undoes what prepare mounted. A bpf file system in which somebody else has pins stays, and one that is in use.
func unmount() error {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("looking for file systems that we mounted: %w", err)
	}
	defer f.Close()
	ours, err := mountedByUs(f)
	if err != nil {
		return fmt.Errorf("looking for file systems that we mounted: %w", err)
	}
	for _, f := range fileSystems {
		if !ours[f.at] || !isMounted(f.at, f.magic) {
			continue
		}
		entries, err := os.ReadDir(f.at)
		others := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return !strings.HasSuffix(e.Name(), ".debug") }) // those the kernel makes
		if f.magic == unix.BPF_FS_MAGIC && (err != nil || others) {
			continue
		}
		if err := unix.Unmount(f.at, 0); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("unmounting %s: %w", f.at, err)
		}
	}
	return nil
}

// mountedByUs lists the places of mounts that bear our name.
func mountedByUs(mountinfo io.Reader) (map[string]bool, error) {
	out := map[string]bool{}
	sc := bufio.NewScanner(mountinfo)
	for sc.Scan() {
		left, right, ok := strings.Cut(sc.Text(), " - ")
		f, source := strings.Fields(left), strings.Fields(right)
		if ok && len(f) >= 5 && len(source) >= 2 && source[1] == mountSource {
			out[unescape.Replace(f[4])] = true
		}
	}
	return out, sc.Err()
}
