/* SPDX-License-Identifier: BSD-3-Clause
 * Next hops: a table of zones and what must come out of them. */
#include "tests/unit/delivery/unit.h"
#include "delivery/route.h"

/* "type name answer...": MX as preference:host, "." the root, FAIL and NX as they are; a name that
 * is not there has no data. */
struct zone_line {
	enum dns_type type;
	const char *name;
	const char *answer;
};

static const struct zone_line zone[] = {
	{DNS_MX,   "two.example.org",       "10:mx1.example.org 20:mx2.example.org"                   },
	{DNS_MX,   "twin.example.org",      "20:mx2.example.org 10:mx1.example.org"                   },
	{DNS_MX,   "other.example.org",     "10:mx1.example.org 30:mx2.example.org"                   },
	{DNS_A,    "mx1.example.org",       "198.18.0.1 198.18.0.2"                                   },
	{DNS_A,    "mx2.example.org",       "198.18.0.3"                                              },
	{DNS_A,    "bare.example.org",      "198.18.0.4"                                              },
	{DNS_MX,   "null.example.org",      "0:."						     },
	{DNS_MX,   "nx.example.org",        "NX"						      },
	{DNS_MX,   "fail.example.org",      "FAIL"						    },
	{DNS_MX,   "afail.example.org",     "10:broken.example.org"                                   },
	{DNS_A,    "broken.example.org",    "FAIL"						    },
	{DNS_MX,   "half.example.org",      "10:broken.example.org 20:mx2.example.org"                },
	{DNS_MX,   "gone.example.org",      "10:nohost.example.org"                                   },
	{DNS_A,    "nohost.example.org",    "NX"						      },
	{DNS_MX,   "loop.example.org",      "10:us.example.org"                                       },
	{DNS_A,    "us.example.org",        "198.18.9.9"					      },
	{DNS_MX,   "backup.example.org",    "10:mx1.example.org 20:us.example.org 20:mx2.example.org" },
	{DNS_MX,   "equal.example.org",     "10:mx1.example.org 10:us.example.org"                    },
	{DNS_MX,   "named.example.org",     "10:mx1.example.org 20:relay.example.org"                 },
	{DNS_MX,   "lo.example.org",        "10:localhost.example.org"                                },
	{DNS_A,    "localhost.example.org", "127.0.0.1"                                               },
	{DNS_A,    "zero.example.org",      "0.0.0.0"						 },
	{DNS_A,    "mcast.example.org",     "224.0.0.1"                                               },
	{DNS_MX,   "six.example.org",       "10:both.example.org 20:v6.example.org 30:mx1.example.org"},
	{DNS_AAAA, "both.example.org",      "2001:2::1"                                               },
	{DNS_A,    "both.example.org",      "198.18.0.5"                                              },
	{DNS_AAAA, "v6.example.org",        "2001:2::2 2001:2::3"                                     },
	{DNS_AAAA, "self6.example.org",     "2001:2::9"                                               },
	{DNS_A,    "smart.example.net",     "198.18.7.7"                                              },
};

static void answer_item(struct dns_answer *a, enum dns_type type, const char *item)
{
	struct dns_record *r = &a->records[a->count++];

	if (type == DNS_A || type == DNS_AAAA) {
		assert_int_equal(ip_parse(bytes_str(item), &r->ip), 0);
		return;
	}
	r->preference = (uint16_t)atoi(item);
	const char *host = strchr(item, ':') + 1;
	if (strcmp(host, ".") == 0)
		return;
	strcpy(r->name, host);
	r->name_n = (uint8_t)strlen(host);
}

static void answer_of(enum dns_type type, const char *name, struct dns_answer *a)
{
	char text[256], *save = NULL;

	*a = (struct dns_answer){.status = DNS_NODATA, .ttl = 300};
	for (size_t i = 0; i < ARRAY_LEN(zone); i++) {
		if (zone[i].type != type || strcmp(zone[i].name, name) != 0)
			continue;
		a->status = strcmp(zone[i].answer, "NX") == 0     ? DNS_NXDOMAIN
			    : strcmp(zone[i].answer, "FAIL") == 0 ? DNS_FAIL
								  : DNS_OK;
		if (a->status != DNS_OK)
			return;
		strcpy(text, zone[i].answer);
		for (char *t = strtok_r(text, " ", &save); t; t = strtok_r(NULL, " ", &save))
			answer_item(a, type, t);
	}
}

static struct ip_addr own[2];
static struct route_conf conf = {
	.hostname = "Relay.example.org", .port = 25, .own = own, .own_count = 1};

static void resolve(struct route_query *q, const char *domain)
{
	enum dns_type type;
	struct dns_answer a;
	unsigned lookups = 0;

	if (conf.own_count)
		assert_int_equal(ip_parse(BYTES_LIT("198.18.9.9"), &own[0]), 0);
	route_query_init(q, &conf, bytes_str(domain));
	while (q->verdict == ROUTE_PENDING) {
		const char *name = route_query_wants(q, &type);
		answer_of(type, name, &a);
		route_query_feed(q, &a);
		assert_true(++lookups <= 2 * DNS_RECORDS_MAX + 1);
	}
}

static void addresses_text(const struct route *r, char *out)
{
	char text[IP_TEXT_MAX];

	out[0] = '\0';
	for (uint8_t i = 0; i < r->address_count; i++)
		sprintf(out + strlen(out), "%s%s", i ? " " : "",
			ip_format(&r->addresses[i].ip, text));
}

static void expect_addresses(const char *domain, const char *expect)
{
	struct route_query q;
	char text[ROUTE_ADDRESSES_MAX * (IP_TEXT_MAX + 1)];

	resolve(&q, domain);
	assert_int_equal(q.verdict, ROUTE_OK);
	addresses_text(&q.route, text);
	assert_string_equal(text, expect);
}

/* Our own addresses decide which families are looked up, and in each host they take turns. */
static void test_both_families(void **state)
{
	struct route_query q;

	(void)state;
	conf.own_count = 2;
	assert_int_equal(ip_parse(BYTES_LIT("2001:2::9"), &own[1]), 0);
	expect_addresses("six.example.org",
		"2001:2::1 198.18.0.5 2001:2::2 2001:2::3 198.18.0.1 198.18.0.2");
	expect_addresses("[IPv6:2001:2::77]", "2001:2::77");
	resolve(&q, "[IPv6:fe80::1]");
	assert_int_equal(q.verdict, ROUTE_FAIL);
	resolve(&q, "self6.example.org");
	assert_int_equal(q.verdict, ROUTE_FAIL);
	assert_int_equal(ip_parse(BYTES_LIT("fe80::9"), &own[1]), 0);
	expect_addresses("six.example.org", "198.18.0.5 198.18.0.1 198.18.0.2");
	conf.own_count = 1;
	resolve(&q, "[IPv6:2001:2::77]");
	assert_int_equal(q.verdict, ROUTE_FAIL);
	own[0] = own[1];
	assert_int_equal(ip_parse(BYTES_LIT("2001:2::9"), &own[0]), 0);
	struct ip_addr six = own[0];
	conf.own = &six; /* resolve() sets own[0] */
	expect_addresses("six.example.org", "2001:2::1 2001:2::2 2001:2::3");
	conf.own = own;
}

static void test_decisions(void **state)
{
	static const struct {
		const char *domain;
		enum route_verdict verdict;
		const char *expect; /* addresses, or the status */
	} table[] = {
		{"two.example.org",    ROUTE_OK,    "198.18.0.1 198.18.0.2 198.18.0.3"},
		{"bare.example.org",   ROUTE_OK,    "198.18.0.4"                      },
		{"half.example.org",   ROUTE_OK,    "198.18.0.3"                      },
		{"[198.18.5.5]",       ROUTE_OK,    "198.18.5.5"                      },
		{"backup.example.org", ROUTE_OK,    "198.18.0.1 198.18.0.2"           },
		{"named.example.org",  ROUTE_OK,    "198.18.0.1 198.18.0.2"           },
		{"null.example.org",   ROUTE_FAIL,  "5.1.10"                          },
		{"nx.example.org",     ROUTE_FAIL,  "5.1.2"                           },
		{"nodata.example.org", ROUTE_FAIL,  "5.1.2"                           },
		{"gone.example.org",   ROUTE_FAIL,  "5.4.4"                           },
		{"fail.example.org",   ROUTE_DEFER, "4.4.3"                           },
		{"afail.example.org",  ROUTE_DEFER, "4.4.3"                           },
		{"loop.example.org",   ROUTE_FAIL,  "5.4.6"                           },
		{"equal.example.org",  ROUTE_FAIL,  "5.4.6"                           },
		{"lo.example.org",     ROUTE_FAIL,  "5.4.6"                           },
		{"zero.example.org",   ROUTE_FAIL,  "5.4.6"                           },
		{"mcast.example.org",  ROUTE_FAIL,  "5.4.6"                           },
		{"[127.0.0.1]",        ROUTE_FAIL,  "5.4.6"                           },
		{"[198.18.9.9]",       ROUTE_FAIL,  "5.4.6"                           },
		{"[999.1.1.1]",        ROUTE_FAIL,  "5.1.2"                           },
		{"bad domain",         ROUTE_FAIL,  "5.1.2"                           },
		{"",                   ROUTE_FAIL,  "5.1.2"                           },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct route_query q;
		char text[ROUTE_ADDRESSES_MAX * IP_TEXT_MAX];

		resolve(&q, table[i].domain);
		if (q.verdict != table[i].verdict)
			print_error("domain %s\n", table[i].domain);
		assert_int_equal(q.verdict, table[i].verdict);
		if (q.verdict == ROUTE_OK)
			addresses_text(&q.route, text);
		else
			sprintf(text, "%u.%u.%u", q.refusal.enhanced[0], q.refusal.enhanced[1],
				q.refusal.enhanced[2]);
		assert_string_equal(text, table[i].expect);
		assert_int_equal(q.verdict == ROUTE_OK, q.refusal.reason[0] == '\0');
	}
}

static void test_equal_sets_are_one_site(void **state)
{
	struct route_query a, b, c;

	(void)state;
	resolve(&a, "two.example.org");
	resolve(&b, "twin.example.org");
	resolve(&c, "other.example.org");
	assert_true(route_key_eq(&a.route.key, &b.route.key));
	assert_false(route_key_eq(&a.route.key, &c.route.key));
	assert_int_equal(a.route.ttl, 300);
}

static void test_smarthost(void **state)
{
	static const struct {
		const char *smarthost;
		enum route_verdict verdict;
		const char *address;
		uint16_t port;
	} table[] = {
		{"smart.example.net",      ROUTE_OK,    "198.18.7.7", 25  },
		{"Smart.example.net:2525", ROUTE_OK,    "198.18.7.7", 2525},
		{"198.18.3.3:26",          ROUTE_OK,    "198.18.3.3", 26  },
		{"[198.18.3.3]",           ROUTE_OK,    "198.18.3.3", 25  },
		{"[198.18.3.3]:587",       ROUTE_OK,    "198.18.3.3", 587 },
		{"nowhere.example.net",    ROUTE_DEFER, NULL,         0   },
		{"198.18.9.9",             ROUTE_DEFER, NULL,         0   },
		{"smart.example.net:0",    ROUTE_DEFER, NULL,         0   },
		{"smart.example.net:x",    ROUTE_DEFER, NULL,         0   },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct route_query q;
		char text[IP_TEXT_MAX];

		conf.rest.host = table[i].smarthost;
		resolve(&q, "two.example.org");
		assert_int_equal(q.verdict, table[i].verdict);
		if (q.verdict != ROUTE_OK)
			continue;
		assert_string_equal(ip_format(&q.route.addresses[0].ip, text), table[i].address);
		assert_int_equal(q.route.port, table[i].port);
	}
	conf.rest.host = NULL;
}

/* Rows of the routing table: the domain's own, the longest suffix, the rest. */
static void test_routing_table(void **state)
{
	static const char *const names[] = {"mx2.example.org", ".example.net"};
	static const struct hop hops[] = {
		{.domain = "*",            .host = "198.18.7.1",   .level = TLS_LEVEL_ENCRYPT},
		{.domain = ".example.org", .host = "198.18.7.2"  },
		{.domain = ".sub.example.org",    .host = "198.18.7.3", .transport = HOP_SMTPS                          },
		{.domain = "two.example.org",          .names = names,        .name_count = 2},
		{.domain = "other.example.org",      .names = names + 1,        .name_count = 1                          },
		{.domain = "lmtp.example.org",    .host = "198.18.7.4",  .transport = HOP_LMTP},
		{.domain = "port.example.org", .host = "198.18.7.4:99",  .transport = HOP_LMTP                          },
	};
	static const struct {
		const char *domain, *address;
		uint16_t port;
	} table[] = {
		{"example.org",       "198.18.7.1", 25 },
		{"else.example.net",  "198.18.7.1", 25 },
		{"a.example.org",     "198.18.7.2", 25 },
		{"sub.example.org",   "198.18.7.2", 25 },
		{"x.sub.example.org", "198.18.7.3", 465},
		{"two.example.org",   "198.18.0.3", 25 },
		{"other.example.org", NULL,         0  },
		{"lmtp.example.org",  "198.18.7.4", 24 },
		{"port.example.org",  "198.18.7.4", 99 },
	};
	struct route_query q, twin;
	char text[IP_TEXT_MAX];

	(void)state;
	conf.hops = hops;
	conf.hop_count = ARRAY_LEN(hops);
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		resolve(&q, table[i].domain);
		if (!table[i].address) {
			assert_int_equal(q.verdict, ROUTE_DEFER);
			assert_int_equal(q.refusal.enhanced[1], 7);
			continue;
		}
		assert_int_equal(q.verdict, ROUTE_OK);
		assert_string_equal(ip_format(&q.route.addresses[0].ip, text), table[i].address);
		assert_int_equal(q.route.port, table[i].port);
	}
	/* The same hosts by another row are another site. */
	resolve(&q, "two.example.org");
	conf.hop_count = 0;
	resolve(&twin, "two.example.org");
	assert_false(route_key_eq(&q.route.key, &twin.route.key));
	conf.hops = NULL;
}

/* RFC 7672 2.2: a host is secure when its MX record and all its addresses are. */
static void test_secure_hosts(void **state)
{
	static const struct {
		bool mx, a, host;
	} table[] = {
		{true,  true,  true },
                {true,  false, false},
                {false, true,  false}
        };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct route_query q;
		struct dns_answer a;
		enum dns_type type;

		route_query_init(&q, &conf, BYTES_LIT("two.example.org"));
		while (q.verdict == ROUTE_PENDING) {
			const char *name = route_query_wants(&q, &type);
			answer_of(type, name, &a);
			a.secure = type == DNS_MX ? table[i].mx : table[i].a;
			route_query_feed(&q, &a);
		}
		for (uint8_t h = 0; h < q.route.host_count; h++)
			assert_int_equal(q.route.hosts[h].secure, table[i].host);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decisions),
		cmocka_unit_test(test_both_families),
		cmocka_unit_test(test_equal_sets_are_one_site),
		cmocka_unit_test(test_smarthost),
		cmocka_unit_test(test_routing_table),
		cmocka_unit_test(test_secure_hosts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
