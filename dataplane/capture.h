/* SPDX-License-Identifier: BSD-3-Clause
 * Copies of frames for who looks at one peer or one connection.  A core that traces compares each
 * frame that comes in on, or leaves by, a queue of its own with the filter, and copies what matches
 * into a ring of octets that another thread empties; when the ring is full the copy is not made and
 * counted, and the frame goes its way.  A core that does not trace tests one pointer for each
 * burst.
 *
 * The ring is of the thread that empties it, which makes it, gives it to the core (by a question,
 * store/control/agent.h) and takes it back before it is freed. */
#pragma once
#include <stdatomic.h>
#include "dataplane/base/netaddr.h"

struct rte_mbuf;

#define CAPTURE_RING_BYTES (1u << 20) /* chosen: 10 ms of a gigabit; a power of two */
#define CAPTURE_SNAP_MAX   16384u     /* octets kept of a frame: the largest there are */
#define CAPTURE_BURST_MAX  64

struct capture_filter {
	bool exact;        /* one connection: both endpoints; else a peer */
	struct ip_net net; /* the peer's address or network; ARP and ND about it as well */
	struct endpoint local, peer; /* exact */
	uint32_t snap;               /* octets kept of each frame, up to CAPTURE_SNAP_MAX */
};

/* A frame in the ring; its octets follow, filled up to a multiple of 16. */
struct capture_record {
	uint64_t ns;   /* wall clock */
	uint32_t size; /* of the frame */
	uint16_t n;    /* octets kept; CAPTURE_SKIP: the rest of the ring is not used */
	uint8_t port;
	bool out;
};
static_assert(sizeof(struct capture_record) == 16, "octets begin at a multiple of 16");
#define CAPTURE_SKIP UINT16_MAX

struct capture_ring {
	struct capture_filter filter; /* read-only while a core has the ring */
	/* the core's */
	alignas(CACHE_LINE) _Atomic uint64_t head; /* octets ever put in */
	_Atomic uint64_t seen, drops;              /* frames that matched; those without room */
	/* the other thread's */
	alignas(CACHE_LINE) _Atomic uint64_t tail;
	alignas(CACHE_LINE) uint8_t octets[CAPTURE_RING_BYTES];
};

/* Does the frame match?  Whatever is cut off or malformed does not. */
bool capture_matches(const struct capture_filter *f, const struct rte_mbuf *m);

/* The core: frames that came in. */
void capture_received(struct capture_ring *r, unsigned port, struct rte_mbuf **frames, unsigned n);
/* The core: frames that are about to be given to the driver, which may free them; then how many of
 * them it took.  n is at most CAPTURE_BURST_MAX. */
struct capture_sending {
	struct capture_ring *ring;
	uint64_t head[CAPTURE_BURST_MAX + 1]; /* the ring's after so many frames */
	unsigned n;
};
void capture_sending(struct capture_sending *s, struct capture_ring *r, unsigned port,
	struct rte_mbuf **frames, unsigned n);
void capture_sent(struct capture_sending *s, unsigned done);

/* The other thread: the oldest record; NULL: none.  It stays until capture_take. */
const struct capture_record *capture_peek(struct capture_ring *r);
void capture_take(struct capture_ring *r);
