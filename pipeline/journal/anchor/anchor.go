// SPDX-License-Identifier: Apache-2.0

// Package anchor signs checkpoints of a journal with a key that evolves, and keeps them where the journal is not.
//
// A checkpoint says how far the chain of a generation had come. Each signature names the key of the next one, and its own key is
// destroyed: whoever takes the host over can sign what comes, and nothing that was before. A signature on the host alone proves
// nothing about the end of the chain, as it can be cut off together with it. An Anchor is the same statement kept elsewhere.
package anchor

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Anchor is one signed checkpoint: all that a verifier needs to know of it. Its JSON is an interface; binary values are in hex.
type Anchor struct {
	Journal    string    `json:"journal"` // names the journal, for good: 16 random bytes
	Epoch      uint64    `json:"epoch"`   // of the signing key, from 0
	Boot       string    `json:"boot"`
	Generation uint64    `json:"generation"`
	Sequence   uint64    `json:"sequence"` // of the last record that it covers; the checkpoint itself is the next
	Head       string    `json:"head"`     // hash of that record
	Time       time.Time `json:"time"`
	Key        string    `json:"key"`  // Ed25519 public key of the epoch
	Next       string    `json:"next"` // that of the following epoch
	Signature  string    `json:"signature"`
}

// Message is what is signed.
func (a *Anchor) Message() []byte {
	return fmt.Appendf(nil, "sallyport checkpoint 1\njournal %s\nepoch %d\nboot %s\ngeneration %d\nsequence %d\nhead %s\ntime %s\nnext %s\n",
		a.Journal, a.Epoch, a.Boot, a.Generation, a.Sequence, a.Head, a.Time.UTC().Format(time.RFC3339Nano), a.Next)
}

// Check says whether the signature is that of the key that the anchor names. Whether to trust that key is another question.
func (a *Anchor) Check() error {
	if strings.ContainsAny(a.Boot+a.Journal+a.Head+a.Next, "\n") {
		return errors.New("the checkpoint has a line break in a field")
	}
	key, err := hex.DecodeString(a.Key)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return errors.New("the checkpoint names no Ed25519 key")
	}
	sig, err := hex.DecodeString(a.Signature)
	if err != nil || !ed25519.Verify(key, a.Message(), sig) {
		return errors.New("the signature of the checkpoint is wrong")
	}
	return nil
}
