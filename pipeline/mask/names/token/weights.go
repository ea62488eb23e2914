// SPDX-License-Identifier: Apache-2.0

package token

import "encoding/binary"

// Scale is what one stands for in Weights.
const Scale = 256

// Weights are those of a model: for each feature one towards Person and one towards Address, both against Other.
type Weights struct {
	W    [][2]int16
	Bias [2]int32
}

// Decide is the tag that a decision gets.
func (w *Weights) Decide(features []uint32) Tag {
	p, a := w.Bias[0], w.Bias[1]
	for _, f := range features {
		x := &w.W[f]
		p += int32(x[0])
		a += int32(x[1])
	}
	switch {
	case p <= 0 && a <= 0:
		return Other
	case p >= a:
		return Person
	}
	return Address
}

// Append writes the weights.
func (w *Weights) Append(dst []byte) []byte {
	for _, b := range w.Bias {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(b))
	}
	for c := range 2 {
		for i := range w.W {
			dst = binary.LittleEndian.AppendUint16(dst, uint16(w.W[i][c]))
		}
	}
	return dst
}

// ReadWeights reads what Append wrote and returns the rest of b.
func ReadWeights(b []byte) (*Weights, []byte, error) {
	const n = 1 << Bits
	if len(b) < 8+4*n {
		return nil, nil, errShort
	}
	w := &Weights{W: make([][2]int16, n)}
	for c := range 2 {
		w.Bias[c] = int32(binary.LittleEndian.Uint32(b[4*c:]))
		for i := range n {
			w.W[i][c] = int16(binary.LittleEndian.Uint16(b[8+2*(c*n+i):]))
		}
	}
	return w, b[8+4*n:], nil
}
