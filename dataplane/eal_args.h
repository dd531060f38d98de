/* SPDX-License-Identifier: BSD-3-Clause
 * EAL's argument vector, made from configuration and from what the machine has.  Main thread,
 * before EAL; works without EAL, so that it can be tested as text. */
#pragma once
#include <sched.h>
#include "dataplane/port.h"

struct eal_host {
	cpu_set_t cpus;           /* our affinity mask */
	uint64_t free_huge_bytes; /* in hugepages of all sizes */
};

struct eal_args {
	int argc;
	char *argv[EAL_ARGS_MAX + 1]; /* NULL-terminated, into text[] */
	bool hugepages;
	uint32_t memory_mb;
	struct buf text;
	char memory[4096];
};

void eal_host_read(struct eal_host *host_r);
/* Returns 0, or -EINVAL: error[] names the key. */
int eal_args_build(const struct dataplane_conf *conf, const struct eal_host *host,
	struct eal_args *args_r, char *error, size_t error_n) WARN_UNUSED;
/* Octets of one frame in af_packet's ring. */
unsigned eal_af_packet_frame_bytes(const struct port_conf *p);
/* The name under which DPDK knows port i: "net_tap0", or the PCI address. */
void eal_port_name(const struct dataplane_conf *conf, unsigned i, char *out, size_t cap);
