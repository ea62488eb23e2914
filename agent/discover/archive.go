// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
)

// errNoArchive says that a file is no zip archive.
var errNoArchive = errors.New("no zip archive")

// Sizes and marks of the zip format (APPNOTE.TXT 4.3).
const (
	endSize       = 22
	locatorSize   = 20
	end64Size     = 56
	entrySize     = 46
	maxComment    = 65535
	maxDirectory  = 16 << 20
	endMark       = "PK\x05\x06"
	locatorMark   = "PK\x06\x07"
	end64Mark     = "PK\x06\x06"
	entryMark     = "PK\x01\x02"
	saturated     = 0xffffffff
	directoryMove = 1 << 40 // larger offsets are nonsense
)

// archive looks for LangChain in the directory of a zip archive, which may have other bytes before it: a "#!" line, a
// program.
func archive(r io.ReaderAt, size int64, name string) (evidence, error) {
	directory, err := central(r, size)
	if err != nil {
		return evidence{}, err
	}
	found := false
	entries(directory, func(entry string) bool {
		found = inPackage("site-packages/" + entry) // the archive itself is the folder of packages
		return !found
	})
	if !found {
		return evidence{}, nil
	}
	return evidence{"zip archive " + name, name}, nil
}

// central reads the directory of an archive.
func central(r io.ReaderAt, size int64) ([]byte, error) {
	tail := make([]byte, min(size, endSize+maxComment+locatorSize))
	if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil && err != io.EOF {
		return nil, err
	}
	at := bytes.LastIndex(tail, []byte(endMark))
	if at < 0 || len(tail)-at < endSize {
		return nil, errNoArchive
	}
	end := tail[at:]
	length, offset := int64(binary.LittleEndian.Uint32(end[12:])), int64(binary.LittleEndian.Uint32(end[16:]))
	endAt := size - int64(len(tail)) + int64(at)
	if (length == saturated || offset == saturated) && at >= locatorSize && string(tail[at-locatorSize:at-locatorSize+4]) == locatorMark {
		// The 64-bit record stands right before its locator, unless it has extensions, which nobody uses.
		var b [end64Size]byte
		endAt -= locatorSize + end64Size
		if endAt < 0 {
			return nil, errNoArchive
		}
		if _, err := r.ReadAt(b[:], endAt); err != nil {
			return nil, err
		}
		if string(b[:4]) != end64Mark {
			return nil, errNoArchive
		}
		length, offset = int64(binary.LittleEndian.Uint64(b[40:])), int64(binary.LittleEndian.Uint64(b[48:]))
	}
	if length < 0 || length > maxDirectory {
		return nil, errLarge
	}
	// Offsets may count from the archive's own beginning: the directory always ends where its end record begins.
	begin := endAt - length
	if begin < 0 || offset > directoryMove {
		return nil, errNoArchive
	}
	b := make([]byte, length)
	if _, err := r.ReadAt(b, begin); err != nil && err != io.EOF {
		return nil, err
	}
	if length > 0 && !bytes.HasPrefix(b, []byte(entryMark)) {
		return nil, errNoArchive
	}
	return b, nil
}

// entries calls do with the names in a directory until it says no.
func entries(b []byte, do func(name string) bool) {
	for len(b) >= entrySize && strings.HasPrefix(string(b[:4]), entryMark) {
		name := int(binary.LittleEndian.Uint16(b[28:]))
		extra := int(binary.LittleEndian.Uint16(b[30:])) + int(binary.LittleEndian.Uint16(b[32:]))
		if entrySize+name+extra > len(b) {
			return
		}
		if !do(string(b[entrySize : entrySize+name])) {
			return
		}
		b = b[entrySize+name+extra:]
	}
}
