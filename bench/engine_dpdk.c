/* SPDX-License-Identifier: BSD-3-Clause
 * One polling core with the stack on one port. */
#include <errno.h>
#include <unistd.h>
#include "bench/engine.h"
#include "dataplane/stack.h"

#define CHUNKS    1 /* bodies are made here, not kept */
#define RING_SIZE 1024

static struct core cores[CORES_MAX];
static struct engine engine;

static int dpdk_listen(struct engine *e, const struct endpoint *at, struct listener *l)
{
	(void)e;
	return stack_listen(cores[0].stack, at->port, l);
}

static int dpdk_connect(
	struct engine *e, struct stream *s, const struct endpoint *to, uint64_t timeout_us)
{
	(void)e;
	return stream_connect(cores[0].stack, s, to, timeout_us);
}

static int dpdk_start(struct engine *e)
{
	int rc = core_add_poller(&cores[0], e->poller);

	return rc < 0 ? rc : dataplane_launch(cores, 1);
}

static void dpdk_stop(struct engine *e)
{
	(void)e;
	core_stop(&cores[0]);
	dataplane_join();
}

static void dpdk_destroy(struct engine *e)
{
	(void)e;
	dataplane_stop();
}

static const struct engine_ops ops = {
	.listen = dpdk_listen,
	.connect = dpdk_connect,
	.start = dpdk_start,
	.stop = dpdk_stop,
	.destroy = dpdk_destroy,
};

struct engine *engine_dpdk_create(const struct engine_conf *conf, char *error, size_t error_n)
{
	struct dataplane_conf dc = {
		.ports[0] = conf->port,
		.port_count = 1,
		.core_count = 1,
		.cores[0].roles = CORE_DATAPLANE,
		.idle = conf->adaptive ? CORE_IDLE_ADAPTIVE : CORE_IDLE_SPIN,
		.rcv_buffer_bytes = conf->window,
		.connections_max = conf->connections_max,
		.chunks = CHUNKS,
		.memory_mb = conf->memory_mb,
		.ring_size = RING_SIZE,
	};

	snprintf(dc.cores[0].cpus, sizeof(dc.cores[0].cpus), "%s", conf->cpus);
	snprintf(dc.eal_extra, sizeof(dc.eal_extra), "%s", conf->eal_extra);
	snprintf(dc.file_prefix, sizeof(dc.file_prefix), "bench%d", (int)getpid());
	if (dataplane_eal_start(&dc, error, error_n) < 0)
		return NULL;
	if (dataplane_start(&dc, cores, error, error_n) < 0) {
		dataplane_stop();
		return NULL;
	}
	engine = (struct engine){.ops = &ops,
		.now_us = &cores[0].now_us,
		.wheel = &cores[0].wheel,
		.conf = *conf,
		.name = "dpdk"};
	return &engine;
}
