// SPDX-License-Identifier: Apache-2.0

package masking

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
)

//go:embed testdata/dev.jsonl.gz
var dev []byte

// Document is a labelled text.
type Document struct {
	ID       string   `json:"id"`
	Source   string   `json:"source"`
	Labelled Labelled `json:"labelled"`
	Text     string   `json:"text"`
	Spans    []Span   `json:"spans"`
	Ignore   []Span   `json:"ignore"` // to mask these is neither right nor wrong
}

// Span is a value: bytes [Start, End) of the text.
type Span struct {
	Start int    `json:"start"`
	End   int    `json:"end"`
	Type  string `json:"type,omitempty"`
}

// Labelled says which families are labelled in a text: nil is all of them. What is found of others is not judged.
type Labelled []string

// UnmarshalJSON reads "*" or a list.
func (l *Labelled) UnmarshalJSON(b []byte) error {
	*l = nil
	if bytes.Equal(b, []byte(`"*"`)) {
		return nil
	}
	return json.Unmarshal(b, (*[]string)(l))
}

// Dev is the development corpus, on which the rules were made.
func Dev() ([]Document, error) { return Read(bytes.NewReader(dev)) }

// Read reads a corpus, one document a line, compressed or not.
func Read(r io.Reader) ([]Document, error) {
	in := bufio.NewReader(r)
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("unpacking a corpus: %w", err)
		}
		in = bufio.NewReader(z)
	}
	var docs []Document
	for dec := json.NewDecoder(in); ; {
		var d Document
		if err := dec.Decode(&d); err == io.EOF {
			return docs, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading document %d of a corpus: %w", len(docs)+1, err)
		}
		docs = append(docs, d)
	}
}
