/* SPDX-License-Identifier: BSD-3-Clause
 * Two stacks on a seeded wire with a virtual clock.  Everything that happens follows from the seed.
 */
#pragma once
#include "tests/sim/host.h"

#define SIM_FRAMES_MAX 4096
#define SIM_CONNS_MAX  4

struct sim_frame {
	uint64_t at_us;
	uint64_t order;
	uint8_t to;
	uint16_t n;
	uint8_t *octets;
};

struct sim_wire {
	unsigned loss, duplicate, corrupt; /* of 1000 */
	uint64_t delay_us, jitter_us;
	uint64_t us_per_kb; /* rate limit; 0: none */
	bool strip_sack, strip_wscale;
};

/* One application end. */
struct sim_app {
	struct stream s;
	struct sim *sim;
	uint8_t end, conn;
	bool open, eof, closed, shut, stopped, reset;
	bool end_by_close; /* stream_close at once when all is sent, not shutdown */
	uint64_t to_send, sent, received;
	uint64_t resume_at;
	enum stream_reason reason;
};

struct sim {
	uint64_t seed, random, now_us, order;
	struct host host[2];
	struct sim_wire wire;
	struct sim_frame *frames[SIM_FRAMES_MAX]; /* heap by time */
	unsigned frame_n;
	uint64_t busy_until[2];
	struct listener listener;
	struct sim_app app[2][SIM_CONNS_MAX];
	unsigned conns, accepted;
	bool refused;
	struct { /* right edge per connection and direction, by client port */
		uint16_t port;
		bool known[2];
		uint8_t scale[2];
		uint32_t edge[2];
	} edges[8];
	uint64_t dropped, frames_sent;
	bool verbose;
};

/* Returns NULL, or what went wrong (static text). */
const char *sim_run(struct sim *sim, uint64_t seed, struct host_pools pools[2], bool verbose);
