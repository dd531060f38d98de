/* SPDX-License-Identifier: BSD-3-Clause
 * What must hold for the segments that two stacks send to each other, as somebody on the wire sees
 * them, before anything is lost: the window's right edge and the acknowledgment never move left,
 * nothing goes beyond the window or the peer's segment size, timestamps never go back. */
#pragma once
#include "tests/sim/packet.h"

#define FLOWS_MAX 64

/* One direction, by what its sender said. */
struct flow_side {
	bool syn, scaled, stamped, edge_known, ack_known;
	uint8_t scale;
	uint16_t mss;
	uint32_t iss;  /* of its last SYN */
	uint32_t edge; /* right edge that it offers */
	uint32_t ack, stamp;
};

struct flow {
	struct ip_addr opener, other;
	uint16_t opener_port, port; /* of the opener, and of the other end */
	struct flow_side side[2];   /* 0: the opener's */
};

struct flows {
	struct flow flow[FLOWS_MAX];
	unsigned n;
};

/* live: the sender has a connection for this segment.  Without one (TIME_WAIT, a SYN cookie) a
 * segment is an answer that offers nothing.  Returns NULL, or what is wrong (static text). */
const char *flows_check(struct flows *f, const struct packet *p, bool live);
