// SPDX-License-Identifier: Apache-2.0

package succession

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The words, as in the package comment. An offer is followed by JSON.
const (
	wordOffer    = "offer "
	wordPrepared = "prepared"
	wordMore     = "more"
	wordGo       = "go"
	wordReady    = "ready"
	wordLead     = "lead"
	wordFailed   = "failed"
)

// maxWord bounds a message, maxFiles the sockets that it carries: the kernel takes 253 (SCM_MAX_FD). maxOthers bounds those of
// all messages.
const (
	maxWord   = 64 << 10
	maxFiles  = 250
	maxOthers = 1 << 15
)

// ErrGone says that the other process ended or gave up.
var ErrGone = errors.New("the other process is gone")

// ErrFailed says that the successor cannot lead. It ends what it had begun and then itself.
var ErrFailed = errors.New("it failed to take over")

// line is one end of the talk.
type line struct{ conn *net.UnixConn }

// pair makes a line and the file of its other end.
func pair() (line, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return line{}, nil, fmt.Errorf("making a socket pair: %w", err)
	}
	l, err := open(os.NewFile(uintptr(fds[0]), "succession"))
	other := os.NewFile(uintptr(fds[1]), "succession")
	if err != nil {
		return line{}, nil, errors.Join(err, other.Close())
	}
	return l, other, nil
}

// open takes a file over.
func open(f *os.File) (line, error) {
	c, err := net.FileConn(f) // a copy
	if err = errors.Join(err, f.Close()); err != nil {
		return line{}, fmt.Errorf("opening the line to the other process: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return line{}, errors.Join(errors.New("the line to the other process is no unix socket"), c.Close())
	}
	return line{u}, nil
}

func (l line) send(word string, files ...*os.File) error {
	var fds []int
	for _, f := range files {
		err := lend(f, func(fd int) error { fds = append(fds, fd); return nil })
		if err != nil {
			return err
		}
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if err := l.conn.SetWriteDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, _, err := l.conn.WriteMsgUnix([]byte(word), rights, nil); err != nil {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return nil
}

// receive waits for the next word, with the files that came with it.
func (l line) receive(ctx context.Context) (string, []*os.File, error) {
	if err := l.conn.SetReadDeadline(time.Time{}); err != nil {
		return "", nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf, oob := make([]byte, maxWord), make([]byte, unix.CmsgSpace(4*maxFiles))
	n, on, flags, _, err := l.conn.ReadMsgUnix(buf, oob)
	files := received(oob[:max(on, 0)])
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case err == nil && n == 0, errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET):
		err = ErrGone
	case err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		err = errors.New("a message of the other process is too long")
	}
	if err != nil {
		closeAll(files)
		return "", nil, err
	}
	return string(buf[:n]), files, nil
}

// expect waits for one certain word.
func (l line) expect(ctx context.Context, word string) error {
	got, files, err := l.receive(ctx)
	closeAll(files)
	if err == nil && got == wordFailed {
		return ErrFailed
	}
	if err == nil && got != word {
		err = fmt.Errorf("the other process said %.40q, not %q", got, word)
	}
	return err
}

// received are the files of a control message, closed on exec.
func received(oob []byte) (files []*os.File) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "handed over"))
		}
	}
	return files
}

// lend uses a descriptor as it is. File.Fd would make it blocking, in all processes that share it, and with it the accept
// of a listener that somebody still serves.
func lend(f *os.File, use func(fd int) error) error {
	rc, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := rc.Control(func(fd uintptr) { inner = use(int(fd)) }); err != nil {
		return err
	}
	return inner
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // they were only looked at
	}
}
