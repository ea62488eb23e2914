// SPDX-License-Identifier: Apache-2.0

package inspector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// noted is a program whose inspector may be open because of us.
type noted struct {
	Process
	Before []uint64 `json:"before,omitempty"` // sockets at which it listened before: none of our business
}

// note writes down that a program's inspector is about to be ours.
func (i *Inspector) note(p Process, before map[uint64]netip.AddrPort) error {
	return i.edit(func(list []noted) []noted {
		return append(without(list, p), noted{p, slices.Sorted(maps.Keys(before))})
	})
}

// done takes it out again.
func (i *Inspector) done(p Process) error {
	return i.edit(func(list []noted) []noted { return without(list, p) })
}

func without(list []noted, p Process) []noted {
	return slices.DeleteFunc(list, func(x noted) bool { return x.Process == p })
}

func (i *Inspector) edit(edit func([]noted) []noted) error {
	err := i.locked(edit)
	if err != nil {
		return fmt.Errorf("noting an open inspector in %s: %w", i.file, err)
	}
	return nil
}

func (i *Inspector) locked(edit func([]noted) []noted) error {
	f, err := os.OpenFile(i.file, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	var list []noted
	if err := json.NewDecoder(f).Decode(&list); err != nil {
		list = nil // empty, or torn by a crash: then what it was about has ended with the host, or its guard closes it
	}
	raw, err := json.Marshal(edit(list))
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(append(raw, '\n'), 0); err != nil {
		return err
	}
	return errors.Join(f.Truncate(int64(len(raw)+1)), f.Sync())
}

// Recover closes what an agent that died has left open, and what opened too late for us to wait. It returns how many
// programs it looked at. Call it at start, and now and then.
func (i *Inspector) Recover(ctx context.Context) (n int, err error) {
	select {
	case i.turn <- struct{}{}: // what Add has open is not left over
		defer func() { <-i.turn }()
	case <-ctx.Done():
		return 0, nil
	}
	raw, err := os.ReadFile(i.file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	var list []noted
	if err != nil || json.Unmarshal(raw, &list) != nil {
		return 0, err
	}
	for _, p := range list {
		if ctx.Err() != nil {
			return n, ctx.Err()
		}
		n++
		open, e := closeAll(ctx, p)
		if e == nil && open == waiting {
			continue // it may still open one
		}
		if e != nil {
			err = errors.Join(err, fmt.Errorf("the inspector of process %d may still be open: %w", p.PID, e))
			continue
		}
		err = errors.Join(err, i.done(p.Process))
	}
	return n, err
}

type state uint8

const (
	over    state = iota // it has ended, or what it had open is closed
	waiting              // it has opened nothing yet
)

// closeAll closes the inspector of a program, at whatever new port it is.
func closeAll(ctx context.Context, p noted) (state, error) {
	t, err := pin(p.Process)
	if errors.Is(err, errGone) {
		return over, nil
	}
	if err != nil {
		return waiting, err
	}
	defer t.close()
	ports, err := t.listening()
	if err != nil {
		return over, nil // it ended
	}
	is := waiting
	for inode, at := range ports {
		if slices.Contains(p.Before, inode) {
			continue
		}
		s, err := t.session(ctx, inode, at)
		if err != nil {
			continue // some other port of the program
		}
		_, err = s.evaluate(closeScript)
		s.close()
		if err := t.shut(inode, at, err == nil); err != nil {
			return waiting, err
		}
		is = over
	}
	return is, nil
}
