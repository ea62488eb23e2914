// SPDX-License-Identifier: Apache-2.0

package content

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Sealed content is
//
//	 0   4  slot of the key in the key file of the record's generation
//	 4  16  name of the key
//	20  12  nonce
//	32      ciphertext and tag of AES-256-GCM, with the record's type and names as associated data
//
// and what is encrypted is: the length of its first part (uvarint), the number of pieces (uvarint), the pieces, and bytes. A
// piece is n<<1 for the next n of these bytes, or n<<1|1 for n bytes that were recorded before, followed by segment, offset
// of the record, and where they begin in its bytes (uvarints). Without pieces the bytes are all of the content.
const sealedHead = 4 + NameSize + 12

// Overhead is how much longer sealed content is than what it holds, if nothing of that was recorded before.
const Overhead = sealedHead + 16 + 2*binary.MaxVarintLen32

type chunkID [16]byte

// source is where bytes of a session were recorded: at a place in the bytes of a record's content.
type source struct {
	at   pipeline.Position
	from uint32
}

const (
	minChunk  = 128
	maxChunk  = 4 << 10
	minDedup  = 512     // content shorter than this is not looked for
	maxChunks = 200_000 // that a writer remembers, of all sessions together
)

// cut is the length of the chunk that b begins with. Chunks end behind a brace, as the messages of a request do, so that a
// request that repeats the messages of the one before is cut at the same places, whatever follows them.
func cut(b []byte) int {
	if len(b) <= minChunk {
		return len(b)
	}
	end := min(len(b), maxChunk)
	if i := bytes.IndexByte(b[minChunk:end], '}'); i >= 0 {
		return minChunk + i + 1
	}
	return end
}

// Note is what a sealed content lets later ones refer to, once it is known where it was recorded.
type Note struct {
	s   *Session
	ids []chunkID
	at  []uint32
}

// Seal appends the sealed form of content, of which the first split bytes are one part and the rest is another, to dst. With
// again the content is looked for in what the session recorded before, and remembered by the Note.
func (s *Session) Seal(dst, aad, content []byte, split int, again bool) ([]byte, Note) {
	note := Note{s: s}
	dst = append(dst, s.key[:]...)
	var nonce [12]byte
	binary.LittleEndian.PutUint64(nonce[4:], s.count.Add(1)) // the key is of this process alone, so none comes twice
	dst = append(dst, nonce[:]...)
	start := len(dst)
	dst = binary.AppendUvarint(dst, uint64(split))
	if again && len(content) >= minDedup {
		dst = s.pieces(dst, content, &note)
	} else {
		dst = append(dst, 0)
		dst = append(dst, content...)
	}
	return s.aead.Seal(dst[:start], nonce[:], dst[start:], aad), note
}

type piece struct {
	n   int
	old bool
	source
}

func (s *Session) pieces(dst, content []byte, note *Note) []byte {
	var list []piece
	var nonce [12]byte
	tag := make([]byte, 0, 16)
	fresh := uint32(0)
	s.mu.Lock()
	for rest := content; len(rest) > 0; {
		n := cut(rest)
		// A tag that nobody sees is a keyed hash: whoever does not know the key finds no two chunks with the same.
		id := chunkID(s.hash.Seal(tag, nonce[:], nil, rest[:n]))
		src, old := s.chunks[id]
		var last *piece
		if len(list) > 0 {
			last = &list[len(list)-1]
		}
		switch {
		case old && last != nil && last.old && last.at == src.at && last.from+uint32(last.n) == src.from,
			!old && last != nil && !last.old:
			last.n += n
		default:
			list = append(list, piece{n, old, src})
		}
		if !old {
			note.ids, note.at = append(note.ids, id), append(note.at, fresh)
			fresh += uint32(n)
		}
		rest = rest[n:]
	}
	s.mu.Unlock()
	if len(list) == 1 && !list[0].old {
		dst = append(dst, 0)
		return append(dst, content...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, p := range list {
		if !p.old {
			dst = binary.AppendUvarint(dst, uint64(p.n)<<1)
			continue
		}
		dst = binary.AppendUvarint(dst, uint64(p.n)<<1|1)
		dst = binary.AppendUvarint(dst, p.at.Segment)
		dst = binary.AppendUvarint(dst, p.at.Offset)
		dst = binary.AppendUvarint(dst, uint64(p.from))
	}
	at := 0
	for _, p := range list {
		if !p.old {
			dst = append(dst, content[at:at+p.n]...)
		}
		at += p.n
	}
	return dst
}

// Recorded lets later content of the session refer to this one: its record is at that place. w is the writer of the session.
func (n *Note) Recorded(w *Writer, at pipeline.Position) {
	if len(n.ids) == 0 {
		return
	}
	w.mu.Lock()
	full := w.chunks+len(n.ids) > maxChunks
	if full { // those who talk on are remembered again
		for _, s := range w.sessions {
			s.mu.Lock()
			if s.chunks != nil {
				s.chunks = map[chunkID]source{}
			}
			s.mu.Unlock()
		}
		w.chunks = 0
	}
	n.s.mu.Lock()
	if before := len(n.s.chunks); n.s.chunks != nil {
		for i, id := range n.ids {
			n.s.chunks[id] = source{at, n.at[i]}
		}
		w.chunks += len(n.s.chunks) - before
	}
	n.s.mu.Unlock()
	w.mu.Unlock()
}

// errSealed says that sealed content cannot be what its writer wrote.
var errSealed = errors.New("sealed content cannot be decrypted or read")
