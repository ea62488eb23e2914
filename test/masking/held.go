// SPDX-License-Identifier: Apache-2.0

package masking

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/pipeline/mask"
)

// Tokens cuts a text as a model writes it: a word with the space before it, long ones in pieces of about four letters, marks alone.
func Tokens(text string) []string {
	var out []string
	for len(text) > 0 {
		n, letters := 0, 0
		if text[0] == ' ' && len(text) > 1 {
			n = 1
		}
		for n < len(text) {
			r, size := utf8.DecodeRuneInString(text[n:])
			if !(r >= 0x80 || word(text[n])) || letters == 7 {
				break
			}
			n += size
			letters++
		}
		if letters == 7 { // " Internatio" is " Intern" and "atio"
			n -= 3
			for n > 1 && !utf8.RuneStart(text[n]) {
				n--
			}
		}
		if letters == 0 {
			_, size := utf8.DecodeRuneInString(text[n:])
			n += size
		}
		out = append(out, text[:n])
		text = text[n:]
	}
	return out
}

// Held tells, for each token of texts that are fed token by token, how many bytes were held after it, in ascending order.
func Held(e *mask.Engine, texts []string) ([]int, error) {
	var held []int
	var buf []byte
	for _, text := range texts {
		r := e.Stream(Carrier, mask.StreamOptions{})
		for _, tok := range Tokens(text) {
			var err error
			if buf, err = r.Write(buf[:0], []byte(tok)); err != nil {
				return nil, fmt.Errorf("feeding a text by tokens: %w", err)
			}
			held = append(held, r.Held())
		}
		r.Release()
	}
	slices.Sort(held)
	return held, nil
}

// Percentile is the smallest value that p of 100 are not above.
func Percentile(sorted []int, p float64) int {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(p/100*float64(len(sorted))))]
}
