// SPDX-License-Identifier: Apache-2.0

package quarantine

import (
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
)

// By is who asked.
type By struct {
	UID  uint32 `json:"uid"`
	PID  uint32 `json:"pid"`
	Comm string `json:"comm,omitempty"`
}

// Entry is one principal that is cut off.
type Entry struct {
	Selector string    `json:"selector"`
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until,omitzero"` // zero: until it is lifted
	Reason   string    `json:"reason"`
	By       By        `json:"by"`
	Paths    []string  `json:"paths,omitempty"` // cgroups in which it was found
	Cut      []Cut     `json:"cut,omitempty"`   // connections that were ended

	Ended  time.Time `json:"ended,omitzero"`
	EndBy  *By       `json:"ended_by,omitempty"` // nil: it ended by itself
	Boot   string    `json:"boot,omitempty"`
	AtBoot uint64    `json:"until_boottime,omitempty"` // the deadline by the clock of that boot, ns

	Recorded bool `json:"recorded,omitempty"` // that it began
}

// forever is a deadline that never comes.
const forever = ^uint64(0)

// deadline is when the entry ends by the clock of the kernel programs; 0 = it has ended.
func (e *Entry) deadline(n now) uint64 {
	until := forever
	switch {
	case e.Until.IsZero():
	case e.Boot == n.boot:
		until = e.AtBoot
	default:
		left := e.Until.Sub(n.wall)
		if left <= 0 {
			return 0
		}
		until = n.clock + uint64(left)
	}
	if until <= n.clock {
		return 0
	}
	return until
}

// now is one moment by all clocks.
type now struct {
	wall  time.Time
	clock uint64 // CLOCK_BOOTTIME, ns
	boot  string
}

func readNow() (n now, err error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return n, fmt.Errorf("reading the clock: %w", err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return n, fmt.Errorf("reading which boot this is: %w", err)
	}
	return now{time.Now(), uint64(ts.Nano()), strings.TrimSpace(string(boot))}, nil
}

// state is the file.
type state struct {
	Entries []Entry `json:"entries"`
	Ended   []Entry `json:"ended,omitempty"` // their end is not recorded yet
}

// finish moves an entry to those that ended; by nil: by itself.
func (s *state) finish(i int, at time.Time, by *By) Entry {
	e := s.Entries[i]
	e.Ended, e.EndBy = at, by
	s.Entries, s.Ended = slices.Delete(s.Entries, i, i+1), append(s.Ended, e)
	return e
}

// load reads the file; one that is not there is empty.
func load(file string) (s state, err error) {
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("reading who is cut off: %w", err)
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, fmt.Errorf("%s cannot be read: %w: mend it or remove it (what the kernel refuses stays refused until then)", file, err)
	}
	return s, nil
}

// save replaces the file, durably.
func save(file string, s state) error {
	fail := func(err error) error { return fmt.Errorf("writing who is cut off: %w", err) }
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fail(err)
	}
	f, err := os.OpenFile(file+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fail(err)
	}
	_, err = f.Write(append(raw, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fail(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fail(err)
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return fail(err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fail(err)
	}
	return nil
}

// lock keeps other processes from the file until the returned function is called.
func lock(file string) (func(), error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of %s: %w", file, err)
	}
	f, err := os.OpenFile(file+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", file, err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", file, err), f.Close())
	}
	return func() { f.Close() }, nil
}
