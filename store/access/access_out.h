/* SPDX-License-Identifier: BSD-3-Clause
 * What a mailbox session has to say and the peer has not yet taken: a chain of chunks.  Producers
 * stop above ACCESS_OUT_HIGH and go on when the stream has drained it; an idle session holds no
 * chunk.  OWNER: the session's core. */
#pragma once
#include "dataplane/base/rt/chunk.h"

#define ACCESS_OUT_HIGH   (16 * 1024) /* octets, chosen: no new unit of output above this */
#define ACCESS_OUT_SPARES 4           /* chunks set aside, so that a unit of 16 kB cannot fail */
#define ACCESS_OUT_PRINT  1024        /* octets of one access_out_printf */
#define ACCESS_OUT_COPIED 1024        /* chosen: no chunk of its own for so few octets */

struct access_out {
	struct chain chain;
	struct chain spare;
	uint32_t taken;  /* octets of the first chunk already sent */
	uint32_t chunks; /* of chain */
	bool failed;     /* the pool ran dry inside a unit: the session must end */
};

/* Octets waiting. */
static inline uint64_t access_out_bytes(const struct access_out *o)
{
	return o->chain.bytes - o->taken;
}
/* Set spare chunks aside before a unit of output is begun.  False: pool empty, try later. */
bool access_out_reserve(struct access_out *o) WARN_UNUSED;
/* Give the spare chunks back: the session has nothing to do. */
void access_out_relax(struct access_out *o);
/* Append; sets failed when there is no chunk. */
void access_out_put(struct access_out *o, struct bytes data);
void access_out_str(struct access_out *o, const char *s);
/* At most ACCESS_OUT_PRINT octets. */
void access_out_printf(struct access_out *o, const char *format, ...) PRINTF(2, 3);
/* Move all of data to the end, or a copy when it is little: many answers of some octets would else
 * hold a chunk each while the peer does not read.  Sets failed as access_out_put does. */
void access_out_join(struct access_out *o, struct chain *data);
/* The next octets to send (empty: none), valid until consumed. */
struct bytes access_out_peek(const struct access_out *o);
void access_out_consume(struct access_out *o, size_t n);
void access_out_free(struct access_out *o);
