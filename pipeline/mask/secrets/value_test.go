// SPDX-License-Identifier: Apache-2.0

package secrets

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// maker makes values that look like secrets, the same for the same seed.
type maker struct{ *rand.Rand }

func newMaker(seed uint64) maker { return maker{rand.New(rand.NewPCG(seed, 7))} }

func (g maker) of(n int, alphabet string) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[g.IntN(len(alphabet))]
	}
	return string(b)
}

const (
	azLower = "abcdefghijklmnopqrstuvwxyz"
	azUpper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	az09    = azLower + azUpper + "0123456789"
	hex16   = "0123456789abcdef"
)

// make returns a value of a kind.
func (g maker) make(kind string) string {
	name, n := kind, 0
	if i := strings.IndexByte(kind, ':'); i >= 0 {
		name = kind[:i]
		fmt.Sscanf(kind[i+1:], "%d", &n)
	}
	switch name {
	case "hex":
		return g.of(n, hex16)
	case "HEX":
		return g.of(n, "0123456789ABCDEF")
	case "alnum":
		return g.of(n-3, az09) + "7aQ"[g.IntN(2):][:1] + "4z"
	case "low":
		return g.of(n-3, azLower+"0123456789") + "4k7"
	case "up":
		return g.of(n-2, azUpper+"234567") + "7Q"
	case "url":
		return g.of(n-4, az09+"_-") + "9aX2"
	case "b64":
		s := g.of(n-4, az09+"+/") + "b7Xq"
		return s + strings.Repeat("=", (4-n%4)%4)
	case "digits":
		return "7" + g.of(n-1, "0123456789")
	case "uuid":
		return fmt.Sprintf("%s-%s-4%s-a%s-%s", g.of(8, hex16), g.of(4, hex16), g.of(3, hex16), g.of(3, hex16), g.of(12, hex16))
	case "aws":
		return g.of(37, az09+"+/") + "kZ4"
	case "akia":
		return "AKIA" + g.of(14, azUpper+"234567") + "3Q"
	case "pw": // what people and their password managers choose
		switch g.IntN(5) {
		case 0:
			return []string{"Summer", "Winter", "Falcon", "Copper", "Dragon", "Berlin"}[g.IntN(6)] + []string{"", "_", "-", "!"}[g.IntN(4)] + g.of(4+g.IntN(6), az09) + fmt.Sprint(10+g.IntN(90))
		case 1:
			return g.of(10+g.IntN(8), az09) + "3k"
		case 2:
			return g.of(6, az09) + "#" + g.of(3, az09) + "*" + g.of(4, az09) + "5"
		case 3:
			return g.of(1, azUpper) + g.of(6, azLower) + fmt.Sprint(1000+g.IntN(9000)) + "!"
		}
		return g.of(5, az09) + "$" + g.of(6, az09) + "@8x"
	case "jwt":
		return "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiI" + g.of(30, az09) + "." + g.of(43, az09+"_-")
	case "raw":
		return ""
	case "lines": // the body of a PEM block
		var b strings.Builder
		for range 6 {
			b.WriteString(g.of(64, az09+"+/") + "\n")
		}
		return b.String()
	case "pem": // escaped if n is 1
		s := "-----BEGIN RSA PRIVATE KEY-----\n" + g.make("lines") + "-----END RSA PRIVATE KEY-----"
		if n == 1 {
			s = strings.ReplaceAll(s, "\n", `\n`)
		}
		return s
	}
	panic("no such kind: " + kind)
}

// fill replaces each «kind» of a template and tells where the values are; «kind|prefix» has a prefix that belongs to the value. What stands
// between ‹ and › is one value.
func (g maker) fill(template string) (text string, values [][2]int) {
	var b strings.Builder
	group := -1
	for template != "" {
		i := strings.IndexAny(template, "«‹›")
		if i < 0 {
			b.WriteString(template)
			break
		}
		b.WriteString(template[:i])
		switch rest := template[i:]; {
		case strings.HasPrefix(rest, "‹"):
			group, template = b.Len(), rest[len("‹"):]
		case strings.HasPrefix(rest, "›"):
			values = append(values, [2]int{group, b.Len()})
			group, template = -1, rest[len("›"):]
		default:
			kind, after, _ := strings.Cut(rest[len("«"):], "»")
			kind, prefix, _ := strings.Cut(kind, "|")
			start := b.Len()
			b.WriteString(prefix + g.make(kind))
			if group < 0 {
				values = append(values, [2]int{start, b.Len()})
			}
			template = after
		}
	}
	return b.String(), values
}
