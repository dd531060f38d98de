/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/dataplane/hand.h"

static struct host_pools pools;

void hand_start(void)
{
	eal_start_for_tests(64);
	host_pools_init(&pools, "hand", 4095, 4095);
}

static size_t on_data(struct stream *s, struct bytes data)
{
	struct hand *h = container_of(s, struct hand, stream);

	assert_true(h->n + data.n <= sizeof(h->data));
	memcpy(h->data + h->n, data.p, data.n);
	h->n += data.n;
	if (h->answers)
		stream_answer_follows(s);
	return data.n;
}

static void on_eof(struct stream *s)
{
	container_of(s, struct hand, stream)->eofs++;
}

static void on_close(struct stream *s, enum stream_reason reason)
{
	struct hand *h = container_of(s, struct hand, stream);

	h->closes++;
	h->reason = reason;
}

static const struct stream_ops ops = {.on_data = on_data, .on_eof = on_eof, .on_close = on_close};

static struct stream *on_accept(
	struct listener *l, const struct endpoint *peer, const struct endpoint *local)
{
	struct hand *h = container_of(l, struct hand, listener);

	(void)peer;
	(void)local;
	h->accepts++;
	h->stream = (struct stream){.ops = &ops};
	return &h->stream;
}

void hand_init(struct hand *h)
{
	struct host_conf conf = h->conf;

	memset(h, 0, sizeof(*h));
	conf.address = LONE_IP;
	conf.mac = 1;
	conf.mtu = conf.mtu ? conf.mtu : 1500;
	conf.connections_max = 64;
	conf.rcv_buffer = conf.rcv_buffer ? conf.rcv_buffer : 60000;
	conf.snd_buffer = 200000;
	h->conf = conf;
	h->window = 60000;
	h->listener.accept = on_accept;
	lone_init(&h->lone, &pools, &conf);
	lone_arp(&h->lone);
	assert_int_equal(stack_listen(h->lone.host.stack, HAND_PORT, &h->listener), 0);
}

void hand_fini(struct hand *h)
{
	lone_fini(&h->lone);
}

void hand_say(struct hand *h, uint8_t flags, uint32_t seq, uint32_t ack, struct bytes payload,
	struct bytes options)
{
	struct seg s = {.sport = HAND_OURS,
		.dport = HAND_PORT,
		.seq = seq,
		.ack = ack,
		.flags = flags | h->extra_flags,
		.window = h->window,
		.payload = payload.p,
		.payload_n = payload.n};

	if (h->ts)
		s.options_n = tcp_options_ts(s.options, h->ts, flags & ACK ? h->ecr : 0);
	if (options.n)
		memcpy(s.options + s.options_n, options.p, options.n);
	s.options_n += options.n;
	lone_send(&h->lone, &s);
}

bool hand_timestamp(const struct seg *s, uint32_t *val_r, uint32_t *ecr_r)
{
	struct tcp_options opt;

	tcp_options_parse(bytes_make(s->options, s->options_n), &opt);
	*val_r = opt.ts_val;
	*ecr_r = opt.ts_ecr;
	return opt.has_ts;
}

struct seg hand_hear(struct hand *h)
{
	struct seg s = {0};
	uint32_t val, ecr;

	assert_true(lone_next(&h->lone, &s));
	if (hand_timestamp(&s, &val, &ecr))
		h->ecr = val;
	return s;
}

void hand_silence(struct hand *h)
{
	struct seg s;

	assert_false(lone_next(&h->lone, &s));
}

void hand_handshake(struct hand *h, struct bytes options)
{
	hand_say(h, SYN, HAND_START, 0, BYTES_NONE, options);
	struct seg s = hand_hear(h);
	assert_int_equal(s.flags, SYN | ACK);
	h->rcv = s.seq + 1;
	h->snd = HAND_START + 1;
	hand_say(h, ACK, h->snd, h->rcv, BYTES_NONE, BYTES_NONE);
	assert_int_equal(h->accepts, 1);
	hand_silence(h);
}

void hand_stack_sends(struct hand *h, size_t n)
{
	static uint8_t zeros[200000];

	assert_int_equal(stream_send(&h->stream, bytes_make(zeros, n)), n);
	host_lap(&h->lone.host, h->lone.host.now_us);
}

void hand_sack(struct hand *h, uint32_t ack, uint32_t base, const uint32_t *blocks, unsigned n)
{
	struct tcp_range ranges[4];
	uint8_t options[40];

	for (unsigned i = 0; i < n; i++)
		ranges[i] = (struct tcp_range){base + blocks[2 * i], base + blocks[2 * i + 1]};
	size_t used = n ? tcp_options_sack(options, ranges, n) : 0;
	hand_say(h, ACK, h->snd, ack, BYTES_NONE, bytes_make(options, used));
}

struct tcp_conn *hand_conn(struct hand *h)
{
	return &h->lone.host.stack->conns[h->stream.id.index];
}
