// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"bytes"
	"debug/buildinfo"
	"encoding/binary"
	"errors"
	"io"
	"strings"
)

// goModule is LangChain's port to Go; what is below it counts too.
const goModule = "github.com/tmc/langchaingo"

// program looks at an executable that is no interpreter.
func program(r io.ReaderAt, size int64) (evidence, error) {
	var magic [4]byte
	if n, err := r.ReadAt(magic[:], 0); n < len(magic) {
		if err == io.EOF {
			err = nil
		}
		return evidence{}, err
	}
	if string(magic[:]) != "\x7fELF" {
		return evidence{}, nil // foreign formats (binfmt_misc)
	}
	if e, err := goProgram(r); e.how != "" || err != nil {
		return e, err
	}
	if e, err := frozen(r, size); e.how != "" || err != nil {
		return e, err
	}
	e, err := archive(r, size, "behind the executable")
	if errors.Is(err, errNoArchive) {
		err = nil
	}
	return evidence{how: e.how}, err
}

// goProgram reads the build information of a Go program, which stays when it is stripped.
func goProgram(r io.ReaderAt) (evidence, error) {
	info, err := buildinfo.Read(r)
	if errors.Is(err, errLarge) {
		return evidence{}, err
	}
	if err != nil {
		return evidence{}, nil // not a Go program
	}
	if info.Main.Path == goModule {
		return evidence{how: "Go module " + goModule}, nil
	}
	for _, m := range info.Deps {
		if m.Path == goModule || strings.HasPrefix(m.Path, goModule+"/") {
			return evidence{how: "Go module " + m.Path + " " + m.Version}, nil
		}
		if m.Replace != nil && m.Replace.Path == goModule {
			return evidence{how: "Go module " + goModule}, nil
		}
	}
	return evidence{}, nil
}

// What PyInstaller appends to its loader: a cookie at the end, a table of contents, and among the contents an archive of
// compiled modules, PYZ, with a table of its own.
var (
	frozenMagic = []byte("MEI\x0c\x0b\x0a\x0b\x0e")
	pyzMagic    = []byte("PYZ\x00")
)

const (
	frozenTail  = 1 << 20 // how far from the end the cookie is looked for: ELF section headers stand behind it
	cookieSize  = 88
	entryHeader = 18
	maxTable    = 16 << 20
)

// frozen looks for LangChain in the archive of a PyInstaller program.
func frozen(r io.ReaderAt, size int64) (evidence, error) {
	tail := min(size, frozenTail)
	b := make([]byte, tail)
	if _, err := r.ReadAt(b, size-tail); err != nil && err != io.EOF {
		return evidence{}, err
	}
	at := bytes.LastIndex(b, frozenMagic)
	if at < 0 || len(b)-at < cookieSize {
		return evidence{}, nil
	}
	c := b[at:]
	length, table, tableLen := int64(binary.BigEndian.Uint32(c[8:])), int64(binary.BigEndian.Uint32(c[12:])), int64(binary.BigEndian.Uint32(c[16:]))
	begin := size - tail + int64(at) + cookieSize - length
	if begin < 0 || table+tableLen > length || tableLen > maxTable {
		return evidence{}, nil // not what it looks like
	}
	toc := make([]byte, tableLen)
	if _, err := r.ReadAt(toc, begin+table); err != nil {
		return evidence{}, err
	}
	for len(toc) >= entryHeader {
		n := int64(binary.BigEndian.Uint32(toc))
		if n < entryHeader || n > int64(len(toc)) {
			break
		}
		offset, stored := int64(binary.BigEndian.Uint32(toc[4:])), int64(binary.BigEndian.Uint32(toc[8:]))
		kind, name := toc[17], string(bytes.TrimRight(toc[entryHeader:n], "\x00"))
		toc = toc[n:]
		switch {
		case inPackage(name + "/"):
			return evidence{how: "PyInstaller archive"}, nil
		case kind == 'z':
			found, err := pyzHolds(r, begin+offset, stored)
			if err != nil {
				return evidence{}, err
			}
			if found {
				return evidence{how: "PyInstaller archive"}, nil
			}
		}
	}
	return evidence{}, nil
}

// pyzHolds says whether the table of a PYZ names a module of LangChain. The table is marshalled, its names stand as they are.
func pyzHolds(r io.ReaderAt, at, length int64) (bool, error) {
	var head [12]byte
	if _, err := r.ReadAt(head[:], at); err != nil {
		if err == io.EOF {
			err = nil
		}
		return false, err
	}
	table := int64(binary.BigEndian.Uint32(head[8:]))
	if !bytes.HasPrefix(head[:], pyzMagic) || table > length || length-table > maxTable {
		return false, nil
	}
	b := make([]byte, length-table)
	n, err := r.ReadAt(b, at+table)
	if err == io.EOF {
		err = nil
	}
	return bytes.Contains(b[:n], []byte("langchain_core")), err
}
