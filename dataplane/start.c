/* SPDX-License-Identifier: BSD-3-Clause
 * Life of the dataplane: EAL, ports, pools, stacks, cores; and back.  Main thread. */
#include <dirent.h>
#include <errno.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <signal.h>
#include <unistd.h>
#include "dataplane/base/log.h"
#include "dataplane/base/rt/chunk.h"
#include "dataplane/base/rt/eal.h"
#include "dataplane/cpus.h"
#include "dataplane/eal_args.h"
#include "dataplane/io.h"
#include "dataplane/pools.h"

#define JOIN_STEP_US 1000

static struct net net;
static struct eal_host host;
static bool eal_started, chunks_started;

/* The TAP driver asks the kernel for a real-time signal per frame, and SIGIO when too many wait;
 * blocked and ignored they do nothing (port_kernel.c then switches them off). */
static void signals_prepare(void)
{
	sigset_t set;

	sigemptyset(&set);
	for (int s = SIGRTMIN; s <= SIGRTMAX; s++)
		sigaddset(&set, s);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGIO, SIG_IGN);
}

static void log_args(const struct eal_args *a)
{
	char line[LOG_LINE_MAX];
	struct buf b;

	buf_init(&b, line, sizeof(line));
	for (int i = 1; i < a->argc; i++) {
		buf_byte(&b, ' ');
		buf_str(&b, a->argv[i]);
	}
	log_info("eal", "start memory_mb=%u hugepages=%s args:%.*s", a->memory_mb,
		a->hugepages ? "yes" : "no", (int)b.n, line);
}

/* What a relay before this one has left on interfaces of ours. */
static void ports_clear(const struct dataplane_conf *conf)
{
	for (unsigned i = 0; i < conf->port_count; i++) {
		const struct port_conf *p = &conf->ports[i];
		int rc = p->kind == PORT_AF_XDP ? xdp_detach(p->device) : 0;
		if (rc < 0) /* probing will say what is wrong with the interface */
			log_debug("port", "xdp-detach device=%s error=\"%s\"", p->device,
				strerror(-rc));
	}
}

int dataplane_eal_start(const struct dataplane_conf *conf, char *error, size_t error_n)
{
	struct eal_args args;
	char *argv[EAL_ARGS_MAX + 1];
	int rc;

	eal_host_read(&host);
	rc = eal_args_build(conf, &host, &args, error, error_n);
	if (rc < 0)
		return rc;
	log_args(&args);
	ports_clear(conf);
	signals_prepare();
	memcpy(argv, args.argv, sizeof(argv)); /* EAL permutes it */
	if (rte_eal_init(args.argc, argv) < 0) {
		rc = rte_errno ? -rte_errno : -EINVAL;
		snprintf(error, error_n,
			"EAL does not start: %s (see its messages; memory_mb is %u, eal_extra "
			"\"%s\")",
			rte_strerror(-rc), args.memory_mb, conf->eal_extra);
		return rc;
	}
	eal_started = true;
	/* Now, while we may: nothing in it is used, and a killed process would leave it behind. But
	 * the telemetry's socket is; what is left of it, the next start takes away. */
	if (!conf->telemetry)
		eal_remove_runtime_dir(rte_eal_get_runtime_dir());
	return 0;
}

/* ---- start ---- */

/* Cores in the order in which they get queues: those of the dataplane role, which see most of the
 * frames, first.  Returns how many those are. */
static unsigned queue_order(const struct dataplane_conf *conf, uint8_t order[CORES_MAX])
{
	unsigned n = 0, first;

	for (unsigned i = 0; i < conf->core_count; i++) {
		if (conf->cores[i].roles & CORE_DATAPLANE)
			order[n++] = (uint8_t)i;
	}
	first = n;
	for (unsigned i = 0; i < conf->core_count; i++) {
		if (!(conf->cores[i].roles & CORE_DATAPLANE))
			order[n++] = (uint8_t)i;
	}
	return first ? first : n;
}

/* Ports with fewer queues than cores begin at different ones. */
static void assign_queues(const struct dataplane_conf *conf, unsigned i)
{
	struct port *p = &net.ports[i];
	uint8_t order[CORES_MAX];
	unsigned first = queue_order(conf, order);

	memset(p->queue_of, PORT_NO_QUEUE, sizeof(p->queue_of));
	for (unsigned q = 0; q < p->queues; q++) {
		bool all = p->queues == conf->core_count;
		unsigned turn = q < first && !all ? (i + q) % first : q;
		p->queue_core[q] = order[turn];
		p->queue_of[order[turn]] = (uint8_t)q;
	}
	for (unsigned c = 0; c < conf->core_count; c++)
		p->via[c] =
			p->queue_of[c] == PORT_NO_QUEUE ? p->queue_core[c % p->queues] : (uint8_t)c;
}

/* Flows may come in on any port, so they must all put them on the same core. */
static void steer_by_rss(void)
{
	const struct port *p = &net.ports[0];

	for (unsigned i = 0; i < net.port_count; i++) {
		const struct port *other = &net.ports[i];
		if (!other->rss.on || memcmp(&other->rss, &p->rss, sizeof(p->rss)) != 0 ||
			memcmp(other->queue_core, p->queue_core, sizeof(p->queue_core)) != 0)
			return;
	}
	if (net.port_count == 0)
		return;
	net.steer.rss = &p->rss;
	memcpy(net.steer.rss_core, p->queue_core, sizeof(net.steer.rss_core));
}

static int start_ports(const struct dataplane_conf *conf, char *error, size_t error_n)
{
	for (unsigned i = 0; i < conf->port_count; i++) {
		net.port_count = i + 1;
		int rc = port_open(&net.ports[i], conf, i, error, error_n);
		if (rc < 0)
			return rc;
		assign_queues(conf, i);
	}
	steer_by_rss();
	return 0;
}

static int start_core(
	const struct dataplane_conf *conf, struct core *c, unsigned i, char *error, size_t error_n)
{
	core_init(c, i, i + 1, conf->cores[i].roles);
	c->idle = conf->idle;
	c->shares_cpu = cpus_shared(conf, &host.cpus, i);
	net.core_count = i + 1;
	if (c->waker.fd < 0) {
		snprintf(error, error_n, "cores[%u]: no file descriptor: raise RLIMIT_NOFILE", i);
		return -EMFILE;
	}
	if (!rte_lcore_is_enabled(c->lcore)) {
		snprintf(error, error_n, "cores[%u]: eal_extra takes lcore %u away", i, c->lcore);
		return -EINVAL;
	}
	return 0;
}

static void stack_port_fill(const struct port *p, struct stack_port *out)
{
	*out = (struct stack_port){
		.name = p->conf.name,
		.mtu = p->mtu,
		.address_count = p->conf.address_count,
		.gateway = p->conf.gateway,
		.has_gateway = p->conf.has_gateway,
		.gateway6 = p->conf.gateway6,
		.has_gateway6 = p->conf.has_gateway6,
		.discovery = p->conf.discovery,
		.tx_csum_ip = p->csum_ip,
		.tx_csum_tcp = p->csum_tcp,
		.tso_segments = p->tso_segments,
		.tso_octets = p->tso_segments ? TSO_OCTETS_MAX : 0,
		.rx_csum = p->rx_csum,
		.vlan = p->conf.vlan,
		.tx_vlan = p->tx_vlan,
		.trust_rx_csum = p->conf.trust_rx_checksum,
		.rx_pool = p->rx_pool,
		.rx_kept = pools_rx_kept(p->conf.kind, p->queues),
	};
	memcpy(out->mac, p->mac, sizeof(out->mac));
	for (unsigned a = 0; a < p->conf.address_count; a++)
		out->address[a] = p->conf.address[a];
}

static int start_stack(
	const struct dataplane_conf *conf, struct core *c, char *error, size_t error_n)
{
	struct stack_conf sc = {.core_index = c->index,
		.connections_max = conf->connections_max,
		.rcv_buffer_bytes = conf->rcv_buffer_bytes,
		.port_count = net.port_count,
		.tcp = conf->tcp,
		.claim_nonce = net.steer_key.k1};
	struct stack_env env = {.wheel = &c->wheel, .now_us = c->now_us};

	for (unsigned p = 0; p < net.port_count; p++)
		stack_port_fill(&net.ports[p], &sc.ports[p]);
	c->io = core_io_create(&net, c);
	env.tx_pool = pool_create_tx(conf, c->index, c->socket);
	env.control_pool = pool_create_control(conf, c->index, c->socket);
	if (c->io && env.tx_pool && env.control_pool) {
		core_io_env(c->io, &env);
		c->stack = stack_create(&sc, &env, c->socket);
	}
	if (c->stack)
		return 0;
	snprintf(error, error_n,
		"cores[%u]: no memory for %u connections: raise memory_mb or lower "
		"limits.connections",
		c->index, conf->connections_max);
	return -ENOMEM;
}

static int start_cores(const struct dataplane_conf *conf, char *error, size_t error_n)
{
	int rc;

	for (unsigned i = 0; i < conf->core_count; i++) {
		rc = start_core(conf, &net.cores[i], i, error, error_n);
		if (rc < 0)
			return rc;
	}
	rc = dispatch_init(&net, conf->ring_size);
	if (rc < 0) {
		snprintf(error, error_n, "cores: no memory for rings: raise memory_mb");
		return rc;
	}
	for (unsigned i = 0; i < conf->core_count; i++) {
		rc = start_stack(conf, &net.cores[i], error, error_n);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int start_chunks(const struct dataplane_conf *conf, char *error, size_t error_n)
{
	uint32_t n = pools_chunks(conf);

	if (chunk_pool_init(n, -1) < 0) {
		snprintf(error, error_n,
			"limits.body_memory: no memory for %u chunks: lower it or raise memory_mb",
			n);
		return -ENOMEM;
	}
	chunks_started = true;
	return 0;
}

int dataplane_start(const struct dataplane_conf *conf, struct core cores[CORES_MAX], char *error,
	size_t error_n)
{
	int rc;

	memset(&net, 0, sizeof(net));
	net.cores = cores;
	siphash_key_random(&net.steer_key);
	net.steer.core_count = conf->core_count;
	net.steer.key = &net.steer_key;
	rc = start_chunks(conf, error, error_n);
	if (rc == 0)
		rc = start_ports(conf, error, error_n);
	if (rc == 0)
		rc = start_cores(conf, error, error_n);
	if (rc == 0)
		port_info_register(&net);
	return rc;
}

int dataplane_add_service(uint16_t port, uint32_t role)
{
	struct steer_table *t = &net.steer;
	unsigned slot = 0, n = 0;

	while (slot < t->service_count && t->service[slot].port != port)
		slot++;
	if (slot == ARRAY_LEN(t->service))
		return -ENOSPC;
	for (unsigned i = 0; i < net.core_count; i++) {
		if ((net.cores[i].roles & role) && n < ARRAY_LEN(t->service[slot].cores))
			t->service[slot].cores[n++] = (uint8_t)i;
	}
	if (n == 0)
		return -ENOENT;
	t->service[slot].port = port;
	t->service[slot].cores_n = (uint16_t)n;
	t->service_count = MAX(t->service_count, slot + 1);
	return 0;
}

/* ---- run ---- */

int dataplane_launch(struct core cores[CORES_MAX], unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		int rc = rte_eal_remote_launch(core_run, &cores[i], cores[i].lcore);
		if (rc < 0)
			return rc;
	}
	return 0;
}

void dataplane_tend(void)
{
	for (unsigned i = 0; i < net.core_count; i++) {
		if (net.cores[i].stack)
			stack_tend(net.cores[i].stack);
	}
}

void dataplane_join(void)
{
	unsigned lcore;

	/* Asleep in between: rte_eal_mp_wait_lcore() would spin on a CPU the cores need. */
	RTE_LCORE_FOREACH_WORKER(lcore)
	{
		while (rte_eal_get_lcore_state(lcore) == RUNNING)
			usleep(JOIN_STEP_US);
		rte_eal_wait_lcore(lcore);
	}
}

void dataplane_stop(void)
{
	port_info_register(NULL);
	for (unsigned i = 0; i < net.core_count; i++) {
		struct core *c = &net.cores[i];
		stack_destroy(&c->stack);
		core_io_destroy(&c->io);
		core_fini(c);
	}
	dispatch_fini(&net);
	for (unsigned p = 0; p < net.port_count; p++)
		port_close(&net.ports[p]);
	net.core_count = net.port_count = 0;
	pools_free();
	if (chunks_started)
		chunk_pool_fini();
	chunks_started = false;
	if (eal_started)
		rte_eal_cleanup();
	eal_started = false;
}
