/* SPDX-License-Identifier: BSD-3-Clause
 * The sender's scoreboard against a map with one cell for each octet of the stream.  Operations
 * send acknowledgments with up to four SACK blocks: of whole segments or across them, old ones,
 * D-SACKs, backwards, of what was never sent, and taken back; segments are cut, the path becomes
 * narrow, and timers expire.  After each: what is marked as arrived was covered by a block, and
 * what one block covers is marked; the counters of octets are those of the map, and the pipe what
 * they leave; lost is only what may be; each octet leaves with its contents, inside the window, and
 * not again when the peer has it. */
#include "tests/sim/lone_app.h"

#define OPS_MAX     300
#define CELLS       (128 * 1024)
#define SEND_MAX    9000 /* of one call */
#define TX_MBUFS    127  /* fewer than LONE_SENT: none of what is sent in a lap is overwritten */
#define BLOCKS_MAX  4u
#define REACH_MAX   24u /* segments that blocks reach into the queue */
#define WINDOW_MOST 60000
/* Walks over the map: no feedback wanted from them, and with it an input takes half a second. */
#define UNWATCHED __attribute__((no_sanitize("coverage", "address", "undefined")))

enum cell {
	COVERED = 1, /* a block told, and nobody took it back */
	SACKED = 2,  /* says the scoreboard */
	LOST = 4,
};

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct lone_app app;
static bool dead, sack, timestamps;
static uint8_t cells[CELLS + 1]; /* and FIN */
/* By cell.  right: edge of what the peer ever offered. */
static uint32_t una, nxt, total, right;
static bool fin;
static unsigned duplicates;
static bool excused;        /* something happened for which segments may count as lost */
static uint32_t first, seq; /* sequence numbers: of the stack's first octet, our next */
static uint32_t echo;

static uint8_t octet(uint32_t cell)
{
	return (uint8_t)(cell * 2654435761u >> 24);
}

static struct tcp_conn *conn(void)
{
	return &app.lone.host.stack->conns[app.stream.id.index];
}

static uint32_t cell_of(const struct tcp_txseg *seg)
{
	return seg->seq - first;
}

static size_t on_data(struct stream *s, struct bytes data)
{
	(void)s;
	return data.n;
}

static void on_close(struct stream *s, enum stream_reason reason)
{
	(void)s;
	/* segments may be cut until the pool is used up: then the longest idle connection goes */
	BUG_ON(reason != STREAM_TIMEOUT && reason != STREAM_NO_MEMORY);
	dead = true;
}

static const struct stream_ops ops = {.on_data = on_data, .on_close = on_close};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	lone_app_init(&app, &ops, 63, TX_MBUFS);
	return 0;
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint64_t timeouts(void)
{
	return counters_mine->value[CTR_TCP_RTO_EXPIRED];
}

/* ---- what must hold ---- */

/* Write the scoreboard into the map: what is in flight, each octet once, then what was never sent.
 */
UNWATCHED static void board_read(const struct tcp_conn *c)
{
	uint32_t at = una;
	bool sent = true;

	for (uint32_t i = una; i <= total; i++)
		cells[i] &= COVERED;
	for (struct rte_mbuf *m = c->sendq; m; m = tcp_txseg_of(m)->next) {
		const struct tcp_txseg *seg = tcp_txseg_of(m);
		sent &= m != c->unsent;
		BUG_ON(cell_of(seg) != at || seg->len == 0);
		BUG_ON(!sent && (seg->flags & (TXS_SACKED | TXS_LOST)));
		BUG_ON(at + seg->len > (sent ? nxt : total));
		for (uint32_t end = at + seg->len; at < end; at++) {
			cells[at] |= seg->flags & TXS_SACKED ? SACKED : 0;
			cells[at] |= seg->flags & TXS_LOST ? LOST : 0;
		}
	}
	BUG_ON(at != MAX(total, una));
}

UNWATCHED static void counters_check(const struct tcp_conn *c)
{
	uint32_t sacked = 0, lost = 0, pipe = 0;

	for (uint32_t i = una; i < nxt; i++) {
		BUG_ON((cells[i] & SACKED) && !(cells[i] & COVERED));
		BUG_ON((cells[i] & SACKED) && (cells[i] & LOST));
		sacked += !!(cells[i] & SACKED);
		lost += !!(cells[i] & LOST);
		pipe += !(cells[i] & (SACKED | LOST));
	}
	if (!sack)
		pipe -= MIN(pipe, (uint32_t)c->dup_acks * c->mss);
	BUG_ON(sacked != c->sacked || lost != c->lost || pipe != tcp_pipe(c));
	BUG_ON(lost && !excused);
}

static void segments_check(const struct tcp_conn *c)
{
	uint32_t end = 0;
	unsigned n = 0;

	for (struct rte_mbuf *m = c->sendq; m && m != c->unsent; m = tcp_txseg_of(m)->next) {
		const struct tcp_txseg *seg = tcp_txseg_of(m);
		if (!(seg->flags & TXS_SACKED))
			continue;
		n++;
		end = seg->seq + seg->len;
	}
	BUG_ON(n != c->sacked_segs);
	BUG_ON(n && end != tcp_cold(c)->fack);
}

static void check(void)
{
	const struct tcp_conn *c = conn();

	if (dead)
		return;
	BUG_ON(una > nxt || nxt > total + fin);
	BUG_ON(c->snd_una - first != una || c->snd_nxt - first != nxt);
	BUG_ON(c->snd_end - first != total);
	board_read(c);
	counters_check(c);
	segments_check(c);
	host_check(&app.lone.host);
}

/* What the stack sends.  timeout: there was one since board_read. */
static void hear(bool timeout)
{
	struct tcp_options opt;
	struct seg s;

	while (lone_next(&app.lone, &s)) {
		if (s.flags & RST)
			continue; /* it gives up */
		uint32_t at = s.seq - first, end = at + (uint32_t)s.payload_n;
		tcp_options_parse(bytes_make(s.options, s.options_n), &opt);
		BUG_ON(opt.has_ts != timestamps);
		if (opt.has_ts)
			echo = opt.ts_val;
		bool has_fin = s.flags & FIN;
		if (!s.payload_n && !has_fin)
			continue;
		BUG_ON(end > total || (has_fin && (!fin || end != total)));
		BUG_ON(end + has_fin <= una);
		BUG_ON(end > nxt && end > right + 1); /* an octet asks whether it still is shut */
		for (uint32_t i = 0; i < s.payload_n; i++) {
			BUG_ON(s.payload[i] != octet(at + i));
			BUG_ON((cells[at + i] & SACKED) && !timeout);
		}
		nxt = MAX(nxt, end + has_fin);
	}
}

/* Time passes, and what is due is sent. */
static void pass(uint64_t us)
{
	uint64_t before = timeouts();
	const struct tcp_conn *c = conn();
	bool taken_back = c->sendq && (tcp_txseg_of(c->sendq)->flags & TXS_SACKED);

	lone_arp(&app.lone);
	host_lap(&app.lone.host, app.lone.host.now_us + us);
	bool timeout = timeouts() != before;
	hear(timeout);
	excused |= timeout;
	if (timeout && taken_back) { /* RFC 2018 8: all that was told is void */
		for (uint32_t i = una; i <= total; i++)
			cells[i] &= (uint8_t)~COVERED;
	}
	check();
}

/* ---- operations ---- */

static void transmit(uint32_t n)
{
	uint8_t octets[SEND_MAX];

	n = MIN(n % SEND_MAX, CELLS - total);
	for (uint32_t i = 0; i < n; i++)
		octets[i] = octet(total + i);
	total += (uint32_t)stream_send(&app.stream, bytes_make(octets, n));
}

/* Where a segment of the queue begins: the index'th, or the end of what was sent. */
static uint32_t boundary(unsigned index)
{
	const struct tcp_conn *c = conn();
	struct rte_mbuf *m = c->sendq;

	for (; m && m != c->unsent && index; index--)
		m = tcp_txseg_of(m)->next;
	return m && m != c->unsent ? cell_of(tcp_txseg_of(m)) : nxt;
}

static void split(unsigned index, uint16_t len)
{
	struct tcp_conn *c = conn();
	struct rte_mbuf *m = c->sendq;

	while (m && index--)
		m = tcp_txseg_of(m)->next;
	if (!m || tcp_txseg_of(m)->len < 2)
		return;
	len = (uint16_t)(1 + len % (tcp_txseg_of(m)->len - 1));
	if (tcp_sendq_split(c, m, len) < 0)
		BUG_ON(rte_mempool_avail_count(app.pools.tx));
}

static void narrow(uint16_t mtu)
{
	struct tcp_conn *c = conn();

	if (tcp_packet_too_big(app.lone.host.stack, &c->key, c->snd_una, mtu))
		excused = true;
}

/* p: start (2), length (2); by segments, or by octets from una on, and the start may be before. */
static struct tcp_range block_of(const uint8_t *p, bool whole)
{
	if (whole)
		return (struct tcp_range){first + boundary(p[0] % REACH_MAX),
			first + boundary(p[0] % REACH_MAX + p[2] % REACH_MAX)};
	uint32_t start = first + una + (uint32_t)(int16_t)get16(p);
	return (struct tcp_range){start, start + (uint32_t)(int16_t)get16(p + 2)};
}

static bool counts(const struct tcp_range *b)
{
	return seq_lt(b->start, b->end) && seq_le(first + una, b->start) &&
	       seq_le(b->end, first + nxt);
}

/* The segment was processed and nothing is sent yet. */
static void told(const struct seg *s, const struct tcp_range *blocks, unsigned n, uint32_t oldest)
{
	const struct tcp_conn *c = conn();
	int32_t ack = (int32_t)(s->ack - first), behind = (int32_t)(s->ack - oldest);

	if (ack > (int32_t)nxt || behind < 0)
		n = 0;
	else
		una = (uint32_t)MAX(ack, (int32_t)una);
	for (unsigned i = 0; sack && i < n; i++) {
		if (!counts(&blocks[i]))
			continue;
		excused = true;
		for (uint32_t at = blocks[i].start - first; at < blocks[i].end - first; at++)
			cells[at] |= COVERED;
		for (struct rte_mbuf *m = c->sendq; m && m != c->unsent;
			m = tcp_txseg_of(m)->next) {
			const struct tcp_txseg *seg = tcp_txseg_of(m);
			BUG_ON(seq_le(blocks[i].start, seg->seq) &&
				seq_le(seg->seq + seg->len, blocks[i].end) &&
				!(seg->flags & TXS_SACKED));
		}
	}
}

/* op: kind and flags, ack, window, blocks; then 4 octets for each block */
static void acknowledge(const uint8_t *op, const uint8_t *more, unsigned n)
{
	uint32_t ack = op[0] & 0x10 ? una + (uint32_t)(int8_t)op[1] * 100 : boundary(op[1] % 8);
	struct seg s = {.sport = 40000,
		.dport = 25,
		.seq = seq,
		.ack = first + ack,
		.flags = ACK,
		.window = op[2] & 0x80 ? WINDOW_MOST : (uint16_t)(op[2] * 100)};
	struct tcp_range blocks[BLOCKS_MAX];
	struct tcp_conn *c = conn();

	n = MIN(n, timestamps ? BLOCKS_MAX - 1 : BLOCKS_MAX); /* what there is room for */
	for (unsigned i = 0; i < n; i++)
		blocks[i] = block_of(more + 4 * (size_t)i, op[3] & 0x10 << i);
	if (timestamps)
		s.options_n =
			tcp_options_ts(s.options, (uint32_t)(app.lone.host.now_us / US_PER_MS),
				echo - (op[0] & 0x20 ? op[1] : 0));
	if (n)
		s.options_n += tcp_options_sack(s.options + s.options_n, blocks, n);
	uint8_t frame[200];
	uint32_t oldest = c->snd_una - MAX(c->snd_wnd_max, (uint32_t)s.window);
	excused |= s.window == 0 || (s.ack == c->snd_una && ++duplicates >= TCP_DUP_ACKS);
	if ((int32_t)(ack + s.window) >
		(int32_t)right) /* an old ACK may be before the first octet */
		right = ack + s.window;
	host_input(&app.lone.host, bytes_make(frame, lone_build(frame, &s)));
	if (dead)
		return;
	told(&s, blocks, n, oldest);
	check();
}

/* Returns octets of the operation; 0: the input is at its end. */
static size_t operate(const uint8_t *op, size_t n)
{
	if (n < 4)
		return 0;
	unsigned blocks_n = op[3] % (BLOCKS_MAX + 1);
	size_t used = 4;

	switch (op[0] & 7) {
	case 0:
		pass(get16(op + 1) * (op[3] & 1 ? 20ull : 1ull));
		break;
	case 1:
		if (!fin)
			transmit(get16(op + 1));
		break;
	case 2:
		if (op[3] & 1)
			narrow(get16(op + 1) % 1600);
		else
			split(op[0] >> 3, get16(op + 1));
		break;
	case 3:
		if (op[1] == 0xff && !fin) {
			stream_shutdown(&app.stream);
			fin = true;
		}
		break;
	default:
		used += 4 * (size_t)blocks_n;
		if (n < used)
			return 0;
		acknowledge(op, op + 4, blocks_n);
		break;
	}
	if (!dead)
		check();
	if (!dead)
		pass(0);
	return used;
}

/* what: bit 0 SACK, 1 timestamps, 4 and 5 the largest segment */
static void handshake(uint8_t what)
{
	static const uint16_t sizes[] = {1460, 1000, 536, 100};
	struct tcp_offer offer = {.mss = sizes[what >> 4 & 3],
		.wscale = -1,
		.sack = what & 1,
		.ts = what & 2,
		.ts_val = (uint32_t)(app.lone.host.now_us / US_PER_MS)};
	struct seg s = {
		.sport = 40000, .dport = 25, .seq = seq, .flags = SYN, .window = WINDOW_MOST};
	struct tcp_options opt;

	s.options_n = tcp_options_syn(s.options, &offer);
	lone_send(&app.lone, &s);
	BUG_ON(!lone_next(&app.lone, &s) || s.ack != ++seq);
	tcp_options_parse(bytes_make(s.options, s.options_n), &opt);
	sack = opt.sack_permitted;
	timestamps = opt.has_ts;
	BUG_ON(sack != offer.sack || timestamps != offer.ts);
	echo = opt.ts_val;
	first = s.seq + 1;
	s = (struct seg){.sport = 40000,
		.dport = 25,
		.seq = seq,
		.ack = first,
		.flags = ACK,
		.window = WINDOW_MOST};
	if (timestamps)
		s.options_n = tcp_options_ts(s.options, offer.ts_val, echo);
	lone_send(&app.lone, &s);
	right = WINDOW_MOST;
}

static void begin(uint8_t what)
{
	struct host_conf conf = {.address = LONE_IP,
		.mac = 1,
		.mtu = 1500,
		.connections_max = 1,
		.rcv_buffer = 20000,
		.snd_buffer = 60000,
		.hold_tx = what & 4,
		.card = what & 8};

	memset(cells, 0, total + 1);
	una = nxt = total = 0;
	dead = fin = excused = false;
	duplicates = 0;
	seq = 5000;
	lone_app_begin(&app, &conf, 25);
	handshake(what);
	check();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	size_t used = 1;

	if (n == 0)
		return 0;
	begin(data[0]);
	for (unsigned ops_n = 0; ops_n < OPS_MAX && !dead; ops_n++) {
		size_t step = operate(data + used, n - used);
		if (!step)
			break;
		used += step;
	}
	lone_app_end(&app);
	return 0;
}
