/* SPDX-License-Identifier: BSD-3-Clause
 * The library's threads call in here, one at a time under the lock, and never touch what belongs to
 * main or to a core. */
#include "store/control/telemetry.h"
#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <rte_telemetry.h>
#include "store/control/agent.h"
#include "store/control/version.h"

#define ASK_MS    1000 /* a core that takes longer is stalled */
#define STEP_US   10000
#define LIST_MAX  80 /* lines of an answer, which has 16 KiB; chosen */
#define POOLS_MAX (3 * CORES_MAX + PORTS_MAX)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct daemon *asked; /* NULL: off, or on the way down */
static struct waker waker;
static bool have_waker;

/* ---- asking a core ---- */

static union {
	struct op op;
	struct tcp_list_op list;
	struct tcp_show_op show;
	struct net_op net;
} question;
static bool pending; /* a core has the question still */

static void on_answer(struct op *op)
{
	(void)op;
	pending = false;
}

static void wait_answer(struct channel *ch)
{
	for (unsigned waited = 0; pending && waited < ASK_MS * 1000 / STEP_US; waited++) {
		waker_begin(&waker);
		if (channel_poll(ch) == 0)
			waker_wait(&waker, STEP_US);
		waker_end(&waker);
		channel_poll(ch);
	}
}

/* Under the lock: 0 when the core has answered. */
static int ask(unsigned core, uint16_t kind)
{
	struct channel *ch = &asked->rooms[core].telemetry;

	question.op.kind = kind;
	question.op.done = on_answer;
	pending = channel_submit(ch, &question.op) == 0;
	if (!pending)
		return -EAGAIN;
	wait_answer(ch);
	return pending ? -ETIMEDOUT : question.op.status;
}

/* An earlier question that nobody waited for any longer may still be out. */
static bool ready(void)
{
	for (unsigned i = 0; asked && pending && i < asked->core_count; i++)
		channel_poll(&asked->rooms[i].telemetry);
	return asked && !pending;
}

/* ---- answers ---- */

static int no_answer(struct rte_tel_data *d, const char *why)
{
	rte_tel_data_start_dict(d);
	rte_tel_data_add_dict_string(d, "error", why);
	return 0;
}

static int tell_info(const char *params, struct rte_tel_data *d)
{
	uint64_t now_ms = clock_wall_ms();

	(void)params;
	rte_tel_data_start_dict(d);
	rte_tel_data_add_dict_string(d, "version", BYPOST_VERSION);
	rte_tel_data_add_dict_string(d, "hostname", asked->config->root.node.hostname);
	rte_tel_data_add_dict_u64(d, "uptime_ms", now_ms - MIN(asked->started_ms, now_ms));
	rte_tel_data_add_dict_u64(d, "cores", asked->core_count);
	rte_tel_data_add_dict_string(
		d, "state", atomic_load(&asked->draining) ? "draining" : "running");
	return 0;
}

/* Rows are members of a dictionary: the library has no lists of dictionaries, and no dots in names.
 */
static void add_row(struct rte_tel_data *d, const char *name, struct rte_tel_data *row)
{
	char safe[32];

	snprintf(safe, sizeof(safe), "%s", name);
	for (char *p = safe; *p; p++)
		*p = isalnum((unsigned char)*p) ? *p : '_';
	if (rte_tel_data_add_dict_container(d, safe, row, 0) < 0)
		rte_tel_data_free(row);
}

static struct rte_tel_data *row_new(void)
{
	struct rte_tel_data *row = rte_tel_data_alloc();

	if (row)
		rte_tel_data_start_dict(row);
	return row;
}

static int tell_cores(const char *params, struct rte_tel_data *d)
{
	char name[16];

	(void)params;
	rte_tel_data_start_dict(d);
	for (unsigned i = 0; i < asked->core_count; i++) {
		const struct core *core = &asked->cores[i];
		struct rte_tel_data *row = row_new();
		if (!row)
			continue;
		rte_tel_data_add_dict_u64(row, "lcore", core->lcore);
		rte_tel_data_add_dict_u64(row, "roles", core->roles);
		rte_tel_data_add_dict_u64(row, "laps", core_counter(i, CTR_CORE_LAPS));
		rte_tel_data_add_dict_u64(row, "busy_us", core_counter(i, CTR_CORE_BUSY_US));
		rte_tel_data_add_dict_u64(row, "idle_us", core_counter(i, CTR_CORE_IDLE_US));
		rte_tel_data_add_dict_u64(row, "long_laps", core_counter(i, CTR_CORE_LONG_LAPS));
		rte_tel_data_add_dict_u64(row, "worst_lap_us", core->worst_lap_us);
		rte_tel_data_add_dict_u64(row, "connections", asked->rooms[i].gauges.connections);
		snprintf(name, sizeof(name), "core%u", i);
		add_row(d, name, row);
	}
	return 0;
}

static int tell_ports(const char *params, struct rte_tel_data *d)
{
	static struct port_info info[PORTS_MAX];
	unsigned n = port_get_info(info, PORTS_MAX);

	(void)params;
	rte_tel_data_start_dict(d);
	for (unsigned i = 0; i < n; i++) {
		struct rte_tel_data *row = row_new();
		if (!row)
			continue;
		rte_tel_data_add_dict_string(row, "driver", info[i].driver);
		rte_tel_data_add_dict_u64(row, "link_up", info[i].link_up);
		rte_tel_data_add_dict_u64(row, "rx_packets", info[i].rx_packets);
		rte_tel_data_add_dict_u64(row, "rx_missed", info[i].rx_missed);
		rte_tel_data_add_dict_u64(row, "rx_errors", info[i].rx_errors);
		rte_tel_data_add_dict_u64(row, "tx_packets", info[i].tx_packets);
		rte_tel_data_add_dict_u64(row, "tx_errors", info[i].tx_errors);
		add_row(d, info[i].name, row);
	}
	return 0;
}

/* A line for each ring that ever had something: there may be more rings than an answer takes. */
static int tell_rings(const char *params, struct rte_tel_data *d)
{
	struct ring_info r;
	unsigned lines = 0;
	char text[RTE_TEL_MAX_STRING_LEN];

	(void)params;
	rte_tel_data_start_array(d, RTE_TEL_STRING_VAL);
	for (unsigned i = 0; lines < LIST_MAX && ring_watch_get(i, &r); i++) {
		if (r.high == 0 && r.drops == 0)
			continue;
		snprintf(text, sizeof(text), "%s %s size %u depth %u most %u drops %llu", r.name,
			ring_kind_text(r.kind), r.size, r.depth, r.high,
			(unsigned long long)r.drops);
		rte_tel_data_add_array_string(d, text);
		lines++;
	}
	return 0;
}

static int tell_pools(const char *params, struct rte_tel_data *d)
{
	static struct pool_info info[POOLS_MAX];
	unsigned n = pool_get_info(info, POOLS_MAX);

	(void)params;
	rte_tel_data_start_dict(d);
	for (unsigned i = 0; i < n; i++) {
		struct rte_tel_data *row = row_new();
		if (!row)
			continue;
		rte_tel_data_add_dict_u64(row, "size", info[i].size);
		rte_tel_data_add_dict_u64(row, "in_use", info[i].in_use);
		add_row(d, info[i].name, row);
	}
	return 0;
}

static int tell_stats(const char *params, struct rte_tel_data *d)
{
	(void)params;
	rte_tel_data_start_dict(d);
	for (unsigned i = 0; i < COUNTER_N; i++) {
		if (strncmp(counter_table[i].name, "tcp_", 4) == 0)
			rte_tel_data_add_dict_u64(
				d, counter_table[i].name + 4, counters_sum((enum counter)i));
	}
	return 0;
}

static int tell_neigh(const char *params, struct rte_tel_data *d)
{
	char text[RTE_TEL_MAX_STRING_LEN], ip[IP_TEXT_MAX];

	(void)params;
	question.net = (struct net_op){0};
	if (ask(0, ASK_NET) < 0)
		return no_answer(d, "core 0 does not answer");
	rte_tel_data_start_array(d, RTE_TEL_STRING_VAL);
	for (uint32_t i = 0; i < question.net.neigh_n && i < LIST_MAX; i++) {
		const struct stack_neigh_info *n = &question.net.neighs[i];
		const uint8_t *m = n->mac;
		snprintf(text, sizeof(text), "%s %02x:%02x:%02x:%02x:%02x:%02x port %u %s",
			ip_format(&n->ip, ip), m[0], m[1], m[2], m[3], m[4], m[5], n->port,
			n->state);
		rte_tel_data_add_array_string(d, text);
	}
	return 0;
}

static unsigned add_connections(struct rte_tel_data *d, unsigned core)
{
	char text[RTE_TEL_MAX_STRING_LEN], local[IP_TEXT_MAX], peer[IP_TEXT_MAX];

	for (uint32_t i = 0; i < question.list.n; i++) {
		const struct stack_conn_info *c = &question.list.rows[i];
		snprintf(text, sizeof(text), "%u.%u.%u %s %u %s %u %s", core, c->id.index,
			c->id.generation, ip_format(&c->local.ip, local), c->local.port,
			ip_format(&c->peer.ip, peer), c->peer.port, stack_state_text(c->state));
		rte_tel_data_add_array_string(d, text);
	}
	return question.list.n;
}

/* The first connections of each core: an answer has room for LIST_MAX lines. */
static int tell_list(const char *params, struct rte_tel_data *d)
{
	unsigned lines = 0;

	(void)params;
	rte_tel_data_start_array(d, RTE_TEL_STRING_VAL);
	for (unsigned i = 0; i < asked->core_count; i++) {
		question.list = (struct tcp_list_op){0};
		while (question.list.from != STACK_LIST_END && lines + AGENT_ROWS <= LIST_MAX) {
			if (ask(i, ASK_TCP_LIST) < 0)
				return 0;
			lines += add_connections(d, i);
		}
	}
	return 0;
}

static int tell_conn(const char *params, struct rte_tel_data *d)
{
	const struct stack_conn_info *c = &question.show.row;
	unsigned core, index, generation;
	char ip[IP_TEXT_MAX];

	if (!params || sscanf(params, "%u.%u.%u", &core, &index, &generation) != 3 ||
		core >= asked->core_count)
		return no_answer(
			d, "/bypost/tcp/conn,CORE.INDEX.GENERATION as /bypost/tcp/list has it");
	question.show = (struct tcp_show_op){
		.id = {.index = index, .generation = generation}
        };
	if (ask(core, ASK_TCP_SHOW) < 0)
		return no_answer(d, "no such connection");
	rte_tel_data_start_dict(d);
	rte_tel_data_add_dict_string(d, "state", stack_state_text(c->state));
	rte_tel_data_add_dict_string(d, "owner", c->owner);
	rte_tel_data_add_dict_string(d, "local", ip_format(&c->local.ip, ip));
	rte_tel_data_add_dict_u64(d, "local_port", c->local.port);
	rte_tel_data_add_dict_string(d, "peer", ip_format(&c->peer.ip, ip));
	rte_tel_data_add_dict_u64(d, "peer_port", c->peer.port);
	rte_tel_data_add_dict_u64(d, "PerfCurCwnd", c->cwnd);
	rte_tel_data_add_dict_u64(d, "PerfCurSsthresh", c->ssthresh);
	rte_tel_data_add_dict_u64(d, "PathSmoothedRTT_us", c->srtt_us);
	rte_tel_data_add_dict_u64(d, "PerfCurRTO_us", c->rto_us);
	rte_tel_data_add_dict_u64(d, "PerfSegsRetrans", c->retransmits);
	rte_tel_data_add_dict_u64(d, "StackCurMSS", c->mss);
	rte_tel_data_add_dict_u64(d, "PerfCurRwinRcvd", c->snd_wnd);
	rte_tel_data_add_dict_u64(d, "PerfCurRwinSent", c->rcv_wnd);
	rte_tel_data_add_dict_u64(d, "AppCurAppWQueue", c->unsent);
	rte_tel_data_add_dict_u64(d, "AppCurAppRQueue", c->unread);
	rte_tel_data_add_dict_u64(d, "PerfHCThruOctetsAcked", c->bytes_out);
	rte_tel_data_add_dict_u64(d, "PerfHCThruOctetsReceived", c->bytes_in);
	rte_tel_data_add_dict_u64(d, "age_ms", c->age_us / US_PER_MS);
	return 0;
}

static const struct {
	const char *command, *help;
	int (*tell)(const char *params, struct rte_tel_data *d);
} commands[] = {
	{"/bypost/info",      "Version, state, uptime. No parameters.",           tell_info },
	{"/bypost/cores",     "Polling cores. No parameters.",                    tell_cores},
	{"/bypost/ports",     "Ports. No parameters.",                            tell_ports},
	{"/bypost/neigh",     "Neighbours of core 0. No parameters.",             tell_neigh},
	{"/bypost/rings",     "Rings that were used. No parameters.",             tell_rings},
	{"/bypost/pools",     "Memory pools. No parameters.",                     tell_pools},
	{"/bypost/tcp/stats", "Counters of the stack. No parameters.",            tell_stats},
	{"/bypost/tcp/list",  "The first connections. No parameters.",            tell_list },
	{"/bypost/tcp/conn",  "One connection. Parameter: its name in tcp/list.", tell_conn },
};

static int on_command(const char *command, const char *params, struct rte_tel_data *d)
{
	int rc = -1;

	pthread_mutex_lock(&lock);
	for (size_t i = 0; ready() && i < ARRAY_LEN(commands); i++) {
		if (strcmp(commands[i].command, command) != 0)
			continue;
		rc = commands[i].tell(params, d);
		break;
	}
	pthread_mutex_unlock(&lock);
	return rc < 0 ? no_answer(d, "not now") : rc;
}

/* ---- life ---- */

int telemetry_create(struct daemon *d, char *error, size_t error_n)
{
	if (!d->config->root.metrics.telemetry)
		return 0;
	int err = waker_init(&waker);
	have_waker = err == 0;
	for (size_t i = 0; i < ARRAY_LEN(commands) && err == 0; i++)
		err = rte_telemetry_register_cmd(commands[i].command, on_command, commands[i].help);
	if (err < 0) {
		snprintf(error, error_n, "key metrics.telemetry: %s", strerror(-err));
		return err;
	}
	pthread_mutex_lock(&lock);
	asked = d;
	pthread_mutex_unlock(&lock);
	return 0;
}

int telemetry_join(struct daemon *d, unsigned core)
{
	char name[20];

	if (!have_waker)
		return 0;
	snprintf(name, sizeof(name), "tele.c%u", core);
	return channel_init(&d->rooms[core].telemetry, name, 1, &waker, &d->cores[core].waker, -1);
}

void telemetry_destroy(struct daemon *d)
{
	(void)d;
	pthread_mutex_lock(&lock);
	asked = NULL;
	pthread_mutex_unlock(&lock);
}
