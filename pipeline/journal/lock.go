// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// There are two kinds of lock, both advisory (flock), both gone with the process that holds them:
//
//   - "lock" is held while a generation is begun, and while one that has ended is repaired and closed. So only one process
//     at a time decides what an earlier one left behind.
//   - "GENERATION.lock" is held by the writer of that generation for as long as it lives. Whoever gets it knows that nobody
//     writes there any more. The file is removed once the generation's end is on record in a later one.

const lockSuffix = ".lock"

// lockWait is how long Open waits for another process that opens or repairs; that takes milliseconds, with much to read seconds.
const lockWait = 10 * time.Second

// lockFolder takes the folder's lock. Closing the file releases it.
func lockFolder(dir string, wait time.Duration) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the journal's lock: %w", err)
	}
	for deadline := time.Now().Add(wait); ; time.Sleep(5 * time.Millisecond) {
		ok, err := tryLock(f)
		if ok {
			return f, nil
		}
		if err == nil && time.Now().After(deadline) {
			err = fmt.Errorf("%w: it is being opened by another sallyportd (%s)", ErrLocked, dir)
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
}

func tryLock(f *os.File) (bool, error) {
	err := withFD(f, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("locking %s: %w", f.Name(), err)
	}
	return true, nil
}

func generationLock(dir string, generation uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016d%s", generation, lockSuffix))
}

// lockGeneration takes a generation's lock. Without an error nil means that its writer lives. A generation without a lock
// file has ended; its lock is made.
func lockGeneration(dir string, generation uint64) (*os.File, error) {
	f, err := os.OpenFile(generationLock(dir, generation), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock of a journal generation: %w", err)
	}
	ok, err := tryLock(f)
	if !ok {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// unlockGeneration removes a generation's lock that is held.
func unlockGeneration(f *os.File) error {
	return errors.Join(os.Remove(f.Name()), f.Close())
}

// lockedGenerations lists the generations that have a lock file, oldest first: those that run, and those whose end is not
// on record.
func lockedGenerations(dir string) ([]uint64, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the journal folder: %w", err)
	}
	var out []uint64
	for _, e := range names {
		if base, ok := strings.CutSuffix(e.Name(), lockSuffix); ok {
			if g, err := strconv.ParseUint(base, 10, 64); err == nil && g > 0 && filepath.Base(generationLock(dir, g)) == e.Name() {
				out = append(out, g)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

// removeTemporary clears away what generations that have ended had prepared.
func removeTemporary(dir string, lives func(generation uint64) bool) error {
	names, err := filepath.Glob(filepath.Join(dir, "*"+tmpSuffix))
	if err != nil {
		return err
	}
	for _, name := range names {
		of, _, _ := strings.Cut(filepath.Base(name), ".")
		if g, err := strconv.ParseUint(of, 10, 64); err == nil && lives(g) {
			continue
		}
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
