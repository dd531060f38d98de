/* SPDX-License-Identifier: BSD-3-Clause
 * A sequence of segments, clock steps and application calls against one connection, read from the
 * input as operations of 8 octets, with the invariants of host_check after each: una <= nxt, SACKed
 * and lost within flight, reassembly sorted, memory bounded, a timer behind everything in flight.
 */
#include "tests/sim/lone_app.h"

#define OPS_MAX 400

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct lone_app app;
static uint8_t appetite;
static uint16_t their_port;
static uint32_t seq, ack, edge; /* our next; theirs as far as seen; right edge of their window */
static bool edge_known;
static uint8_t zeros[2000];

static size_t on_data(struct stream *s, struct bytes data)
{
	switch (appetite & 7) {
	case 0:
		return 0;
	case 1:
		return data.n / 2;
	case 2:
		app.open = false;
		stream_close(s);
		return data.n;
	case 3:
		app.open = false;
		stream_abort(s);
		return 1;
	case 4:
		stream_send(s, bytes_first(data, 100));
		stream_resume(s);
		return data.n - 1;
	default:
		return data.n;
	}
}

static void on_eof(struct stream *s)
{
	if (appetite & 8) {
		app.open = false;
		stream_close(s);
	}
}

static void on_writable(struct stream *s)
{
	stream_send(s, bytes_make(zeros, appetite));
}

static const struct stream_ops ops = {.on_data = on_data,
	.on_eof = on_eof,
	.on_writable = on_writable,
	.on_close = lone_app_closed};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	lone_app_init(&app, &ops, 1023, 255);
	return 0;
}

/* What the stack says, as a peer follows it. */
static void listen_to_it(void)
{
	struct seg s;

	while (lone_next(&app.lone, &s)) {
		if (s.flags & RST) {
			edge_known = false;
			continue;
		}
		if (s.flags & SYN) {
			ack = s.seq + 1;
			their_port = s.sport;
			edge_known = false;
			continue;
		}
		if (s.sport != their_port)
			continue; /* an earlier connection */
		uint32_t right = s.ack + s.window;
		if (edge_known && s.window)
			BUG_ON(seq_lt(right, edge));
		edge = right;
		edge_known = s.window;
		ack = seq_max(ack, s.seq + (uint32_t)s.payload_n);
	}
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* op: kind, flags, seq offset (2), ack offset (1), window (1), length (1), options (1) */
static void segment(const uint8_t *op)
{
	static const uint8_t offers[] = {2, 4, 5, 180, 1, 1, 4, 2, 1, 3, 3, 7};
	struct seg s = {
		.sport = 40000,
		.dport = their_port,
		.seq = seq + (uint32_t)(int16_t)get16(op + 2),
		.ack = ack - (uint32_t)(int8_t)op[4] * 50u,
		.flags = op[1] & (FIN | SYN | RST | ACK),
		.window = (uint16_t)(op[5] << (op[5] & 7)),
		.payload = zeros,
		.payload_n = op[6] * 5u,
	};
	if (s.flags & SYN) {
		memcpy(s.options, offers, sizeof(offers));
		s.options_n = op[7] % (sizeof(offers) + 1);
	} else if (op[7]) {
		uint32_t start = s.ack + op[7] * 100u, end = start + op[6] * 40u;
		uint8_t sack[] = {1, 1, 5, 10, (uint8_t)(start >> 24), (uint8_t)(start >> 16),
			(uint8_t)(start >> 8), (uint8_t)start, (uint8_t)(end >> 24),
			(uint8_t)(end >> 16), (uint8_t)(end >> 8), (uint8_t)end};
		memcpy(s.options, sack, sizeof(sack));
		s.options_n = sizeof(sack);
	}
	lone_send(&app.lone, &s);
	if (op[0] & 0x80) /* this one counts as the next in order */
		seq = s.seq + (uint32_t)s.payload_n + !!(s.flags & SYN) + !!(s.flags & FIN);
}

static void operate(const uint8_t *op)
{
	struct endpoint remote = {ip_from_v4(rte_cpu_to_be_32(LONE_PEER)), 40000};

	switch (op[0] & 15) {
	case 0:
		lone_arp(&app.lone);
		host_lap(&app.lone.host, app.lone.host.now_us + get16(op + 2) * 1000ull);
		break;
	case 1:
		host_lap(&app.lone.host, app.lone.host.now_us + get16(op + 2));
		break;
	case 2:
		appetite = op[1];
		break;
	case 3:
		if (app.open)
			stream_send(&app.stream, bytes_make(zeros, get16(op + 2) % sizeof(zeros)));
		break;
	case 4:
		if (app.open)
			stream_resume(&app.stream);
		break;
	case 5:
		if (app.open)
			stream_shutdown(&app.stream);
		break;
	case 6:
		if (app.open && (op[1] & 1)) {
			app.open = false;
			stream_close(&app.stream);
		} else if (app.open && (op[1] & 2)) {
			app.open = false;
			stream_abort(&app.stream);
		}
		break;
	case 7:
		if (app.open)
			break;
		app.stream = (struct stream){.ops = &ops};
		app.open = stream_connect(
				   app.lone.host.stack, &app.stream, &remote, 30 * US_PER_SEC) == 0;
		break;
	default:
		segment(op);
		break;
	}
}

/* Every other input starts with a connection that stands. */
static void handshake(void)
{
	struct seg s = {.sport = 40000, .dport = 25, .seq = seq - 1, .flags = SYN, .window = 5000};

	lone_send(&app.lone, &s);
	listen_to_it();
	s.seq = seq;
	s.ack = ack;
	s.flags = ACK;
	lone_send(&app.lone, &s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct host_conf conf = {.address = LONE_IP,
		.mac = 1,
		.mtu = 1500,
		.connections_max = 4,
		.snd_buffer = 20000,
		.trust_csum = true};

	if (n < 8)
		return 0;
	conf.rcv_buffer = data[0] & 1 ? 5000 : 65535; /* windows that need no scale */
	edge_known = false;
	their_port = 25;
	appetite = data[1];
	seq = (uint32_t)get16(data + 2) << 16;
	ack = 0;
	lone_app_begin(&app, &conf, 25);
	if (data[0] & 2)
		handshake();
	for (size_t i = 8, ops_n = 0; i + 8 <= n && ops_n < OPS_MAX; i += 8, ops_n++) {
		operate(data + i);
		host_lap(&app.lone.host, app.lone.host.now_us);
		host_check(&app.lone.host);
		listen_to_it();
	}
	lone_app_end(&app);
	return 0;
}
