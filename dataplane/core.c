/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/core.h"
#include <errno.h>
#include <sched.h>
#include <rte_cycles.h>
#include <rte_lcore.h>
#include <rte_pause.h>
#include "dataplane/base/counters.h"
#include "dataplane/base/log.h"
#include "dataplane/io.h"
#include "dataplane/stack.h"

#define TIMERS_PER_LAP 64
#define SPIN_SHARED_US 50    /* at most, where another thread of ours wants the CPU */
#define SPIN_US        1000  /* chosen: longer than a round trip in a machine room */
#define SLEEP_MAX_US   20000 /* chosen: 50 wake-ups a second are cheap and bound any mistake */

static const char *const stage_text[CORE_STAGE_N] = {
	[CORE_STAGE_RX] = "rx",
	[CORE_STAGE_CHANNELS] = "channels",
	[CORE_STAGE_POLLERS] = "pollers",
	[CORE_STAGE_TIMERS] = "timers",
	[CORE_STAGE_TX] = "tx",
};

const char *core_stage_text(enum core_stage stage)
{
	return stage_text[stage];
}

void core_init(struct core *c, uint32_t index, uint32_t lcore, uint32_t roles)
{
	memset(c, 0, sizeof(*c));
	c->index = index;
	c->lcore = lcore;
	c->roles = roles;
	c->socket = (int)rte_lcore_to_socket_id(lcore);
	c->now_us = clock_mono_us();
	c->now_ms = clock_wall_ms();
	atomic_init(&c->lap_at_us, 0);
	atomic_init(&c->stop, false);
	ids_init(&c->ids, index, 0);
	timer_wheel_init(&c->wheel, c->now_us);
	if (waker_init(&c->waker) < 0)
		c->waker.fd = -1;
}

void core_fini(struct core *c)
{
	if (c->waker.fd >= 0)
		waker_fini(&c->waker);
}

int core_add_channel(struct core *c, struct channel *ch)
{
	if (c->channel_count == CORE_CHANNELS_MAX)
		return -ENOSPC;
	c->channels[c->channel_count++] = ch;
	return 0;
}

int core_add_poller(struct core *c, struct poller p)
{
	if (c->poller_count == CORE_POLLERS_MAX)
		return -ENOSPC;
	c->pollers[c->poller_count++] = p;
	return 0;
}

void core_stop(struct core *c)
{
	atomic_store_explicit(&c->stop, true, memory_order_release);
	waker_kick(&c->waker);
}

static bool core_stopping(struct core *c)
{
	return atomic_load_explicit(&c->stop, memory_order_acquire);
}

/* ---- a lap ---- */

static void read_clocks(struct core *c)
{
	c->now_us = clock_mono_us();
	c->now_ms = clock_wall_ms();
	atomic_store_explicit(&c->lap_at_us, c->now_us, memory_order_relaxed);
}

static unsigned run_channels(struct core *c)
{
	unsigned work = 0;

	for (unsigned i = 0; i < c->channel_count; i++)
		work += channel_poll(c->channels[i]);
	return work;
}

static unsigned run_pollers(struct core *c)
{
	unsigned work = 0;

	for (unsigned i = 0; i < c->poller_count; i++)
		work += c->pollers[i].poll(c->pollers[i].ctx, c->now_us);
	return work;
}

/* stamp[i]: TSC at the beginning of stage i; the last one is the end. */
static unsigned run_stages(struct core *c, uint64_t stamp[CORE_STAGE_N + 1])
{
	unsigned work = 0;

	stamp[CORE_STAGE_RX] = rte_rdtsc();
	if (c->io)
		work += core_io_receive(c->io, c->now_us);
	stamp[CORE_STAGE_CHANNELS] = rte_rdtsc();
	work += run_channels(c);
	stamp[CORE_STAGE_POLLERS] = rte_rdtsc();
	work += run_pollers(c);
	stamp[CORE_STAGE_TIMERS] = rte_rdtsc();
	work += timer_run(&c->wheel, c->now_us, TIMERS_PER_LAP);
	stamp[CORE_STAGE_TX] = rte_rdtsc();
	if (c->stack)
		work += stack_flush(c->stack, c->now_us);
	if (c->io)
		work += core_io_transmit(c->io, c->now_us);
	stamp[CORE_STAGE_N] = rte_rdtsc();
	return work;
}

static void note_long_lap(struct core *c, const uint64_t stamp[CORE_STAGE_N + 1], uint64_t us)
{
	unsigned worst = 0;

	for (unsigned i = 1; i < CORE_STAGE_N; i++) {
		if (stamp[i + 1] - stamp[i] > stamp[worst + 1] - stamp[worst])
			worst = i;
	}
	counter_inc(CTR_CORE_LONG_LAPS);
	atomic_fetch_add_explicit(&c->long_laps[worst], 1, memory_order_relaxed);
	if (us > atomic_load_explicit(&c->worst_lap_us, memory_order_relaxed)) {
		atomic_store_explicit(&c->worst_lap_us, us, memory_order_relaxed);
		atomic_store_explicit(&c->worst_lap_stage, worst, memory_order_relaxed);
	}
	log_debug("core", "long-lap core=%u us=%llu stage=%s", c->index, (unsigned long long)us,
		core_stage_text(worst));
}

static unsigned core_lap(struct core *c)
{
	uint64_t stamp[CORE_STAGE_N + 1], began = c->now_us;
	unsigned work = run_stages(c, stamp);

	read_clocks(c);
	uint64_t took = c->now_us - began;
	counter_inc(CTR_CORE_LAPS);
	counter_add(work ? CTR_CORE_BUSY_US : CTR_CORE_IDLE_US, took);
	if (unlikely(took > CORE_LONG_LAP_US))
		note_long_lap(c, stamp, took);
	return work;
}

/* ---- idle ---- */

static uint64_t sleep_bound(const struct core *c)
{
	uint64_t most = c->now_us + SLEEP_MAX_US, next = timer_next_us(&c->wheel, most);

	return next <= c->now_us ? 0 : MIN(next, most) - c->now_us;
}

/* Announce the sleep, look everywhere once more, sleep.  Returns work of that last look. */
static unsigned core_sleep(struct core *c)
{
	unsigned work;

	waker_begin(&c->waker);
	work = core_lap(c);
	uint64_t bound = sleep_bound(c), began = c->now_us;
	if (!work && bound && !core_stopping(c)) {
		counter_inc(CTR_CORE_SLEEPS);
		if (c->io)
			core_io_wait(c->io, bound);
		else
			waker_wait(&c->waker, bound);
		read_clocks(c);
		counter_add(CTR_CORE_IDLE_US, c->now_us - began);
	}
	waker_end(&c->waker);
	return work;
}

static void core_threads_init(const struct core *c)
{
	char name[16];

	snprintf(name, sizeof(name), "core%u", c->index);
	counters_thread_init(name);
	log_thread_init(name);
}

/* A lap without work.  Who shares the CPU, the store's writer above all, gets it at once and not at
 * the end of our time slice, which is longer than a commit. */
static void core_pause(const struct core *c)
{
	if (c->shares_cpu)
		sched_yield();
	else
		rte_pause();
}

int core_run(void *arg)
{
	struct core *c = arg;
	uint64_t spin_us = c->shares_cpu ? SPIN_SHARED_US : SPIN_US;
	uint64_t worked_us; /* when there was work last */

	core_threads_init(c);
	read_clocks(c);
	worked_us = c->now_us;
	while (!core_stopping(c)) {
		unsigned work = core_lap(c);
		if (!work && c->idle == CORE_IDLE_ADAPTIVE && c->now_us - worked_us >= spin_us)
			work = core_sleep(c);
		else if (!work)
			core_pause(c);
		if (work) {
			worked_us = c->now_us;
			if (c->io)
				core_io_awake(c->io);
		}
	}
	return 0;
}
