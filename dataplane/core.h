/* SPDX-License-Identifier: BSD-3-Clause
 * A polling core: one lcore, one loop, one stack, whatever its roles.  Roles hang themselves on the
 * core before it starts: listeners and connections on its stack, channels whose completions it
 * drains, pollers that run each lap, timers on its wheel.  A lap:
 *
 *   rx burst -> ip, tcp, upcalls -> channels -> pollers -> timers -> tcp output -> tx burst -> idle
 *
 * Nothing called from here may block. */
#pragma once
#include "dataplane/base/rt/channel.h"
#include "dataplane/base/rt/ids.h"
#include "dataplane/timer.h"

struct stack;
struct core_io;

enum core_role {
	CORE_DATAPLANE = 1 << 0, /* SMTP in */
	CORE_DELIVERY = 1 << 1,  /* relaying out */
	CORE_CONTROL = 1 << 2,   /* POP3 and IMAP */
};

#define CORES_MAX         16
#define CORE_CHANNELS_MAX 288 /* with 16 shards of the store and 4 readers each */
#define CORE_POLLERS_MAX  12
#define CORE_LONG_LAP_US  1000 /* chosen: a lap that long delays every connection of the core */

/* Work of a role in each lap.  Returns how much it did; 0 lets the core go idle. */
struct poller {
	unsigned (*poll)(void *ctx, uint64_t now_us);
	void *ctx;
};

enum core_idle { CORE_IDLE_ADAPTIVE, CORE_IDLE_SPIN };

/* What a lap is made of; a long lap is counted under the stage that took most of it. */
enum core_stage {
	CORE_STAGE_RX,
	CORE_STAGE_CHANNELS,
	CORE_STAGE_POLLERS,
	CORE_STAGE_TIMERS,
	CORE_STAGE_TX,
	CORE_STAGE_N
};
/* "rx", "channels" ... */
const char *core_stage_text(enum core_stage stage);

struct core {
	/* read-only after start */
	uint32_t index; /* 0.. among the polling cores; also the ids' and steering's core number */
	uint32_t lcore;
	uint32_t roles; /* enum core_role */
	int socket;
	enum core_idle idle;
	bool shares_cpu;     /* with another thread of ours: spin at most 50 us */
	struct stack *stack; /* NULL: the core has no ports (tests) */
	struct core_io *io;  /* its side of the ports and of the other cores; NULL with stack */
	struct channel *channels[CORE_CHANNELS_MAX];
	unsigned channel_count;
	struct poller pollers[CORE_POLLERS_MAX];
	unsigned poller_count;
	/* the core's own */
	alignas(CACHE_LINE) uint64_t now_us; /* CLOCK_MONOTONIC, read once per lap */
	uint64_t now_ms;                     /* wall clock, read once per lap */
	struct ids ids;
	struct timer_wheel wheel;
	/* shared */
	struct waker waker; /* who has something for this core kicks it */
	alignas(CACHE_LINE) _Atomic uint64_t lap_at_us; /* main's watchdog reads it */
	_Atomic uint64_t worst_lap_us;                  /* since start, without sleeps */
	_Atomic uint32_t worst_lap_stage;               /* enum core_stage: most of it */
	_Atomic uint64_t long_laps[CORE_STAGE_N];       /* laps over CORE_LONG_LAP_US, by stage */
	atomic_bool stop;
};

/* Before start, from main (dataplane_start does it).  waker.fd < 0 afterwards: no descriptors. */
void core_init(struct core *c, uint32_t index, uint32_t lcore, uint32_t roles);
void core_fini(struct core *c);
/* -ENOSPC when there are too many. */
int core_add_channel(struct core *c, struct channel *ch) WARN_UNUSED;
int core_add_poller(struct core *c, struct poller p) WARN_UNUSED;
/* The loop; returns when core_stop was called.  lcore function: arg is the struct core. */
int core_run(void *arg);
/* Any thread. */
void core_stop(struct core *c);
