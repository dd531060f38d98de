/* SPDX-License-Identifier: BSD-3-Clause
 * The header that a load balancer puts before a connection (PROXY protocol, versions 1 and 2): who
 * the client really is.  Believed only of listed peers, and of these it is demanded.  Any thread,
 * no allocation. */
#pragma once
#include "dataplane/base/netaddr.h"

#define PROXY_HEADER_MAX                                                                           \
	1024 /* octets, chosen: addresses and a few extensions; longer is refused */

enum proxy_verdict {
	PROXY_MORE, /* not whole yet */
	PROXY_OK,   /* *header_r is valid */
	PROXY_BAD,  /* no such header, malformed or too long: close */
};

struct proxy_header {
	bool given;               /* false: the balancer speaks for itself (LOCAL) */
	bool unknown;             /* ... or for a client of which it tells nothing (UNKNOWN) */
	struct endpoint from, to; /* given */
};

/* Parse the header that in begins with; *used_r: its octets with PROXY_OK.  BAD is told with the
 * first octet that no header can have. */
enum proxy_verdict proxy_parse(struct bytes in, struct proxy_header *header_r, size_t *used_r);
