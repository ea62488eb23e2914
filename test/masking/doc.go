// SPDX-License-Identifier: Apache-2.0

// Package masking measures pipeline/mask on labelled texts: how much is found, how much too much is masked, whether a text that arrives
// in pieces is masked as a whole one is, how much is held back and how fast it is. testdata/README.md says where the texts come from.
package masking
