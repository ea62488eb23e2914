// SPDX-License-Identifier: Apache-2.0

// Package approval is where what policy holds waits for people, and where roles are given for a time. The journal is the only
// truth: a decision is taken when its record is on disk, and at start the state is folded from the records.
package approval
