// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// KindOpen opens the chain of one writer generation; its body is an Opening.
const KindOpen = "open"

// kinds are the record types by number. Numbers are never reused.
var kinds = [...]string{
	1: KindOpen, 2: pipeline.KindCheckpoint, 3: pipeline.KindGap, 4: pipeline.KindFlow, 5: pipeline.KindIntent,
	6: pipeline.KindEvent, 7: pipeline.KindOutcome, 8: pipeline.KindDecision, 9: pipeline.KindPolicy,
	10: pipeline.KindConfig, 11: pipeline.KindAdmin, 12: pipeline.KindApproval, 13: pipeline.KindElevation,
	14: pipeline.KindOriginal,
}

func kindNumber(kind string) (byte, bool) {
	for i, k := range kinds {
		if k == kind && i > 0 {
			return byte(i), true
		}
	}
	return 0, false
}

// Kinds names all types of record.
func Kinds() []string { return slices.Clone(kinds[1:]) }

// kindName names a type; one that this version does not know can still be read and verified.
func kindName(n byte) string {
	if int(n) < len(kinds) && n > 0 {
		return kinds[n]
	}
	return fmt.Sprintf("type-%d", n)
}

// A frame is one record in a segment. Integers are little endian.
//
//	  0   4  length of the whole frame
//	  4   4  CRC-32C of the frame without this field
//	  8   1  type
//	  9   1  flags
//	 10   1  length of the session ID
//	 11   1  length of the exchange ID
//	 12   4  zero
//	 16   8  generation of the writer
//	 24   8  sequence within the generation, from 1
//	 32   8  synced: records of this generation up to this sequence were on disk when the frame was written
//	 40   8  time, nanoseconds since 1970 (signed)
//	 48  32  hash of the previous record of this generation, zero for the first
//	 80  32  SHA-256 of the content, as it stands in the frame: of sealed content, the ciphertext
//	112      session ID, exchange ID, content
//
// The hash of a record is SHA-256 over its header, that is everything before the content but the CRC. It covers the
// content by its digest.
const (
	frameHeader = 112
	maxFrame    = 1 << 28
	tailGuard   = 8 // zero bytes that a preallocated segment always keeps at its end

	flagAttachment = 1 // the content is: length of the JSON (4), JSON, attachment; if it is sealed, the attachment is in the sealed part
	flagSealed     = 2 // the content is: length of the JSON (4), JSON, sealed part
	flagOmitted    = 4 // the part that would have been sealed was left out for want of a key
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Hash is the chain value of one record.
type Hash [sha256.Size]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText writes a hash in hex.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText is the inverse of MarshalText.
func (h *Hash) UnmarshalText(b []byte) error {
	raw, err := hex.DecodeString(string(b))
	if err != nil || len(raw) != len(h) {
		return fmt.Errorf("hash %q: want %d hex digits", b, 2*len(h))
	}
	copy(h[:], raw)
	return nil
}

// header is what seal writes into a frame.
type header struct {
	kind       byte
	flags      byte
	generation uint64
	sequence   uint64
	synced     uint64
	time       int64
	prev       Hash
	digest     Hash
	session    string
	exchange   string
}

// seal fills the header of a frame whose names and content are in place already, and returns the record's hash.
func seal(frame []byte, h *header) Hash {
	le := binary.LittleEndian
	le.PutUint32(frame[0:], uint32(len(frame)))
	frame[8], frame[9], frame[10], frame[11] = h.kind, h.flags, byte(len(h.session)), byte(len(h.exchange))
	le.PutUint32(frame[12:], 0)
	le.PutUint64(frame[16:], h.generation)
	le.PutUint64(frame[24:], h.sequence)
	le.PutUint64(frame[32:], h.synced)
	le.PutUint64(frame[40:], uint64(h.time))
	copy(frame[48:80], h.prev[:])
	copy(frame[80:112], h.digest[:])
	le.PutUint32(frame[4:], checksum(frame))
	return recordHash(frame, frameHeader+len(h.session)+len(h.exchange))
}

func checksum(frame []byte) uint32 {
	return crc32.Update(crc32.Checksum(frame[:4], castagnoli), castagnoli, frame[8:])
}

func recordHash(frame []byte, end int) Hash {
	var buf [frameHeader + 2*255]byte
	n := copy(buf[:], frame[:4])
	n += copy(buf[n:], frame[8:end])
	return sha256.Sum256(buf[:n])
}

// The ways in which bytes can fail to be a record.
const (
	whyShort    = "the record is longer than what follows"
	whyLength   = "the length of the record is impossible"
	whyChecksum = "the checksum does not match"
	whyReserved = "a reserved field is not zero"
)

// parse reads the frame at the start of b, which may go on. Slices of the entry point into b. why is "" for a sound frame.
func parse(b []byte, e *Entry) (length int, why string) {
	if len(b) < 4 {
		return 0, whyShort
	}
	le := binary.LittleEndian
	length = int(le.Uint32(b))
	if length < frameHeader || length > maxFrame {
		return length, whyLength
	}
	if length > len(b) {
		return length, whyShort
	}
	b = b[:length]
	if checksum(b) != le.Uint32(b[4:]) {
		return length, whyChecksum
	}
	if le.Uint32(b[12:]) != 0 {
		return length, whyReserved
	}
	names := frameHeader + int(b[10])
	content := names + int(b[11])
	if content > length {
		return length, whyLength
	}
	e.Kind = kindName(b[8])
	e.kind, e.flags = b[8], b[9]
	e.Session, e.Exchange = intern(e.Session, b[frameHeader:names]), intern(e.Exchange, b[names:content])
	e.Generation, e.Sequence, e.synced = le.Uint64(b[16:]), le.Uint64(b[24:]), le.Uint64(b[32:])
	e.Time = time.Unix(0, int64(le.Uint64(b[40:]))).UTC()
	copy(e.Prev[:], b[48:80])
	copy(e.digest[:], b[80:112])
	e.Hash = recordHash(b, content)
	e.content = b[content:]
	return length, ""
}

// intern saves an allocation where a name repeats, as it does from record to record.
func intern(last string, b []byte) string {
	if last == string(b) {
		return last
	}
	return string(b)
}
