// SPDX-License-Identifier: Apache-2.0

package learn

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/sallyport-dev/sallyport/bpf"
)

// hostKey is the one form of a host's name.
func hostKey(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// toWire is a name as a question holds it (RFC 1035, section 3.1), in lower case.
func toWire(host string) (k bpf.DnsNameKey, err error) {
	var b [len(k.Word) * 8]byte
	at := 0
	labels := strings.Split(hostKey(host), ".")
	if len(labels) > maxLabels || len(host) > 253 {
		return k, fmt.Errorf("the host %s has too many labels or letters to be looked for in DNS: at most %d and 253", host, maxLabels)
	}
	for _, label := range labels {
		if label == "" || len(label) > 63 {
			return k, fmt.Errorf("%q is no host name", host)
		}
		b[at] = byte(len(label))
		at += 1 + copy(b[at+1:], label)
	}
	for i := range k.Word {
		k.Word[i] = binary.NativeEndian.Uint64(b[i*8:])
	}
	return k, nil
}

func fromWire(k *bpf.DnsNameKey) string {
	var b [len(k.Word) * 8]byte
	for i, w := range k.Word {
		binary.NativeEndian.PutUint64(b[i*8:], w)
	}
	var labels []string
	for at := 0; at < len(b) && b[at] != 0; {
		end := at + 1 + int(b[at])
		if end > len(b) {
			break
		}
		labels = append(labels, string(b[at+1:end]))
		at = end
	}
	return strings.Join(labels, ".")
}
