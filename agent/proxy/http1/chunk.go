// SPDX-License-Identifier: Apache-2.0

package http1

import "bytes"

// LastChunk ends a body in chunks that has no trailer fields.
const LastChunk = "0\r\n\r\n"

// The limits of what surrounds chunks, in bytes.
const (
	maxChunkLine = 1024
	maxExtended  = 64 << 10 // lines with extensions, all those of one body together
	maxTrailer   = 16 << 10
)

// Piece is what a Decoder found at the front of the bytes that it was shown.
type Piece struct {
	Data  Span // the payload, or the trailer lines if Last; empty if more bytes are needed first
	Size  int  // bytes that it takes on the wire: cut them off the front before the next call; 0 if more are needed
	Need  int  // if Size is 0: with how many bytes it may go on, 0 if that is not known yet
	Whole bool // Data is the payload of one whole chunk, which lies in the first Size bytes
	Bare  bool // the chunk has no extensions
	Last  bool // the body is complete
}

// Decoder removes the chunked transfer coding (RFC 9112 section 7.1) from bytes that arrive in pieces. The zero value
// is ready for a new body. It never looks beyond the end of the body.
type Decoder struct {
	left  int64 // payload of the open chunk that is still to come
	ext   int   // bytes of chunk lines that have extensions
	state uint8
}

const (
	atChunk   = iota // a chunk line comes next
	inChunk          // payload
	atEnd            // the CRLF after the payload
	atTrailer        // the trailer section
	done
)

// Next looks at the front of b. Chunks come whole; with partial, what is there of a chunk that is not whole yet.
func (d *Decoder) Next(b []byte, partial bool) (Piece, error) {
	switch d.state {
	case atChunk:
		size, n, bare, err := chunkLine(b)
		if err != nil || n == 0 {
			return Piece{}, err
		}
		if size == 0 {
			d.state = atTrailer
			p, err := d.trailer(b[n:])
			if p.Size == 0 {
				d.state = atChunk // the line is still in b
				return Piece{}, err
			}
			if !d.extended(n, bare) {
				return Piece{}, ErrChunk
			}
			p.Data.Start, p.Data.End, p.Size, p.Bare = p.Data.Start+n, p.Data.End+n, p.Size+n, bare
			return p, nil
		}
		have := int64(len(b) - n)
		if have >= size+2 {
			end := n + int(size)
			if b[end] != '\r' || b[end+1] != '\n' || !d.extended(n, bare) {
				return Piece{}, ErrChunk
			}
			return Piece{Data: Span{n, end}, Size: end + 2, Whole: true, Bare: bare}, nil
		}
		if !partial || have == 0 {
			need := 0
			if size < 1<<30 {
				need = n + int(size) + 2
			}
			return Piece{Need: need}, nil
		}
		if !d.extended(n, bare) {
			return Piece{}, ErrChunk
		}
		take := min(have, size)
		d.left, d.state = size-take, inChunk
		if d.left == 0 {
			d.state = atEnd
		}
		return Piece{Data: Span{n, n + int(take)}, Size: n + int(take), Bare: bare}, nil
	case inChunk:
		take := min(int64(len(b)), d.left)
		if take == 0 {
			return Piece{}, nil
		}
		d.left -= take
		if d.left == 0 {
			d.state = atEnd
		}
		return Piece{Data: Span{0, int(take)}, Size: int(take), Bare: true}, nil
	case atEnd:
		if len(b) < 2 {
			return Piece{Need: 2}, nil
		}
		if b[0] != '\r' || b[1] != '\n' {
			return Piece{}, ErrChunk
		}
		d.state = atChunk
		p, err := d.Next(b[2:], partial)
		if err != nil || p.Size == 0 {
			return Piece{Size: 2}, err
		}
		p.Data.Start, p.Data.End, p.Size = p.Data.Start+2, p.Data.End+2, p.Size+2
		p.Whole = false // its first bytes belong to the chunk before
		return p, nil
	case atTrailer:
		return d.trailer(b)
	}
	return Piece{Last: true}, nil
}

// extended counts a chunk line of n bytes: a body is not to consist of what nobody reads.
func (d *Decoder) extended(n int, bare bool) bool {
	if !bare {
		d.ext += n
	}
	return d.ext <= maxExtended
}

// trailer reads the trailer section. Its fields are checked as those of a head are.
func (d *Decoder) trailer(b []byte) (Piece, error) {
	for at := 0; ; {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			if len(b) > maxTrailer {
				return Piece{}, ErrTrailer
			}
			return Piece{}, nil
		}
		end := at + i - 1
		if i < 1 || b[end] != '\r' || end > maxTrailer {
			return Piece{}, ErrTrailer
		}
		if end == at {
			d.state = done
			return Piece{Data: Span{0, at}, Size: at + 2, Last: true}, nil
		}
		colon := bytes.IndexByte(b[at:end], ':')
		if colon < 1 || !all(b[at:at+colon], isToken) || !all(b[at+colon+1:end], isValue) || framingField(b[at:at+colon]) {
			return Piece{}, ErrTrailer
		}
		at = end + 2
	}
}

// chunkLine reads the line before a chunk; n is 0 if it is not all there.
func chunkLine(b []byte) (size int64, n int, bare bool, err error) {
	i := 0
	for ; i < len(b); i++ {
		v := unhex(b[i])
		if v < 0 {
			break
		}
		if i == 15 { // below 2^60
			return 0, 0, false, ErrChunk
		}
		size = size<<4 | int64(v)
	}
	if i == len(b) {
		return 0, 0, false, nil
	}
	if i == 0 {
		return 0, 0, false, ErrChunk
	}
	if b[i] == '\r' {
		if i+1 == len(b) {
			return 0, 0, false, nil
		}
		if b[i+1] != '\n' {
			return 0, 0, false, ErrChunk
		}
		return size, i + 2, true, nil
	}
	if b[i] != ';' {
		return 0, 0, false, ErrChunk
	}
	j := bytes.IndexByte(b[i:], '\n')
	if j < 0 {
		if len(b) > maxChunkLine {
			return 0, 0, false, ErrChunk
		}
		return 0, 0, false, nil
	}
	end := i + j - 1
	if b[end] != '\r' || end > maxChunkLine || !all(b[i:end], isValue) {
		return 0, 0, false, ErrChunk
	}
	return size, end + 2, false, nil
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// AppendChunk appends b as one chunk. An empty b would end the body, so nothing is appended for it.
func AppendChunk(dst, b []byte) []byte {
	if len(b) == 0 {
		return dst
	}
	dst = AppendChunkLine(dst, len(b))
	dst = append(dst, b...)
	return append(dst, '\r', '\n')
}

// AppendChunkLine appends the line before n bytes of payload.
func AppendChunkLine(dst []byte, n int) []byte {
	const digits = "0123456789abcdef"
	shift := 0
	for n>>shift > 15 {
		shift += 4
	}
	for ; shift >= 0; shift -= 4 {
		dst = append(dst, digits[n>>shift&15])
	}
	return append(dst, '\r', '\n')
}
