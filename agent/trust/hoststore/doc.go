// SPDX-License-Identifier: Apache-2.0

// Package hoststore puts our roots into the trust stores of the host itself, for processes in its own mount namespace, and
// takes them out again. Nothing is mounted there: a mount over a file makes package managers fail with EBUSY.
//
//   - The system's store (system.go): a file for each root where the distribution's own tool looks for additions, then that
//     tool. Packages that bring the store anew run it too, so our roots come through their upgrades.
//   - Each copy of certifi and its like (file.go): a block at the end of the file, between two marks (block.go). The file is
//     exchanged as a whole (replace.go); its owner, permissions, extended attributes and time stay. What an upgrade overwrote
//     is noticed by inotify (watch.go), by a look once a minute, and when a program is marked, and put in again.
//   - Units (unit.go): a drop-in that gives a unit mounts of its own at its next start, and in them merged copies.
//
// Every change is announced in the ledger, and that is on disk, before it is made; it can be undone from its record and
// what stands on the disk alone, whatever step a crash came after. What others changed meanwhile stays: a block is cut out,
// never an old copy put back.
//
// The folders of a virtual environment may belong to somebody who would like root to write elsewhere. So a path is walked
// once, without following a link; all else happens through the descriptors of that walk. Only a regular file is touched,
// which holds certificates and nothing else, has a name that a store has, and belongs to root, to the user of the program
// that reads it, or may be read by everybody. A file that somebody writes to at the moment is left for later (a lease).
//
// Size: package: changes of every kind are announced, made and undone under one lock and through one way of opening files;
// apart, that way would have to be exported, and with it the ways to use it wrongly.
package hoststore
