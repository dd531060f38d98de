/* SPDX-License-Identifier: BSD-3-Clause
 * What went over a test's wire, kept in memory, and written as a capture file (pcap, Ethernet,
 * microseconds) when somebody wants to see it.  Any thread. */
#pragma once
#include "dataplane/base/bytes.h"

struct pcap {
	uint8_t *octets; /* malloc */
	size_t n, size;
	size_t max;  /* no more than this is kept; 0: nothing is */
	size_t lost; /* frames beyond that */
};

void pcap_init(struct pcap *p, size_t max);
void pcap_fini(struct pcap *p);
/* Forget what is kept, not the memory. */
void pcap_reset(struct pcap *p);
void pcap_add(struct pcap *p, uint64_t now_us, struct bytes frame);
/* Returns 0 or -errno.  Uses only calls that a signal handler may make. */
int pcap_write(const struct pcap *p, const char *path);
