/* SPDX-License-Identifier: BSD-3-Clause
 * SYN cookies: SYNs, the ACKs they ask for, ACKs made up, and time, read from the input as
 * operations of 12 octets.  An ACK of a cookie that was given out and is young opens, with what the
 * SYN offered; any other does not, but for one in 2^28: over a run of the fuzzer more than that is
 * an error. */
#include "tests/sim/lone_app.h"

#define OPS_MAX    200
#define COOKIES    32
#define PORT       25
#define YOUNG_US   (64 * US_PER_SEC)  /* believed at least so long */
#define OLD_US     (128 * US_PER_SEC) /* and at most so long */
#define LUCK_SHIFT 26                 /* four times as often as a MAC of 28 bits allows */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct lone_app app;
static uint64_t tries, lucky; /* of all inputs */

static struct cookie {
	uint16_t port;
	uint32_t irs, iss;
	uint32_t ts; /* the stack's */
	bool has_ts, scale, sack;
	uint8_t shift;
	uint64_t at_us;
} cookies[COOKIES];
static unsigned cookies_n;

static const struct stream_ops ops = {.on_data = lone_app_take};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	lone_app_init(&app, &ops, 1023, 255);
	return 0;
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t now_us(void)
{
	return app.lone.host.now_us;
}

/* op: kind, offers, port (2), number (4), shift */
static void syn(const uint8_t *op)
{
	struct cookie c = {.port = (uint16_t)(1024 + (op[2] << 8 | op[3]) % 60000),
		.irs = get32(op + 4),
		.has_ts = op[1] & 1,
		.sack = (op[1] & 3) == 3,
		.scale = (op[1] & 5) == 5,
		.shift = op[8] % 15,
		.at_us = now_us()};
	struct seg s = {.sport = c.port,
			   .dport = PORT,
			   .seq = c.irs,
			   .flags = SYN,
			   .window = 60000},
		   answer;
	struct tcp_offer offer = {.mss = (uint16_t)(op[9] << 8 | op[10]),
		.wscale = op[1] & 4 ? c.shift : -1,
		.sack = op[1] & 2,
		.ts = c.has_ts,
		.ts_val = 1000};
	struct tcp_options opt;

	s.options_n = tcp_options_syn(s.options, &offer);
	lone_send(&app.lone, &s);
	BUG_ON(!lone_next(&app.lone, &answer));
	if (!(answer.flags & SYN))
		return; /* that connection is there already */
	tcp_options_parse(bytes_make(answer.options, answer.options_n), &opt);
	BUG_ON(opt.has_ts != c.has_ts || opt.has_wscale != c.scale || opt.sack_permitted != c.sack);
	c.iss = answer.seq;
	c.ts = opt.ts_val;
	cookies[cookies_n++ % COOKIES] = c;
}

/* Returns whether it opened; the connection is gone again. */
static bool ack(
	uint16_t port, uint32_t seq, uint32_t number, bool has_ts, uint32_t ts, size_t data_n)
{
	static const uint8_t data[255];
	struct seg s = {.sport = port,
		.dport = PORT,
		.seq = seq,
		.ack = number,
		.flags = ACK,
		.window = 60000,
		.payload = data,
		.payload_n = data_n};
	unsigned before = app.accepted;

	if (has_ts)
		s.options_n = tcp_options_ts(s.options, 1001, ts);
	lone_send(&app.lone, &s);
	return app.accepted > before;
}

static void forget(void)
{
	struct seg s;

	stream_abort(&app.stream);
	app.open = false;
	host_lap(&app.lone.host, now_us());
	while (lone_next(&app.lone, &s))
		;
}

static void good_ack(const uint8_t *op)
{
	const struct cookie *c = &cookies[op[1] % COOKIES];
	uint64_t age = now_us() - c->at_us;

	if (!c->port)
		return;
	bool open = ack(c->port, c->irs + 1, c->iss + 1, c->has_ts, c->ts, op[2]);
	BUG_ON(!open && age < YOUNG_US);
	BUG_ON(open && age > OLD_US);
	if (!open)
		return;
	const struct tcp_conn *conn = &app.lone.host.stack->conns[app.stream.id.index];
	BUG_ON(conn->rcv_nxt != c->irs + 1 + op[2]);
	BUG_ON(!(conn->flags & CF_TS) != !c->has_ts || !(conn->flags & CF_SACK) != !c->sack);
	BUG_ON(!(conn->flags & CF_WSCALE) != !c->scale);
	BUG_ON(c->scale && conn->snd_wscale != MIN(c->shift, (uint8_t)TCP_WSCALE_MAX));
	forget();
}

static bool given_out(uint16_t port, uint32_t irs, uint32_t iss, bool has_ts)
{
	for (unsigned i = 0; i < COOKIES; i++) {
		const struct cookie *c = &cookies[i];
		if (c->port == port && c->irs == irs && c->iss == iss && c->has_ts == has_ts)
			return true;
	}
	return false;
}

/* What was given out, with the input over it. */
static void bad_ack(const uint8_t *op)
{
	struct cookie c = cookies[op[1] % COOKIES];

	if (!c.port)
		return;
	c.port ^= (uint16_t)(op[10] & 3);
	if (op[11] & 1)
		c.irs ^= get32(op + 2);
	if (op[11] & 2)
		c.iss ^= get32(op + 6);
	if (op[11] & 4)
		c.has_ts = !c.has_ts;
	if (given_out(c.port, c.irs, c.iss, c.has_ts))
		return;
	tries++;
	if (!ack(c.port, c.irs + 1, c.iss + 1, c.has_ts, c.ts, 0))
		return;
	forget();
	lucky++;
	BUG_ON(lucky > 2 + (tries >> LUCK_SHIFT));
}

static void operate(const uint8_t *op)
{
	struct seg s;

	switch (op[0] & 3) {
	case 0:
		syn(op);
		break;
	case 1:
		good_ack(op);
		break;
	case 2:
		bad_ack(op);
		break;
	default:
		lone_arp(&app.lone);
		host_lap(&app.lone.host, now_us() + (get32(op + 1) & 0x3ffffff));
		lone_arp(&app.lone);
		break;
	}
	while (lone_next(&app.lone, &s))
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct host_conf conf = {.address = LONE_IP,
		.mac = 1,
		.mtu = 1500,
		.connections_max = 4,
		.trust_csum = true};

	memset(cookies, 0, sizeof(cookies));
	cookies_n = 0;
	lone_app_begin(&app, &conf, PORT);
	app.lone.host.stack->conf.tcp.syn_cookies = STACK_COOKIES_ALWAYS;
	for (size_t i = 0, ops_n = 0; i + 12 <= n && ops_n < OPS_MAX; i += 12, ops_n++)
		operate(data + i);
	BUG_ON(app.lone.host.stack->syn.used);
	lone_app_end(&app);
	return 0;
}
