// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bufio"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// source reads a reply, content coding kept, and counts the time spent waiting for it.
type source struct {
	ctx   context.Context
	x     *exchange
	reply pipeline.Reply
	tee   func([]byte) error // sees every piece first; nil for none
	keep  *[]byte            // collects every piece; nil for none
	rest  []byte
	in    int64 // bytes so far
	err   error // the first error, io.EOF at the end
}

// Next returns the next piece, valid until the following call.
func (s *source) Next() ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	before := s.x.f.o.Now()
	p, err := s.reply.Next(s.ctx)
	s.x.waited += s.x.f.o.Now().Sub(before)
	s.in += int64(len(p))
	if len(p) > 0 {
		if s.keep != nil {
			*s.keep = append(*s.keep, p...)
		}
		if s.tee != nil {
			if terr := s.tee(p); terr != nil {
				s.err = terr
				return nil, terr
			}
		}
	}
	if err != nil {
		s.err = err
		if !errors.Is(err, io.EOF) {
			s.err = &cutError{by: "upstream", err: err}
			if s.ctx.Err() != nil {
				s.err = &cutError{by: ended(s.ctx), err: err}
			}
		} else {
			s.err = io.EOF
		}
		return p, s.err
	}
	return p, nil
}

// Read is Next for decoders.
func (s *source) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		b, err := s.Next()
		s.rest = b
		if err != nil && len(b) == 0 {
			return 0, err
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// cutError says who ended a reply before its time.
type cutError struct {
	by  string // see Outcome.Cut
	err error
}

func (e *cutError) Error() string { return "reply cut by " + e.by + ": " + e.err.Error() }
func (e *cutError) Unwrap() error { return e.err }

// errBomb is returned for replies that unpack to far more than was sent.
var errBomb = llm.NotInspected("reply unpacks to too much")

// bomb limits what unpacks from how much: a factor, after a start. Streams of tokens pack well, but not that well.
const (
	bombFactor = 256
	bombStart  = 1 << 20
)

// decoded returns the body of a reply without its content coding, as pieces.
func decoded(src *source, coding string) (next func() ([]byte, error), done func(), err error) {
	none := func() {}
	var r io.Reader
	var behind io.Reader = src // what the decoder has not read
	open := func() (io.Reader, error) { return nil, nil }
	switch strings.ToLower(strings.TrimSpace(coding)) {
	case "", "identity":
		return src.Next, none, nil
	case "gzip", "x-gzip":
		open = func() (io.Reader, error) { return gzip.NewReader(src) }
	case "deflate":
		ahead := bufio.NewReader(src) // else the decoder has one of its own, and hides what it holds
		behind = ahead
		open = func() (io.Reader, error) { return zlib.NewReader(ahead) }
	case "br":
		open = func() (io.Reader, error) { return brotli.NewReader(src), nil }
	case "zstd":
		d, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, none, fmt.Errorf("zstd: %w", err)
		}
		open = func() (io.Reader, error) { return d, nil }
		none = d.Close
	default:
		return nil, none, llm.NotInspected("reply in content coding %q", coding)
	}
	buf := make([]byte, 16<<10)
	var total int64
	return func() ([]byte, error) {
		if r == nil {
			var err error
			if r, err = open(); err != nil {
				return nil, codingError(src, err)
			}
		}
		n, err := r.Read(buf)
		if total += int64(n); total > bombStart+bombFactor*src.in {
			return nil, errBomb
		}
		if errors.Is(err, io.EOF) {
			// What follows the coded body must be nothing.
			if rest, rerr := io.Copy(io.Discard, behind); rerr != nil {
				return buf[:n], rerr
			} else if rest > 0 {
				return buf[:n], llm.NotInspected("bytes after the coded reply")
			}
			return buf[:n], io.EOF
		}
		if err != nil {
			return buf[:n], codingError(src, err)
		}
		return buf[:n], nil
	}, none, nil
}

// codingError tells a reply that was cut from one that cannot be decoded.
func codingError(src *source, err error) error {
	if src.err != nil && !errors.Is(src.err, io.EOF) {
		return src.err
	}
	return llm.NotInspected("reply cannot be unpacked (%T)", err)
}
