// SPDX-License-Identifier: Apache-2.0

package anchor

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// File keeps anchors in a file, a line of JSON each: on a disk of another host, or one that can only be appended to.
type File struct{ Path string }

// Keep appends one; it is on disk when this returns.
func (k File) Keep(_ context.Context, a Anchor) error {
	line, err := json.Marshal(a)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(k.Path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("keeping an anchor: %w", err)
	}
	_, err = f.Write(append(line, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("keeping an anchor: %w", err)
	}
	return nil
}

// Dir keeps anchors in a folder, a file each, which is made once and never opened again for writing.
type Dir struct{ Path string }

// Keep makes a file; it is on disk when this returns.
func (k Dir) Keep(_ context.Context, a Anchor) error {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	// The same epoch can sign twice after a crash: then these are two files.
	name := filepath.Join(k.Path, fmt.Sprintf("%s-%016d-%.16s.json", a.Journal, a.Epoch, a.Signature))
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		if have, rerr := os.ReadFile(name); rerr == nil && bytes.Equal(bytes.TrimSpace(have), b) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("keeping an anchor: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if d, derr := os.Open(k.Path); derr == nil {
		err = errors.Join(err, d.Sync(), d.Close())
	}
	if err != nil {
		return fmt.Errorf("keeping an anchor: %w", err)
	}
	return nil
}

// Keeper is what keeps anchors.
type Keeper interface {
	Keep(context.Context, Anchor) error
}

// Open tells a folder from a file.
func Open(path string) Keeper {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return Dir{path}
	}
	return File{path}
}

// Read reads what File, or Dir, kept. A last line that a crash cut is left out.
func Read(path string) ([]Anchor, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading anchors: %w", err)
	}
	files := []string{path}
	if st.IsDir() {
		if files, err = filepath.Glob(filepath.Join(path, "*.json")); err != nil {
			return nil, err
		}
		slices.Sort(files)
	}
	var out []Anchor
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading anchors: %w", err)
		}
		list, err := parse(b)
		if err != nil {
			return nil, fmt.Errorf("reading anchors from %s: %w", name, err)
		}
		out = append(out, list...)
	}
	return out, nil
}

func parse(b []byte) (out []Anchor, err error) {
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" {
			continue
		}
		var a Anchor
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			if !bytes.HasSuffix(b, []byte("\n")) && bytes.HasSuffix(b, lines.Bytes()) {
				return out, nil
			}
			return nil, fmt.Errorf("line %d is no anchor: %w", n, err)
		}
		out = append(out, a)
	}
	return out, lines.Err()
}
