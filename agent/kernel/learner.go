// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/sallyport-dev/sallyport/agent/kernel/learn"
	"github.com/sallyport-dev/sallyport/bpf"
)

// minLearner is the oldest kernel known to grant what the DNS programs need: bpf_loop, and storage on sockets of packets.
const minLearner = "6.12"

// Learner knows the addresses of endpoints.
func (k *Kernel) Learner() *learn.Learner { return k.learner }

func (k *Kernel) loadLearner() {
	m := k.redirect.Maps
	shared := map[string]*ebpf.Map{bpf.DnsMapLearned: m[bpf.RedirectMapLearned], bpf.DnsMapCrowded: m[bpf.RedirectMapCrowded]}
	maps := learn.Maps{Ports: m[bpf.RedirectMapPorts], Targets: m[bpf.RedirectMapTargets], Learned: m[bpf.RedirectMapLearned], Crowded: m[bpf.RedirectMapCrowded]}
	var err error
	if k.dns, err = k.collection(bpf.LoadDns, shared); err != nil {
		k.refused["dns"] = explain("learning addresses from DNS", minLearner, err)
	} else {
		maps.Hosts, maps.Learning, maps.Answers = k.dns.Maps[bpf.DnsMapHosts], k.dns.Maps[bpf.DnsMapLearning], k.dns.Maps[bpf.DnsMapAnswers]
	}
	k.learner = learn.New(maps)
}

// attachLearner attaches the DNS programs, if the kernel granted them; the lock is held.
func (k *Kernel) attachLearner(fresh map[string]link.Link) {
	if k.dns == nil {
		return
	}
	for name, at := range map[string]ebpf.AttachType{bpf.DnsProgDnsEgress: ebpf.AttachCGroupInetEgress, bpf.DnsProgDnsIngress: ebpf.AttachCGroupInetIngress} {
		if err := k.hook(name, at, k.dns.Programs[name], fresh); err != nil {
			k.refused["dns/"+name] = err
		}
	}
}

// QUIC counts the datagrams of one scope for endpoints.
type QUIC struct{ Refused, Bypassed uint64 }

// QUIC reads the counters of a scope: an index, agent.ScopeDefault or agent.ScopePending.
func (k *Kernel) QUIC(scope uint32) (QUIC, error) {
	var c bpf.RedirectQuicCounters
	if err := k.redirect.Maps[bpf.RedirectMapQuic].Lookup(scopeSlot(scope), &c); err != nil {
		return QUIC{}, fmt.Errorf("reading the kernel's counters: %w", err)
	}
	return QUIC{c.Refused, c.Bypassed}, nil
}
