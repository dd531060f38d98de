/* SPDX-License-Identifier: BSD-3-Clause
 * dataplane/tls: keys that are slow, and the helper that uses them. */
#include <unistd.h>
#include "dataplane/base/rt/eal.h"
#include "dataplane/tls/tls_signer.h"
#include "tests/unit/dataplane/tls_bed.h"

struct helped {
	struct waker core;
	struct channel channel;
	struct tls_signer *signer;
	struct tls_config *config;
};

static void helped_open(struct helped *h, uint32_t credits)
{
	struct tls_identity_pem pem = {"tls.slow", bytes_str(slow.chain), bytes_str(slow.key)};
	struct tls_conf conf = {.identities = &pem, .identity_count = 1};
	char error[200];

	eal_start_for_tests(64);
	h->config = tls_config_create(&conf, error, sizeof(error));
	h->signer = tls_signer_create();
	assert_true(h->config && h->signer);
	assert_int_equal(waker_init(&h->core), 0);
	assert_int_equal(channel_init(&h->channel, "signer", credits, &h->core,
				 &tls_signer_server(h->signer)->waker, -1),
		0);
	assert_int_equal(service_add(tls_signer_server(h->signer), &h->channel), 0);
}

static void helped_close(struct helped *h)
{
	assert_int_equal(h->channel.credits, h->channel.credits_max);
	tls_signer_destroy(&h->signer);
	channel_fini(&h->channel);
	waker_fini(&h->core);
	tls_config_destroy(&h->config);
}

static void pair_start_slow(struct pair *p, struct helped *h)
{
	tls_use_signer(p->tls, &h->channel);
	assert_int_equal(tls_accept(p->tls, h->config, &p->b.s), 0);
	assert_int_equal(tls_connect(p->tls, h->config, &p->a.s, &anybody), 0);
}

/* Laps of the core, until the helper has answered for all. */
static void helped_run(struct helped *h, struct pair *p, unsigned n)
{
	for (unsigned lap = 0; lap < 20000 && !(p[n - 1].a.secure && p[0].a.secure); lap++) {
		if (channel_poll(&h->channel) == 0)
			usleep(100);
		for (unsigned i = 0; i < n; i++)
			pair_run(&p[i]);
	}
}

static const uint8_t text[50000];

/* More handshakes than the helper takes at once, and it sleeps: none is done in a lap, and an older
 * connection's octets go both ways meanwhile.  Then it wakes, and all are served. */
static void test_signing_holds_nobody_up(void **state)
{
	enum { N = 8 };
	static struct pair flood[N], mail;
	struct helped h;

	(void)state;
	helped_open(&h, 2);
	pair_init(&mail);
	pair_start(&mail, &anybody);
	pair_run(&mail);
	assert_true(mail.a.secure);
	for (unsigned i = 0; i < N; i++) {
		pair_init(&flood[i]);
		if (i) { /* one core: one struct tls, and its credits */
			tls_destroy(&flood[i].tls);
			flood[i].tls = flood[0].tls;
		}
		pair_start_slow(&flood[i], &h);
		pair_run(&flood[i]);
		assert_false(flood[i].a.secure || flood[i].b.secure);
	}
	assert_int_equal(h.channel.credits, 0);
	mail.a.send = mail.b.send = text;
	mail.a.send_n = mail.b.send_n = sizeof(text);
	app_send(&mail.a);
	app_send(&mail.b);
	pair_run(&mail);
	assert_int_equal(mail.a.got_n, sizeof(text));
	assert_int_equal(mail.b.got_n, sizeof(text));
	assert_int_equal(tls_signer_start(h.signer), 0);
	for (unsigned i = 0; i < N; i++)
		helped_run(&h, &flood[i], 1);
	for (unsigned i = 0; i < N; i++) {
		assert_true(flood[i].a.secure && flood[i].b.secure);
		stream_abort(&flood[i].a.s);
		stream_abort(&flood[i].b.s);
		free(flood[i].a.wire);
		free(flood[i].b.wire);
	}
	assert_int_equal(tls_sessions(flood[0].tls), 0);
	tls_destroy(&flood[0].tls);
	pair_fini(&mail);
	helped_close(&h);
}

/* Whatever ends a connection while its session is with the helper: it is freed when it comes back.
 */
static void test_ends_while_the_helper_signs(void **state)
{
	enum how { CLOSE, ABORT, RESET, END, SHUT, HOWS };

	(void)state;
	for (enum how how = CLOSE; how < HOWS; how++) {
		static struct pair p;
		struct helped h;
		helped_open(&h, 2);
		pair_init(&p);
		pair_start_slow(&p, &h);
		pair_run(&p);
		assert_int_equal(h.channel.credits, 1);
		switch (how) {
		case CLOSE:
			stream_close(&p.b.s);
			break;
		case ABORT:
			stream_abort(&p.b.s);
			break;
		case RESET:
			p.b.s.ops->on_close(&p.b.s, STREAM_RESET);
			break;
		case END:
			p.b.s.ops->on_eof(&p.b.s);
			break;
		default:
			stream_shutdown(&p.b.s);
		}
		tls_poll(p.tls, 0);
		assert_int_equal(tls_sessions(p.tls), 2);
		assert_int_equal(tls_signer_start(h.signer), 0);
		for (unsigned lap = 0; lap < 20000 && h.channel.credits < 2; lap++) {
			channel_poll(&h.channel);
			usleep(100);
		}
		pair_run(&p);
		if (how == END) {
			assert_true(p.b.closed);
			assert_int_equal(p.b.reason, STREAM_TLS_FAILED);
		}
		pair_fini(&p);
		helped_close(&h);
	}
}

/* The core ends with sessions at the helper. */
static void test_the_end_of_the_core(void **state)
{
	static struct pair p;
	struct helped h;

	(void)state;
	helped_open(&h, 2);
	pair_init(&p);
	pair_start_slow(&p, &h);
	pair_run(&p);
	assert_int_equal(tls_signer_start(h.signer), 0);
	tls_signer_stop(h.signer);
	tls_destroy(&p.tls);
	free(p.a.wire);
	free(p.b.wire);
	channel_fini(&h.channel);
	tls_signer_destroy(&h.signer);
	waker_fini(&h.core);
	tls_config_destroy(&h.config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signing_holds_nobody_up),
		cmocka_unit_test(test_ends_while_the_helper_signs),
		cmocka_unit_test(test_the_end_of_the_core),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
