// SPDX-License-Identifier: Apache-2.0

// Package approval is where what policy holds waits for people, and where roles are given for a time. Start reading at Desk;
// docs/approvals.md says what people and applications see.
//
// # The journal is the only truth
//
// An item (one approval or elevation) changes by records alone, and each is applied once it is on disk (Desk.commit). So a
// decision is durable or not taken: Decide returns after its record is on disk, and only then does whoever waits go on, after a
// record of that use is on disk too. Two things need no record to be so: what nobody decided in time is denied, and what lasted
// for a time is over; the record only says that it happened. At start Fold applies the same records in the same way, from the newest
// whole snapshot on (Snapshot, journal.Approvals), and Restored tells how far the journal had come.
//
// # What a decision is bound to
//
// A digest of canonical JSON (package jcs): the tool and its arguments as the model wrote them, or the request; the same as people
// saw it; who calls; the rule that holds, as it reads. What has no canonical form, or numbers that it would round, is bound as the
// bytes that it is. It is keyed, since what is masked may be short enough to be guessed from a digest.
//
// # One release each
//
// An approval is used once. Tries of one request wait for the same approval; when it is given the newest of them gets it, as the
// older ones are most likely given up, and those that still wait ask anew. A use has a name (Held.Use): the same thing coming again,
// not an equal one, is let through again, so that a reply with two held calls can be decided call by call. A refusal answers the same
// digest until it would have lapsed, so that nobody is asked again by a loop.
//
// # Time
//
// Each deadline is kept on two clocks, and what comes first counts: the monotonic clock cannot be set, the wall clock goes on while
// the host sleeps. At start what is left is counted from the newest record of the journal or the wall clock, whichever is later. So
// no clock that is set makes anything last longer, or come back.
package approval
