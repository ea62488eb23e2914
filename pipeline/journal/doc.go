// SPDX-License-Identifier: Apache-2.0

// Package journal is the append-only log of everything that was asked, decided and released. It is the only truth:
// listings, the search store and Elasticsearch are derived from it.
//
// # Where to start
//
// Journal.Append writes a record (journal.go), commit.go brings records to disk, full.go is about disks and quotas that are
// used up, repair.go decides at Open what a crash left behind, beside.go looks after generations that are still written by
// a process that hands over. Reader reads a folder, also one that is being written, out of the chain of each generation
// (chain.go, catalog.go); Cursor follows a Journal and shows only what is on disk. Verify checks a folder. Folder, Index
// and Exchange turn records into exchanges. The bytes are described in docs/journal-format.md and in frame.go.
//
// # What a caller may rely on
//
//   - When Append returns, the record is in the file: it survives the death of the process. When the channel yields nil,
//     it is on disk: it survives the death of the machine.
//   - Records are on disk in the order of their sequence numbers; an acknowledged record is never followed by a hole.
//   - After the first error of writing or syncing nothing is acknowledged any more, until a restart has looked at what is
//     really on disk. A second fsync that succeeds proves nothing about the pages that the first one lost.
//   - One writer of a generation, and one generation at a time unless Options.Beside says otherwise, by advisory locks that
//     die with the process.
//
// Size: package: the writer, the reader that judges what the writer left behind, and the
// fold from records to exchanges share one format, and splitting them would publish it.
package journal
