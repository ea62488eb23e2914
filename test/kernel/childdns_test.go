// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// question is a query for one name, spelled as it is given.
func question(id uint16, name, kind string) []byte {
	q := binary.BigEndian.AppendUint16(nil, id)
	q = append(q, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	for _, label := range strings.Split(name, ".") {
		q = append(append(q, byte(len(label))), label...)
	}
	q = append(q, 0)
	q = binary.BigEndian.AppendUint16(q, map[string]uint16{"A": 1, "AAAA": 28, "HTTPS": 65}[kind])
	return binary.BigEndian.AppendUint16(q, 1)
}

// resolve asks once, from a connected socket or another, and gives the addresses.
func resolve(how, server, name, kind string) (r reply) {
	query := question(uint16(time.Now().UnixNano()), name, kind)
	if how == "tcp" {
		return resolveTCP(server, query)
	}
	addr, err := net.ResolveUDPAddr("udp", server)
	if err != nil {
		return reply{Error: err.Error()}
	}
	var c *net.UDPConn
	if how == "connected" {
		if c, err = net.DialUDP("udp", nil, addr); err == nil {
			_, err = c.Write(query)
		}
	} else if c, err = net.ListenUDP("udp", nil); err == nil {
		_, err = c.WriteTo(query, addr)
	}
	if err != nil {
		return reply{Error: errno(err)}
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err != nil {
		return reply{Error: errno(err)}
	}
	return addressesIn(b[:n])
}

func resolveTCP(server string, query []byte) reply {
	c, err := net.Dial("tcp", server)
	if err != nil {
		return reply{Error: errno(err)}
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		return reply{Error: errno(err)}
	}
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return reply{Error: errno(err)}
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(c, b); err != nil {
		return reply{Error: errno(err)}
	}
	return addressesIn(b)
}

func addressesIn(b []byte) (r reply) {
	var d layers.DNS
	if err := d.DecodeFromBytes(b, gopacket.NilDecodeFeedback); err != nil {
		return reply{Error: err.Error()}
	}
	for _, a := range d.Answers {
		if a.IP != nil {
			r.Said += a.IP.String() + " "
		}
	}
	return r
}

func resolveMany(server, name, port, times string) reply {
	n, _ := strconv.Atoi(times)
	r := reply{Count: map[string]int{}}
	for range n {
		got := resolve("connected", server, name, "A")
		if got.Error != "" {
			return got
		}
		to, err := netip.ParseAddrPort(strings.TrimSpace(got.Said) + ":" + port)
		if err != nil {
			return reply{Error: err.Error()}
		}
		c := connect("v4", to)
		r.Count[c.Said+c.Error]++
	}
	return r
}
