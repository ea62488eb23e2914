// SPDX-License-Identifier: Apache-2.0

// Package es starts a real Elasticsearch for tests and the demo, and can kill it.
//
// The server is Elastic's own build for integration tests. start-es fetches it from Maven Central on first use (104 MB,
// checksum pinned), keeps it in ~/.cache/test-es, and adds GapPlugin.java, which is ours and supplies the few endpoints
// that this build lacks. Elasticsearch is offered by Elastic under the Elastic License 2.0, the SSPL or the AGPL 3, its
// x-pack parts under the Elastic License 2.0. It is fetched when a test needs it and never redistributed: neither it nor
// the compiled plugin, which links against it, is part of this repository or of what is built from it.
//
// Needed: a JDK (17 or later), Maven and curl. See README.md for what the build can and cannot do.
package es
