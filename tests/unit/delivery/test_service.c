/* SPDX-License-Identifier: BSD-3-Clause
 * The DNS helper against a small name server of the test's own, on a high port of 127.0.0.1. */
#include "tests/unit/delivery/unit.h"
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>
#include "dataplane/base/clock.h"
#include "dataplane/base/rt/eal.h"
#include "delivery/dns/dns.h"

#define WAIT_US (20 * US_PER_SEC)

/* ---- the name server: a thread that answers from a table ---- */

struct responder {
	int fd;
	uint16_t port;
	pthread_t thread;
	atomic_bool stop;
};

static const struct {
	const char *name;
	uint16_t type;
	uint8_t rcode;
	const char *rdata[3];
	size_t rdata_n[3];
} answers[] = {
	{"mail.example.org",     DNS_MX,   0, {"\0\x14\3mx2\7example\3org", "\0\x0a\3MX1\7example\3org"},
         {19, 19}											       },
	{"mx1.example.org",      DNS_A,    0, {"\xc6\x12\0\1", "\xc6\x12\0\2"},                           {4, 4}},
	{"v6.example.org",       DNS_AAAA, 0, {"\x20\1\0\2\0\0\0\0\0\0\0\0\0\0\0\1"},                     {16}  },
	{"null.example.org",     DNS_MX,   0, {"\0\0\0"},                                                 {3}   },
	{"bad.example.org",      DNS_MX,   0, {"\0\x0a\3a b\7example\3org"},                              {19}  },
	{"nx.example.org",       DNS_MX,   3, {NULL},						     {0}   },
	{"servfail.example.org", DNS_MX,   2, {NULL},						     {0}   },
};

/* Question name at offset 12 as text; returns offset behind it, or 0. */
static size_t question_name(const uint8_t *q, size_t n, char *out)
{
	size_t at = 12, k = 0;

	while (at < n && q[at]) {
		size_t label = q[at++];
		if (label > 63 || at + label > n || k + label + 2 > 256)
			return 0;
		if (k)
			out[k++] = '.';
		for (size_t i = 0; i < label; i++)
			out[k++] = (char)ascii_lower(q[at + i]);
		at += label;
	}
	out[k] = '\0';
	return at + 5 <= n ? at + 1 : 0;
}

static size_t put_soa(uint8_t *p)
{
	static const uint8_t soa[] = "\7example\3org\0\0\6\0\1\0\0\0\x3c\0\x1a"
				     "\0\0\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1";

	memcpy(p, soa, 13 + 10);
	memcpy(p + 23, "\0\0", 2); /* MNAME and RNAME: the root */
	memset(p + 25, 0, 20);
	p[21] = 0;
	p[22] = 22; /* RDLENGTH */
	p[28] = 1;
	p[44] = 60;
	return 45;
}

static size_t put_rr(uint8_t *p, uint16_t type, const char *rdata, size_t n)
{
	uint8_t head[12] = {0xc0, 12, 0, (uint8_t)type, 0, 1, 0, 0, 1, 0x2c, 0, (uint8_t)n};

	memcpy(p, head, sizeof(head));
	memcpy(p + sizeof(head), rdata, n);
	return sizeof(head) + n;
}

/* Makes the answer in place; returns its length, 0: stay silent. */
static size_t answer(uint8_t *q, size_t n)
{
	char name[300];
	size_t end = question_name(q, n, name);
	uint16_t type;

	if (!end || strcmp(name, "silent.example.org") == 0)
		return 0;
	type = (uint16_t)(q[end] << 8 | q[end + 1]);
	end += 4;
	q[2] = 0x81;
	q[3] = 0x80;
	memset(q + 6, 0, 6);
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		if (strcmp(answers[i].name, name) != 0)
			continue;
		q[3] = (uint8_t)(0x80 | answers[i].rcode);
		for (size_t k = 0; k < 3 && answers[i].rdata[k] && answers[i].type == type; k++) {
			end += put_rr(q + end, type, answers[i].rdata[k], answers[i].rdata_n[k]);
			q[7]++;
		}
	}
	if (q[7] == 0 && (q[3] & 15) != 2) {
		end += put_soa(q + end);
		q[9] = 1;
	}
	return end;
}

static void *responder_main(void *arg)
{
	struct responder *r = arg;

	while (!atomic_load(&r->stop)) {
		struct pollfd p = {.fd = r->fd, .events = POLLIN};
		uint8_t packet[2048];
		struct sockaddr_in from;
		socklen_t from_n = sizeof(from);

		if (poll(&p, 1, 50) <= 0)
			continue;
		ssize_t n = recvfrom(r->fd, packet, 1024, 0, (struct sockaddr *)&from, &from_n);
		size_t out = n > 12 ? answer(packet, (size_t)n) : 0;
		if (out)
			sendto(r->fd, packet, out, 0, (struct sockaddr *)&from, from_n);
	}
	return NULL;
}

static void responder_start(struct responder *r)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);

	r->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(r->fd >= 0);
	assert_int_equal(bind(r->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(r->fd, (struct sockaddr *)&a, &n), 0);
	r->port = ntohs(a.sin_port);
	atomic_init(&r->stop, false);
	assert_int_equal(pthread_create(&r->thread, NULL, responder_main, r), 0);
}

static void responder_stop(struct responder *r)
{
	atomic_store(&r->stop, true);
	pthread_join(r->thread, NULL);
	close(r->fd);
}

/* ---- a requester ---- */

struct bench {
	struct responder responder;
	struct dns_service *service;
	struct channel channel;
	struct waker waker;
	unsigned done;
};

static struct bench bench;

static void on_done(struct op *op)
{
	(void)op;
	bench.done++;
}

static void bench_start(uint32_t capacity, uint32_t timeout_ms)
{
	char server[32], error[256] = "";
	const char *servers[] = {server};
	struct dns_conf conf = {.servers = servers, .server_count = 1, .timeout_ms = timeout_ms};

	bench.done = 0;
	responder_start(&bench.responder);
	snprintf(server, sizeof(server), "127.0.0.1@%u", bench.responder.port);
	assert_int_equal(dns_service_create(&conf, &bench.service, error, sizeof(error)), 0);
	assert_int_equal(waker_init(&bench.waker), 0);
	struct service *s = dns_service_server(bench.service);
	assert_int_equal(
		channel_init(&bench.channel, "dnstest", capacity, &bench.waker, &s->waker, -1), 0);
	assert_int_equal(service_add(s, &bench.channel), 0);
	assert_int_equal(dns_service_start(bench.service), 0);
}

static void bench_stop(void)
{
	dns_service_stop(bench.service);
	channel_poll(&bench.channel);
	assert_int_equal(channel_in_flight(&bench.channel), 0);
	dns_service_destroy(&bench.service);
	channel_fini(&bench.channel);
	waker_fini(&bench.waker);
	responder_stop(&bench.responder);
}

static void submit(struct dns_op *op, const char *name, enum dns_type type)
{
	*op = (struct dns_op){.type = (uint8_t)type, .op.done = on_done};
	strcpy(op->name, name);
	assert_int_equal(channel_submit(&bench.channel, &op->op), 0);
}

static void wait_done(unsigned n)
{
	uint64_t end = clock_mono_us() + WAIT_US;

	while (bench.done < n && clock_mono_us() < end) {
		channel_poll(&bench.channel);
		usleep(1000);
	}
	assert_int_equal(bench.done, n);
}

static void test_answers(void **state)
{
	static const struct {
		const char *name;
		enum dns_type type;
		enum dns_status status;
		uint32_t count;
	} table[] = {
		{"mail.example.org",     DNS_MX,   DNS_OK,       2},
		{"mx1.example.org",      DNS_A,    DNS_OK,       2},
		{"v6.example.org",       DNS_AAAA, DNS_OK,       1},
		{"null.example.org",     DNS_MX,   DNS_OK,       1},
		{"bad.example.org",      DNS_MX,   DNS_FAIL,     0},
		{"mx1.example.org",      DNS_MX,   DNS_NODATA,   0},
		{"nx.example.org",       DNS_MX,   DNS_NXDOMAIN, 0},
		{"servfail.example.org", DNS_MX,   DNS_FAIL,     0},
		{"not a name",           DNS_MX,   DNS_NXDOMAIN, 0},
	};
	static struct dns_op ops[ARRAY_LEN(table)];

	(void)state;
	bench_start(16, 10000);
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		submit(&ops[i], table[i].name, table[i].type);
	wait_done(ARRAY_LEN(table));
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		if (ops[i].op.status != (int)table[i].status)
			print_error("%s\n", table[i].name);
		assert_int_equal(ops[i].op.status, table[i].status);
		assert_int_equal(ops[i].count, table[i].count);
		assert_false(ops[i].secure);
	}
	assert_string_equal(ops[0].records[0].name, "mx1.example.org");
	assert_string_equal(ops[0].records[1].name, "mx2.example.org");
	assert_int_equal(ops[0].records[1].preference, 20);
	assert_in_range(ops[0].ttl, 290, 300);
	assert_int_equal(ops[3].records[0].name_n, 0);
	bench_stop();
}

static void test_silence_ends_in_time(void **state)
{
	static struct dns_op op;

	(void)state;
	bench_start(1, 300);
	uint64_t begin = clock_mono_us();
	submit(&op, "silent.example.org", DNS_MX);
	wait_done(1);
	assert_int_equal(op.op.status, DNS_FAIL);
	assert_in_range((clock_mono_us() - begin) / US_PER_MS, 250, 3000);
	bench_stop();
}

static void test_stop_answers_what_is_under_way(void **state)
{
	static struct dns_op ops[3];

	(void)state;
	bench_start(4, 60000);
	for (size_t i = 0; i < ARRAY_LEN(ops); i++)
		submit(&ops[i], "silent.example.org", DNS_MX);
	usleep(50000);
	bench_stop();
	assert_int_equal(bench.done, ARRAY_LEN(ops));
	for (size_t i = 0; i < ARRAY_LEN(ops); i++)
		assert_int_equal(ops[i].op.status, DNS_FAIL);
}

static void test_many_over_a_small_ring(void **state)
{
	static struct dns_op ops[2];

	(void)state;
	bench_start(2, 10000);
	for (unsigned i = 0; i < 200; i += 2) {
		submit(&ops[0], "mail.example.org", DNS_MX);
		submit(&ops[1], "mx1.example.org", DNS_A);
		assert_int_equal(channel_submit(&bench.channel, &ops[1].op), -11);
		wait_done(i + 2);
		assert_int_equal(ops[0].op.status, DNS_OK);
		assert_int_equal(ops[1].op.status, DNS_OK);
	}
	bench_stop();
}

static void test_bad_configuration_names_the_culprit(void **state)
{
	const char *servers[] = {"not-an-address"};
	struct dns_conf bad = {.servers = servers, .server_count = 1};
	struct dns_conf anchor = {.trust_anchor = "/nonexistent/root.key"};
	struct dns_service *d;
	char error[256];

	(void)state;
	assert_true(dns_service_create(&bad, &d, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "not-an-address"));
	assert_null(d);
	assert_true(dns_service_create(&anchor, &d, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "/nonexistent/root.key"));
}

static int setup(void **state)
{
	(void)state;
	eal_start_for_tests(64);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_silence_ends_in_time),
		cmocka_unit_test(test_stop_answers_what_is_under_way),
		cmocka_unit_test(test_many_over_a_small_ring),
		cmocka_unit_test(test_bad_configuration_names_the_culprit),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
