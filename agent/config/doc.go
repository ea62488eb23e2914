// SPDX-License-Identifier: Apache-2.0

// Package config reads the one YAML file of the agent, and a few environment variables, into plain structs. It is
// strict: an unknown or doubled key, and a value that cannot work, are errors that say where and what to do. Reference
// prints the whole file with its defaults. The package imports nothing of ours; agent/daemon translates.
package config
