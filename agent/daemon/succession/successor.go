// SPDX-License-Identifier: Apache-2.0

package succession

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// variable names the descriptor of the line in the successor's environment.
const variable = "SALLYPORTD_SUCCESSION"

// lineFD is the number that it has there.
const lineFD = 3

// offer is the first message. The files that go with it are the listeners, and then the admin socket if there is one.
type offer struct {
	PIDs  []int `json:"pids"`
	Admin bool  `json:"admin"`
}

// Offer is what a process hands over. The files stay the caller's.
type Offer struct {
	PIDs      []int      // of the processes that hand over, or still end: this one and its predecessors
	Listeners []*os.File // sockets that accept connections for the proxy
	Admin     *os.File   // the listening socket of the admin API; may be nil
}

// Successor is a process that is to take over from this one.
type Successor struct {
	line line
	cmd  *exec.Cmd
	once sync.Once
	done chan struct{} // it has ended
	err  error         // why
}

// Start starts a program with the environment, standard output and error of this process, and makes it the offer. The
// process outlives this one. The caller says Kill if it does not come to lead.
func Start(path string, args []string, o Offer) (*Successor, error) {
	l, other, err := pair()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "LISTEN_") || strings.HasPrefix(v, variable+"=")
	}), variable+"="+strconv.Itoa(lineFD))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{other}
	err = cmd.Start()
	if err = errors.Join(err, other.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the successor: %w", err), l.conn.Close())
	}
	s := &Successor{line: l, cmd: cmd, done: make(chan struct{})}
	go func() { s.err = cmd.Wait(); close(s.done) }() // ends with the process, or with ours
	raw, err := json.Marshal(offer{o.PIDs, o.Admin != nil})
	if err == nil {
		files := slices.Clone(o.Listeners)
		if o.Admin != nil {
			files = append(files, o.Admin)
		}
		err = l.send(wordOffer+string(raw), files...)
	}
	if err != nil {
		return nil, errors.Join(s.explain("making it the offer", err), s.Kill())
	}
	return s, nil
}

// Prepared waits until it has read and checked everything.
func (s *Successor) Prepared(ctx context.Context) error {
	return s.explain("waiting for it to prepare", s.line.expect(ctx, wordPrepared))
}

// More hands it listening sockets of other network namespaces, between Prepared and Go. They stay the caller's.
func (s *Successor) More(files []*os.File) error {
	for part := range slices.Chunk(files, maxFiles) {
		if err := s.line.send(wordMore, part...); err != nil {
			return s.explain("handing it more sockets", err)
		}
	}
	return nil
}

// Go says that this process has let go of what both use, and waits until the successor is ready. After ErrFailed it need
// not be killed.
func (s *Successor) Go(ctx context.Context) error {
	err := s.line.send(wordGo)
	if err == nil {
		err = s.line.expect(ctx, wordReady)
	}
	return s.explain("waiting for it to be ready", err)
}

// Lead says that it has taken over. Nothing more is said after that.
func (s *Successor) Lead() error {
	return s.explain("telling it to lead", errors.Join(s.line.send(wordLead), s.close()))
}

// PID is its process id.
func (s *Successor) PID() int { return s.cmd.Process.Pid }

// Kill ends it and waits for that.
func (s *Successor) Kill() error {
	err := s.cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	<-s.done
	return errors.Join(err, s.close())
}

func (s *Successor) close() (err error) {
	s.once.Do(func() { err = s.line.conn.Close() })
	return err
}

// explain adds how the process ended, if that is why.
func (s *Successor) explain(what string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrGone) {
		_ = s.cmd.Process.Kill() // it closed its end: it is about to end anyway
		<-s.done
		if s.err != nil {
			err = fmt.Errorf("%w (%w)", err, s.err)
		}
	}
	return fmt.Errorf("the successor, process %d: %s: %w", s.PID(), what, err)
}
