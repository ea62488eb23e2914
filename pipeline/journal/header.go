// SPDX-License-Identifier: Apache-2.0

package journal

import "encoding/binary"

// Header is what the hash of the record is made of: its frame up to the content, without the checksum. Together with the headers of the
// records after it up to a signed checkpoint it proves that a record is in the chain, whether or not the contents of others are at hand.
func (e *Entry) Header() []byte {
	le := binary.LittleEndian
	b := make([]byte, frameHeader-4, frameHeader-4+len(e.Session)+len(e.Exchange))
	le.PutUint32(b, uint32(frameHeader+len(e.Session)+len(e.Exchange)+len(e.content)))
	b[4], b[5], b[6], b[7] = e.kind, e.flags, byte(len(e.Session)), byte(len(e.Exchange))
	le.PutUint64(b[12:], e.Generation)
	le.PutUint64(b[20:], e.Sequence)
	le.PutUint64(b[28:], e.synced)
	le.PutUint64(b[36:], uint64(e.Time.UnixNano()))
	copy(b[44:], e.Prev[:])
	copy(b[76:], e.digest[:])
	return append(append(b, e.Session...), e.Exchange...)
}

// Stored is the content of the record as it stands in the journal, what is sealed of it as it is sealed: the header has its SHA-256. It is valid
// as long as the entry.
func (e *Entry) Stored() []byte { return e.content }
