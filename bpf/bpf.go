// SPDX-License-Identifier: Apache-2.0

// Package bpf holds the kernel side: the programs in *.bpf.c, one header per map in maps/, and the committed objects with
// the Go code that loads them, so that building needs no clang. Only agent/kernel imports it.
//
// Several objects, so that a kernel that refuses one loses one capability and not the agent: redirect (connections),
// track (LangChain marks, opened trust stores), cgroup (cgroups that come and go), dns (addresses of endpoints), cover (every
// connection, counted), older (connections that are older than we), exec (programs that start), netns (network namespaces that
// come to need a listener). Structs that both sides share stand in include/types.h and are generated for Go from the redirect
// object alone.
package bpf

//go:generate go tool bpf2go -go-package bpf -tags linux -target bpfel -no-global-types -type conn -type flow_key -type origin -type config -type row -type cgroup_state -type exe_key -type scope_counters -type marking -type beat -type scope_name -type quic_counters -type target Redirect redirect.bpf.c -- -isystem /usr/include/x86_64-linux-gnu -O2 -g -Wall -Werror -Wpadded -mcpu=v3
//go:generate go tool bpf2go -go-package bpf -tags linux -target bpfel -no-global-types -type event -type store_key -type store -type root_set -type opened -type store_opens -type shaken Track track.bpf.c -- -isystem /usr/include/x86_64-linux-gnu -O2 -g -Wall -Werror -Wpadded -mcpu=v3
//go:generate go tool bpf2go -go-package bpf -tags linux -target bpfel -no-global-types Cgroup cgroup.bpf.c -- -isystem /usr/include/x86_64-linux-gnu -O2 -g -Wall -Werror -Wpadded -mcpu=v3
//go:generate go tool bpf2go -go-package bpf -tags linux -target bpfel -no-global-types -type name_key -type learned_key -type place -type copy Dns dns.bpf.c -- -isystem /usr/include/x86_64-linux-gnu -O2 -g -Wall -Werror -Wpadded -mcpu=v3
//go:generate go tool bpf2go -go-package bpf -tags linux -target bpfel -no-global-types -type cover_key -type cover_row -type cover_told Cover cover.bpf.c -- -isystem /usr/include/x86_64-linux-gnu -O2 -g -Wall -Werror -Wpadded -mcpu=v3
//go:generate go tool bpf2go -go-package bpf -tags linux -target bpfel -no-global-types -type held_socket Older older.bpf.c -- -isystem /usr/include/x86_64-linux-gnu -O2 -g -Wall -Werror -Wpadded -mcpu=v3
//go:generate go tool bpf2go -go-package bpf -tags linux -target bpfel -no-global-types -type exec_event -type executable Exec exec.bpf.c -- -isystem /usr/include/x86_64-linux-gnu -O2 -g -Wall -Werror -Wpadded -mcpu=v3
//go:generate go tool bpf2go -go-package bpf -tags linux -target bpfel -no-global-types -type ask Netns netns.bpf.c -- -isystem /usr/include/x86_64-linux-gnu -O2 -g -Wall -Werror -Wpadded -mcpu=v3
