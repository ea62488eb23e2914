// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// errGone says that a process ended, or became another one.
var errGone = errors.New("the process ended")

// errLarge says that a file was not read to its end, because that would be too much.
var errLarge = errors.New("larger than what is read of one file")

const (
	nsPerTick  = 10_000_000 // of the clock ticks of /proc
	maxRead    = 64 << 20   // bytes read of one file
	maxCmdline = 64 << 10
	maxEnviron = 256 << 10
)

// process reads /proc/PID (proc(5)).
type process struct {
	root string
	pid  uint32
}

func (p process) path(name string) string {
	return filepath.Join(p.root, strconv.FormatUint(uint64(p.pid), 10), name)
}

// read reads the beginning of one of its files.
func (p process) read(name string, most int64) ([]byte, error) {
	f, err := os.Open(p.path(name))
	if err != nil {
		return nil, gone(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most))
	return b, gone(err)
}

func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return errGone
	}
	return err
}

// started is when the process started, in nanoseconds since boot, to a tick.
func (p process) started() (uint64, error) {
	b, err := p.read("stat", 4096)
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 20 {
		return 0, errGone
	}
	n, err := strconv.ParseUint(f[19], 10, 64)
	return n * nsPerTick, err
}

// file is an open regular file.
type file struct {
	*os.File
	name string // as the process names it
	id   agent.Program
}

// identify takes a descriptor over; what is no regular file is closed and refused.
func identify(fd int, name string) (*file, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("looking at a file: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return nil, errors.New("not a regular file")
	}
	return &file{os.NewFile(uintptr(fd), name), name,
		agent.Program{Dev: st.Dev, Ino: st.Ino, Size: uint64(st.Size), Changed: uint64(st.Ctim.Nano())}}, nil
}

func (f *file) size() int64 { return int64(f.id.Size) }

// bounded reads a file, but not more than is sensible, and not longer than its context lives. err is the first error but the
// file's end.
type bounded struct {
	ctx  context.Context
	r    io.ReaderAt
	left int64
	err  error
}

func (b *bounded) ReadAt(p []byte, at int64) (n int, err error) {
	defer func() {
		if err != nil && err != io.EOF && b.err == nil {
			b.err = err
		}
	}()
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, errLarge
	}
	return b.r.ReadAt(p, at)
}

// flags: a FIFO or a device in the place of a file must not hold us up.
const flags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC | unix.O_NOCTTY

// executable opens what the process runs.
func (p process) executable() (*file, error) {
	name, err := os.Readlink(p.path("exe"))
	if err != nil {
		return nil, gone(err) // kernel threads have none
	}
	fd, err := unix.Open(p.path("exe"), flags, 0)
	if err != nil {
		return nil, gone(err)
	}
	return identify(fd, strings.TrimSuffix(name, " (deleted)"))
}

// open opens a file by the name that the process has for it.
func (p process) open(name string) (*file, error) {
	if !filepath.IsAbs(name) {
		cwd, err := os.Readlink(p.path("cwd"))
		if err != nil {
			return nil, gone(err)
		}
		name = filepath.Join(cwd, name)
	}
	root, err := unix.Open(p.path("root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, gone(err)
	}
	defer unix.Close(root)
	// Links lead where they lead the process, not to files of ours.
	fd, err := unix.Openat2(root, name, &unix.OpenHow{Flags: flags, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return nil, fmt.Errorf("opening a file of a process: %w", err)
	}
	return identify(fd, name)
}

// arguments are its command line.
func (p process) arguments() ([]string, error) {
	b, err := p.read("cmdline", maxCmdline)
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00"), nil
}

// variable is one variable of its environment at start; nothing else of that is looked at.
func (p process) variable(name string) string {
	b, err := p.read("environ", maxEnviron)
	if err != nil {
		return ""
	}
	for v := range strings.SplitSeq(string(b), "\x00") {
		if rest, ok := strings.CutPrefix(v, name+"="); ok {
			return rest
		}
	}
	return ""
}

// mapped is a file of a LangChain package that it has mapped, "" if there is none.
func (p process) mapped() (string, error) {
	f, err := os.Open(p.path("maps"))
	if err != nil {
		return "", gone(err)
	}
	defer f.Close()
	sc := bufio.NewScanner(io.LimitReader(f, 16<<20))
	for sc.Scan() {
		if i := strings.IndexByte(sc.Text(), '/'); i >= 0 && inPackage(sc.Text()[i:]) {
			return sc.Text()[i:], nil
		}
	}
	return "", sc.Err()
}

// inPackage says whether a path leads through the folder of a LangChain package: track.bpf.c has the same rule.
func inPackage(path string) bool {
	packaged := false
	for {
		name, rest, ok := strings.Cut(path, "/")
		if !ok {
			return false // the last name is a file's
		}
		if name == "langchain" && packaged || name == "@langchain" || isModule(name) {
			return true
		}
		packaged = strings.HasSuffix(name, "packages") || strings.HasSuffix(name, "_modules")
		path = rest
	}
}

func isModule(name string) bool {
	return strings.HasPrefix(name, "langchain_") && !strings.ContainsAny(name, ".-")
}
