// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A segment is one file. It begins with this header; frames follow without gaps, then zeros, if it is being written or
// was when the process died.
//
//	 0   8  "SLYPJNL2", or "SLYPJNL1" of a version that sealed no content
//	 8   8  number of the segment
//	16   8  generation of the writer
//	24   8  sequence of the first record
//	32  32  hash of the record before the first, zero if that opens the generation
//	64   8  time of creation, nanoseconds since 1970
//	72   4  zero
//	76   4  CRC-32C of the bytes before
const (
	segmentMagic  = "SLYPJNL2"
	segmentMagic1 = "SLYPJNL1" // is read, not written
	segmentHeader = 80
	segmentSuffix = ".segment"
	tmpSuffix     = ".tmp"
)

type segmentInfo struct {
	number     uint64
	generation uint64
	first      uint64 // sequence
	prev       Hash
	created    time.Time
}

func (s *segmentInfo) encode() []byte {
	b := make([]byte, segmentHeader)
	le := binary.LittleEndian
	copy(b, segmentMagic)
	le.PutUint64(b[8:], s.number)
	le.PutUint64(b[16:], s.generation)
	le.PutUint64(b[24:], s.first)
	copy(b[32:64], s.prev[:])
	le.PutUint64(b[64:], uint64(s.created.UnixNano()))
	le.PutUint32(b[76:], crc32.Checksum(b[:76], castagnoli))
	return b
}

// readSegmentHeader checks the header against the file's name. What is wrong with it is a *Damage.
func readSegmentHeader(f io.ReaderAt, number uint64) (segmentInfo, error) {
	var b [segmentHeader]byte
	if _, err := f.ReadAt(b[:], 0); err != nil {
		if errors.Is(err, io.EOF) {
			return segmentInfo{}, &Damage{Segment: number, What: "the file is shorter than its header"}
		}
		return segmentInfo{}, fmt.Errorf("reading the header of segment %d: %w", number, err)
	}
	le := binary.LittleEndian
	switch {
	case string(b[:7]) == segmentMagic[:7] && b[7] > segmentMagic[7] && b[7] <= '9':
		return segmentInfo{}, &Damage{Segment: number, What: "the segment is of a newer version of Sallyport: read the journal with that"}
	case string(b[:8]) != segmentMagic && string(b[:8]) != segmentMagic1:
		return segmentInfo{}, &Damage{Segment: number, What: "this is no segment of a journal"}
	case le.Uint32(b[76:]) != crc32.Checksum(b[:76], castagnoli):
		return segmentInfo{}, &Damage{Segment: number, What: "the checksum of the header does not match"}
	case le.Uint64(b[8:]) != number:
		return segmentInfo{}, &Damage{Segment: number, What: fmt.Sprintf("the file holds segment %d", le.Uint64(b[8:]))}
	}
	s := segmentInfo{number: number, generation: le.Uint64(b[16:]), first: le.Uint64(b[24:]),
		created: time.Unix(0, int64(le.Uint64(b[64:]))).UTC()}
	copy(s.prev[:], b[32:64])
	return s, nil
}

func segmentPath(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016d%s", number, segmentSuffix))
}

// listSegments gives the numbers of the segments in a folder, in order. A hole between them is a *Damage.
func listSegments(dir string) ([]uint64, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the journal folder: %w", err)
	}
	var out []uint64
	for _, e := range names {
		base, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(base, 10, 64)
		if err != nil || n == 0 || filepath.Base(segmentPath(dir, n)) != e.Name() {
			return nil, fmt.Errorf("%s is not the name of a segment: move it out of the journal folder", filepath.Join(dir, e.Name()))
		}
		out = append(out, n)
	}
	slices.Sort(out)
	for i := 1; i < len(out); i++ {
		if out[i] != out[i-1]+1 {
			return out, &Damage{Segment: out[i-1] + 1, What: "the segment is missing"}
		}
	}
	return out, nil
}

// Damage says where a journal cannot be what its writer wrote.
type Damage struct {
	Segment uint64 `json:"segment"`
	Offset  uint64 `json:"offset"`
	What    string `json:"what"`
}

func (d *Damage) Error() string {
	return fmt.Sprintf("journal segment %d offset %d: %s", d.Segment, d.Offset, d.What)
}

// newSegmentFile makes a file of that many zero bytes in dir under a temporary name. With fill the zeros are really written,
// which makes later syncs cheaper by half and much steadier: they change no metadata of the file system.
func newSegmentFile(dir, name string, size int64, fill bool) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := allocate(f, size, fill); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, nil
}

func allocate(f *os.File, size int64, fill bool) error {
	err := withFD(f, func(fd int) error { return unix.Fallocate(fd, 0, 0, size) })
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		fill = true
	case err != nil:
		return os.NewSyscallError("fallocate", err)
	}
	if !fill {
		return nil
	}
	zeros := make([]byte, 256<<10)
	for off := int64(0); off < size; {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return datasync(f)
}

// activate turns a prepared file into a segment, by the number that s has or, if another generation took that, by the
// next one that is free.
func activate(f, folder *os.File, s *segmentInfo) error {
	dir := folder.Name()
	for {
		for exists(segmentPath(dir, s.number)) {
			s.number++
		}
		if _, err := f.WriteAt(s.encode(), 0); err != nil {
			return err
		}
		if err := datasync(f); err != nil {
			return err
		}
		err := unix.Renameat2(unix.AT_FDCWD, f.Name(), unix.AT_FDCWD, segmentPath(dir, s.number), unix.RENAME_NOREPLACE)
		switch {
		case err == nil:
			return folder.Sync()
		case !errors.Is(err, unix.EEXIST):
			return os.NewSyscallError("renameat2", err)
		}
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func datasync(f *os.File) error {
	for {
		err := withFD(f, unix.Fdatasync)
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// dropCache tells the kernel that a complete segment, which is on disk, is not read soon: its pages are taken for the next one,
// and a journal takes no more memory of the host, or of the daemon's cgroup, than a few segments. It is only advice.
func dropCache(f *os.File) {
	_ = withFD(f, func(fd int) error { return unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED) })
}

// withFD lends the descriptor without making the file blocking; the file cannot be closed meanwhile.
func withFD(f *os.File, do func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := c.Control(func(fd uintptr) { inner = do(int(fd)) }); err != nil {
		return err
	}
	return inner
}
