// SPDX-License-Identifier: Apache-2.0

// Package tlsca is the vocabulary of the folder where secret keys live: a secret that cannot be printed, host names as
// certificates spell them, and certificates and keys as PEM. It does no I/O.
//
// tlsca/authority holds the keys of the private CA, tlsca/leaf the certificates that applications are shown.
package tlsca
