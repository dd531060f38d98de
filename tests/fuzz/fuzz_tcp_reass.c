/* SPDX-License-Identifier: BSD-3-Clause
 * The receive queue of a connection against a map with one cell for each octet of the stream, which
 * knows nothing of buffers.  Operations of 8 octets send segments that overlap, with or without
 * FIN, and let the application take some, all or nothing.  After each: what the stack has in order
 * and out of order is what the map has, octet by octet; the application got each octet once, in
 * order, and none from beyond the window or the FIN; acknowledgments, SACK and D-SACK blocks tell
 * what is true; the window stays within the buffer and its edge never moves left; memory is charged
 * as it is pinned, and bounded.  At the end all of it is back in its pools. */
#include "tests/sim/lone_app.h"

#define OPS_MAX      300
#define SEGMENTS_MAX 2000 /* of an input */
#define PAYLOAD_MAX  1460
#define BEFORE       40000 /* cells of sequence numbers before the stream's first */
#define CELLS        (BEFORE + 512 * 1024)
#define VERSIONS     4u /* contents that an octet may have in different segments */

enum cell {
	/* bits below: versions that came within the window */
	HELD = 1 << VERSIONS,
	CARRIED = HELD << 1, /* by any segment, wherever the window was */
	TWICE = CARRIED << 1,
};

enum appetite { ALL, NOTHING, HALF, ONE, ALL_BUT_ONE, CLOSE, APPETITE_N };

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct lone_app app;
static struct rte_mempool *roomy; /* with room to merge, as receive pools have */
static enum appetite appetite;
static bool greedy; /* asks for more inside the upcall */
static bool dead, closed;
static unsigned eofs, segments_n;
static uint8_t cells[CELLS];
/* By cell.  used: none is set from there on. */
static uint32_t nxt, got, edge, fin, last_end, used;
static uint32_t held; /* cells beyond nxt */
static bool fin_seen;
static uint32_t first, peer_ack; /* sequence numbers: of the stream's first octet, of theirs */
static unsigned scale;

static uint32_t cell_of(uint32_t seq)
{
	return seq - first + BEFORE;
}

static uint8_t octet(uint32_t cell, unsigned version)
{
	return (uint8_t)(cell * 2654435761u >> 26 << 2 | version);
}

static bool at_end(void)
{
	return fin_seen && nxt == fin;
}

static struct tcp_conn *conn(void)
{
	return &app.lone.host.stack->conns[app.stream.id.index];
}

/* Are these octets as a segment brought them? */
static void content_check(uint32_t at, const uint8_t *p, size_t n)
{
	BUG_ON(at < BEFORE || at + n > used);
	for (size_t i = 0; i < n; i++) {
		unsigned version = p[i] % VERSIONS;
		BUG_ON(!(cells[at + i] & HELD) || !(cells[at + i] & 1u << version));
		BUG_ON(p[i] != octet(at + (uint32_t)i, version));
	}
}

static void close_it(struct stream *s)
{
	closed = true;
	stream_close(s);
}

static size_t on_data(struct stream *s, struct bytes data)
{
	size_t taken[] = {
		[ALL] = data.n,
		[NOTHING] = 0,
		[HALF] = data.n / 2,
		[ONE] = 1,
		[ALL_BUT_ONE] = data.n - 1,
		[CLOSE] = data.n,
	};

	BUG_ON(closed || eofs || data.n == 0 || got + data.n > nxt);
	content_check(got, data.p, data.n);
	got += (uint32_t)taken[appetite];
	if (greedy)
		stream_resume(s);
	if (appetite == CLOSE)
		close_it(s);
	return taken[appetite];
}

static void on_eof(struct stream *s)
{
	(void)s;
	BUG_ON(closed || eofs || !at_end() || got != nxt);
	eofs++;
}

static void on_close(struct stream *s, enum stream_reason reason)
{
	(void)s;
	(void)reason;
	BUG_ON(true); /* nothing that the peer does here ends the connection */
}

static const struct stream_ops ops = {.on_data = on_data, .on_eof = on_eof, .on_close = on_close};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	lone_app_init(&app, &ops, 2047, 63);
	roomy = rte_pktmbuf_pool_create(
		"roomy", 1023, 0, 0, RTE_PKTMBUF_HEADROOM + 2048, SOCKET_ID_ANY);
	BUG_ON(!roomy);
	return 0;
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* ---- the map ---- */

/* RFC 9293 3.10.7.4, first check; a bare FIN is welcome at a closed window. */
static bool window_takes(uint32_t start, uint32_t n, bool has_fin)
{
	uint32_t last = start + n + has_fin - 1;

	if (nxt >= edge)
		return start == nxt && n == 0;
	return (nxt <= start && start < edge) || (nxt <= last && last < edge);
}

static bool holds_behind(uint32_t at)
{
	for (uint32_t i = at; i < used; i++) {
		if (cells[i] & HELD)
			return true;
	}
	return false;
}

/* A segment comes. */
static void map_take(uint32_t start, uint32_t n, bool has_fin, unsigned version)
{
	for (uint32_t i = start; i < start + n; i++)
		cells[i] |= cells[i] & CARRIED ? TWICE : CARRIED;
	used = MAX(used, start + n);
	if (n + has_fin == 0 || at_end() || !window_takes(start, n, has_fin))
		return;
	/* the first FIN counts, unless what is there contradicts it */
	uint32_t end = start + n;
	if (has_fin && !fin_seen && nxt <= end && end <= MAX(edge, nxt) && !holds_behind(end)) {
		fin_seen = true;
		fin = end;
		cells[fin] |= CARRIED; /* its number, too, may come again */
		used = MAX(used, fin + 1);
	}
	for (uint32_t i = MAX(start, nxt); i < MIN(end, fin_seen ? fin : edge); i++) {
		held += !(cells[i] & HELD);
		cells[i] |= (uint8_t)(HELD | 1u << version);
	}
	for (; nxt < used && (cells[nxt] & HELD); nxt++)
		held--;
}

/* The stack has dropped some of what it held: so does the map.  It never has what the map has not.
 */
static void map_drop(void)
{
	const struct tcp_conn *c = conn();
	uint32_t real = cell_of(c->rcv_nxt);

	BUG_ON(real > nxt + at_end());
	real = MIN(real, nxt);
	for (const struct rte_mbuf *m = c->ooo; m; m = m->next)
		content_check(cell_of(m->hash.usr), rte_pktmbuf_mtod(m, uint8_t *), m->data_len);
	for (uint32_t i = real; i < used; i++)
		cells[i] &= (uint8_t)~HELD;
	nxt = real;
	held = 0;
	for (const struct rte_mbuf *m = c->ooo; m; m = m->next) {
		held += m->data_len;
		for (uint32_t i = 0; i < m->data_len; i++)
			cells[cell_of(m->hash.usr) + i] |= HELD;
	}
}

/* ---- what must hold ---- */

static uint32_t cost_of(const struct rte_mbuf *m)
{
	return (uint32_t)(m->buf_len + sizeof(*m));
}

#define COST_MOST (uint32_t)(RTE_PKTMBUF_HEADROOM + 2048 + sizeof(struct rte_mbuf))

static void queues_check(const struct tcp_conn *c, bool contents)
{
	uint32_t cost = 0, unread = 0, outside = 0, at = got, behind = nxt;
	unsigned n = 0;

	for (const struct rte_mbuf *m = c->unread; m; at += m->data_len, m = m->next) {
		cost += cost_of(m);
		unread += m->data_len;
		if (contents)
			content_check(at, rte_pktmbuf_mtod(m, uint8_t *), m->data_len);
	}
	for (const struct rte_mbuf *m = c->ooo; m; m = m->next) {
		uint32_t start = cell_of(m->hash.usr);
		BUG_ON(m->data_len == 0 || start < behind || start == nxt);
		behind = start + m->data_len;
		cost += cost_of(m);
		outside += m->data_len;
		n++;
		if (contents)
			content_check(start, rte_pktmbuf_mtod(m, uint8_t *), m->data_len);
	}
	BUG_ON(unread != c->unread_bytes || got + unread != nxt);
	/* disjoint, of octets that the map has, and as many: the same */
	BUG_ON(outside != held);
	BUG_ON(n != c->ooo_count || n > TCP_OOO_BUFFERS_MAX);
	BUG_ON(cost != c->charged);
	/* one goes beyond the limit, and one that the application left a part of */
	BUG_ON(cost > 2 * (app.lone.host.conf.rcv_buffer + COST_MOST));
}

static void blocks_check(const struct tcp_options *opt, uint32_t ack)
{
	for (unsigned i = 0; i < opt->sack_n; i++) {
		uint32_t start = cell_of(opt->sack[i].start), end = cell_of(opt->sack[i].end);
		BUG_ON(start >= end || end > used + 1);
		for (uint32_t at = start; at < end; at++) {
			if (end <= ack) /* RFC 2883: the first one, of what came twice */
				BUG_ON(i > 0 || (at >= BEFORE && !(cells[at] & TWICE)));
			else
				BUG_ON(!(cells[at] & HELD) && !(fin_seen && at == fin));
		}
	}
}

/* What the stack says. */
static void hear(void)
{
	uint32_t size = app.lone.host.conf.rcv_buffer;
	/* a window that is scaled rounds up */
	uint32_t slack = scale ? size / 4 + (1u << scale) : 0;
	struct tcp_options opt;
	struct seg s;

	while (lone_next(&app.lone, &s)) {
		if (s.flags & RST) { /* nobody has acknowledged its FIN for too long */
			BUG_ON(!closed);
			dead = true;
			return;
		}
		uint32_t ack = cell_of(s.ack), right = ack + ((uint32_t)s.window << scale);
		BUG_ON(s.payload_n || ack > nxt + at_end());
		BUG_ON(right + (scale ? 1u << scale : 0) < edge); /* rounded */
		edge = MAX(edge, right);
		if (closed)
			got = nxt;
		BUG_ON(edge > got + size + slack + at_end());
		tcp_options_parse(bytes_make(s.options, s.options_n), &opt);
		blocks_check(&opt, ack);
	}
}

/* After anything that has happened. */
static void check(bool contents)
{
	const struct tcp_conn *c = conn();

	if (dead || c->state == TCP_CLOSED) {
		dead = true;
		return;
	}
	if (closed)
		got = nxt;
	BUG_ON(cell_of(c->rcv_nxt) != nxt + at_end());
	queues_check(c, contents);
	BUG_ON(!closed && eofs != (at_end() && got == nxt));
}

/* ---- operations ---- */

static void give(const struct seg *s, bool merging)
{
	uint8_t frame[2048];
	size_t n = lone_build(frame, s);

	if (merging) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(roomy);
		BUG_ON(!m);
		memcpy(rte_pktmbuf_append(m, (uint16_t)n), frame, n);
		stack_input(app.lone.host.stack, 0, &m, 1, app.lone.host.now_us);
	} else {
		host_input(&app.lone.host, bytes_make(frame, n));
	}
}

static uint64_t drops(void)
{
	return counters_mine->value[CTR_TCP_OOO_DROPPED];
}

static void segment(uint32_t start, uint32_t n, bool has_fin, const uint8_t *op)
{
	uint8_t payload[PAYLOAD_MAX];
	unsigned version = op[5] % VERSIONS;
	struct seg s = {
		.sport = 40000,
		.dport = 25,
		.seq = start - BEFORE + first,
		.ack = peer_ack,
		.flags = (uint8_t)(ACK | (has_fin ? FIN : 0)),
		.window = 60000,
		.payload = payload,
		.payload_n = n,
	};

	if (start + n >= CELLS || segments_n++ == SEGMENTS_MAX)
		return;
	for (uint32_t i = 0; i < n; i++)
		payload[i] = octet(start + i, version);
	uint64_t before = drops();
	uint32_t charged = conn()->charged, ooo_n = conn()->ooo_count;
	bool was_closed = closed;
	map_take(start, n, has_fin, version);
	last_end = start + n;
	give(&s, op[5] & 0x80);
	host_lap(&app.lone.host, app.lone.host.now_us);
	if (drops() != before) /* only for want of room */
		BUG_ON(ooo_n != TCP_OOO_BUFFERS_MAX &&
			charged + COST_MOST < 2 * app.lone.host.conf.rcv_buffer);
	if (drops() != before || closed != was_closed)
		map_drop();
	hear();
	check(false);
}

/* op: kind, flags, offset (2), length, contents and pool, how often more, stride */
static void segments(const uint8_t *op)
{
	const uint32_t bases[] = {nxt, last_end, edge, nxt};
	int64_t start = (int64_t)bases[op[1] & 3] + (int16_t)get16(op + 2);
	uint32_t n = op[1] & 4 ? op[4] % 16u : MIN(op[4] * 6u, (uint32_t)PAYLOAD_MAX);

	for (unsigned i = 0; i <= op[6] % 64u && !dead; i++) {
		if (start >= 0 && start < CELLS)
			segment((uint32_t)start, n, op[1] & 8, op);
		start += op[7];
	}
}

static void pass(uint64_t us)
{
	lone_arp(&app.lone);
	host_lap(&app.lone.host, app.lone.host.now_us + us);
}

static void operate(const uint8_t *op)
{
	bool was_closed = closed;

	switch (op[0] & 15) {
	case 0:
		pass(get16(op + 2));
		break;
	case 1:
	case 2:
		appetite = op[1] % APPETITE_N;
		greedy = op[1] & 0x80;
		break;
	case 3:
	case 4:
		if (!closed)
			stream_resume(&app.stream);
		break;
	case 5:
		if (!closed && (op[1] & 7) == 7)
			close_it(&app.stream);
		break;
	case 6: /* as when memory is short */
		if (op[1] & 4)
			tcp_reass_drop_ooo(conn());
		map_drop();
		break;
	default:
		segments(op);
		break;
	}
	if (dead)
		return;
	pass(0);
	if (closed != was_closed)
		map_drop();
	hear();
	check(true);
}

/* what: bit 2 SACK, bit 3 scaled windows */
static void handshake(uint8_t what)
{
	struct tcp_offer offer = {
		.mss = PAYLOAD_MAX, .wscale = what & 8 ? 0 : -1, .sack = what & 4};
	struct seg s = {
		.sport = 40000, .dport = 25, .seq = first - 1, .flags = SYN, .window = 60000};
	struct tcp_options opt;

	s.options_n = tcp_options_syn(s.options, &offer);
	lone_send(&app.lone, &s);
	BUG_ON(!lone_next(&app.lone, &s) || s.ack != first);
	tcp_options_parse(bytes_make(s.options, s.options_n), &opt);
	peer_ack = s.seq + 1;
	edge = BEFORE + s.window;
	scale = opt.has_wscale ? opt.wscale : 0;
	s = (struct seg){.sport = 40000,
		.dport = 25,
		.seq = first,
		.ack = peer_ack,
		.flags = ACK,
		.window = 60000};
	lone_send(&app.lone, &s);
}

static void begin(const uint8_t *data)
{
	static const uint32_t buffers[] = {2000, 8000, 65535, 100000};
	struct host_conf conf = {.address = LONE_IP,
		.mac = 1,
		.mtu = 1500,
		.connections_max = 1,
		.rcv_buffer = buffers[data[0] & 3],
		.snd_buffer = 20000};

	memset(cells, 0, used);
	dead = closed = greedy = fin_seen = false;
	eofs = segments_n = 0;
	held = 0;
	nxt = got = last_end = used = BEFORE;
	first = (uint32_t)get16(data + 2) << 16;
	appetite = data[1] % APPETITE_N;
	lone_app_begin(&app, &conf, 25);
	handshake(data[0]);
	hear();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n < 8)
		return 0;
	begin(data);
	for (size_t i = 8, ops_n = 0; i + 8 <= n && ops_n < OPS_MAX && !dead; i += 8, ops_n++)
		operate(data + i);
	lone_app_end(&app);
	BUG_ON(rte_mempool_in_use_count(roomy));
	return 0;
}
