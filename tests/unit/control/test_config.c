/* SPDX-License-Identifier: BSD-3-Clause
 * The configuration file: what is right, and what is said of what is wrong. */
#include <errno.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdarg.h>
#include <cmocka.h>
#include <unistd.h>
#include "dataplane/stack.h"
#include "store/control/config_priv.h"

#define PORT "ports:\n  - {name: p0, device: tap0, addresses: [198.18.0.1/24]}\n"
#define NODE "node: {hostname: mx.example.org}\n"

static int parse(const char *text, const struct config **c, char error[512])
{
	error[0] = '\0';
	return config_parse("f.yaml", text, strlen(text), c, error, 512);
}

static void test_minimal_file_gives_defaults(void **state)
{
	const struct config *c;
	char error[512];

	(void)state;
	assert_int_equal(parse(NODE PORT, &c, error), 0);
	assert_string_equal(c->root.node.hostname, "mx.example.org");
	assert_string_equal(c->root.node.user, "bypost");
	assert_int_equal(c->root.ports_n, 1);
	assert_int_equal(c->root.ports[0].mtu, 1500);
	assert_int_equal(c->root.ports[0].addresses.v[0].prefix, 96 + 24);
	assert_int_equal(c->root.listen.smtp, 25);
	assert_int_equal(c->root.relay.from.n, 0); /* never an open relay by default */
	assert_int_equal(c->root.delivery.retry.n, 7);
	assert_int_equal(c->root.delivery.retry.v[0], 300 * US_PER_SEC);
	assert_int_equal(c->root.limits.message_size, 50 << 20);
	assert_string_equal(c->root.relay.smarthost, "");
	assert_false(c->root.listen.plaintext_login);
	config_destroy(&c);
	assert_null(c);
}

static void test_all_kinds_of_values(void **state)
{
	static const char text[] = NODE "ports:\n"
					"  - name: a\n"
					"    kind: af_packet\n"
					"    device: veth1\n"
					"    mac: 02:00:00:00:00:0a\n"
					"    addresses: [198.18.0.1/24, '2001:2::1/64']\n"
					"    gateway: 198.18.0.254\n"
					"    trust_rx_checksum: yes\n"
					"cores:\n"
					"  idle: spin\n"
					"  ring_size: 2\n"
					"  layout:\n"
					"    - {roles: [dataplane, control], cpus: '0'}\n"
					"    - {roles: [delivery]}\n"
					"relay:\n"
					"  from: [198.18.0.0/24, 127.0.0.1]\n"
					"  smarthost: Relay.Example.NET:587\n"
					"domains:\n"
					"  local: [Example.ORG]\n"
					"dns: {servers: [198.18.0.53@5353], timeout: 500ms}\n"
					"store: {path: /tmp/s, reserve: 16M, map_size: 10G}\n"
					"delivery: {retry: [2s, 1m], lifetime: 1h}\n"
					"tcp: {ecn: active, keepalive: 10m, user_timeout: 90s}\n"
					"log:\n"
					"  level: debug\n"
					"  file:\n"
					"admin:\n";
	const struct config *c;
	char error[512];

	(void)state;
	assert_int_equal(parse(text, &c, error), 0);
	assert_int_equal(c->root.ports[0].kind, 1);
	assert_int_equal(c->root.ports[0].mac.octets[5], 10);
	assert_int_equal(c->root.ports[0].addresses.n, 2);
	assert_true(c->root.ports[0].gateway.given);
	assert_true(c->root.ports[0].trust_rx_checksum);
	assert_int_equal(c->root.cores.idle, 1);
	assert_int_equal(c->root.cores.layout_n, 2);
	assert_int_equal(c->root.cores.layout[0].roles, 5);
	assert_string_equal(c->root.cores.layout[0].cpus, "0");
	assert_int_equal(c->root.relay.from.n, 2);
	assert_int_equal(c->root.relay.from.v[1].prefix, 128);
	assert_string_equal(c->root.relay.smarthost, "relay.example.net:587");
	assert_string_equal(c->root.domains.local.v[0], "example.org");
	assert_string_equal(c->root.dns.servers.v[0], "198.18.0.53@5353");
	assert_int_equal(c->root.dns.timeout, 500 * US_PER_MS);
	assert_int_equal(c->root.store.map_size, 10ull << 30);
	assert_int_equal(c->root.delivery.retry.n, 2);
	assert_int_equal(c->root.tcp.ecn, STACK_ECN_ACTIVE);
	assert_int_equal(c->root.tcp.congestion, STACK_CUBIC);
	assert_int_equal(c->root.tcp.keepalive, 600 * US_PER_SEC);
	assert_int_equal(c->root.tcp.keepalive_interval, 75 * US_PER_SEC);
	assert_int_equal(c->root.tcp.user_timeout, 90 * US_PER_SEC);
	assert_int_equal(c->root.log.level, 3);
	config_destroy(&c);
}

static void test_names_beyond_ascii_become_a_labels(void **state)
{
	static const char text[] = NODE PORT
		"relay:\n"
		"  domains: [B\u00dcCHER.example.org, xn--bcher-kva.example.net]\n"
		"  smarthost: b\u00fccher.example.org:587\n"
		"  routes: [{domain: .b\u00fccher.example, host: 198.18.0.1}, {domain: '*', host: "
		"198.18.0.2}]\n"
		"domains: {local: [\u4f8b\u3048.Example.ORG, plain_name.example.org]}\n";
	const struct config *c;
	char error[512];

	(void)state;
	assert_int_equal(parse(text, &c, error), 0);
	assert_string_equal(c->root.relay.domains.v[0], "xn--bcher-kva.example.org");
	assert_string_equal(c->root.relay.domains.v[1], "xn--bcher-kva.example.net");
	assert_string_equal(c->root.relay.smarthost, "xn--bcher-kva.example.org:587");
	assert_string_equal(c->root.relay.routes[0].domain, ".xn--bcher-kva.example");
	assert_string_equal(c->root.relay.routes[1].domain, "*");
	assert_string_equal(c->root.domains.local.v[0], "xn--r8jz45g.example.org");
	assert_string_equal(c->root.domains.local.v[1], "plain_name.example.org");
	config_destroy(&c);
}

/* A text, and exactly what must be said. */
static const struct {
	const char *text, *error;
} bad[] = {
	{"",											 "f.yaml: key node.hostname: is required"                                  },
	{PORT,										       "f.yaml: key node.hostname: is required"                                  },
	{NODE,										       "f.yaml: key ports: needs at least one port"                              },
	{NODE PORT "nodes: 3\n",								     "f.yaml:4: key nodes: unknown key"                                        },
	{NODE PORT "relay:\n  from: []\n  form: []\n",                                               "f.yaml:6: key relay.form: unknown key"                                   },
	{NODE "ports:\n  - name: a\n    devise: x\n",                                                "f.yaml:4: key ports[0].devise: unknown key"                              },
	{NODE PORT "\"a\\nb\": 1\n",								 "f.yaml:4: key a\\x0ab: unknown key"                                      },
	{NODE PORT "node: {}\n",								     "f.yaml:4: key node: given twice"                                         },
	{NODE PORT "log:\n  level: info\n  level: warn\n",                                           "f.yaml:6: key log.level: given twice"                                    },
	{NODE PORT "log:\n  level: loud\n",
         "f.yaml:5: key log.level: \"loud\" is not one of error|warn|info|debug"											       },
	{NODE PORT "listen:\n  smtp: 65536\n",
         "f.yaml:5: key listen.smtp: \"65536\" is out of range (0 to 65535)"												   },
	{NODE PORT "listen:\n  smtp: -1\n",							  "f.yaml:5: key listen.smtp: \"-1\" is not a number"                       },
	{NODE PORT "listen: {pop3: 25}\n",
         "f.yaml:4: key listen.pop3: is the port of another service"													   },
	{NODE PORT "listen:\n  plaintext_login: maybe\n",
         "f.yaml:5: key listen.plaintext_login: \"maybe\" is not true or false"												},
	{NODE PORT "cores:\n  ring_size: 1\n",
         "f.yaml:5: key cores.ring_size: \"1\" is out of range (2 to 65536)"												   },
	{NODE PORT "cores:\n  layout:\n    - roles: [dataplane, router]\n",
         "f.yaml:6: key cores.layout[0].roles: \"router\" is not one of "
		"dataplane|delivery|control"																   },
	{NODE PORT "cores:\n  layout:\n    - roles: [dataplane]\n",
         "f.yaml:5: key cores.layout: no core has the role delivery"													   },
	{NODE PORT "cores:\n  layout:\n    - roles: [delivery]\n      cpus: 0 1\n",
         "f.yaml:7: key cores.layout[0].cpus: \"0\\x201\" is not a list of CPUs such as 0 "
		"or 0-1"																		       },
	{NODE PORT "store:\n  path: data\n",
         "f.yaml:5: key store.path: \"data\" is not an absolute path"													  },
	{NODE PORT "store:\n  reserve: 1X\n",
         "f.yaml:5: key store.reserve: \"1X\" is not a size such as 64M or 10G"												},
	{NODE PORT "limits:\n  message_size: 1k\n",
         "f.yaml:5: key limits.message_size: \"1k\" is out of range (64k to 4G)"											       },
	{NODE PORT "limits:\n  command_timeout: 30\n",
         "f.yaml:5: key limits.command_timeout: \"30\" is not a duration such as 30s, 5m or "
		"4h"																			   },
	{NODE PORT "limits:\n  command_timeout: 2h\n",
         "f.yaml:5: key limits.command_timeout: \"2h\" is out of range (1s to 1h)"											     },
	{NODE PORT "delivery:\n  retry:\n    - 5m\n    - often\n",
         "f.yaml:5: key delivery.retry: \"often\" is not a duration such as 30s, 5m or 4h"                                                                                     },
	{NODE PORT "relay:\n  from:\n    - 198.18.0.1/24\n",
         "f.yaml:5: key relay.from: \"198.18.0.1/24\" is not a network such as "
		"198.18.0.0/24"																		},
	{NODE PORT "relay:\n  from: 198.18.0.0/24\n",                                                "f.yaml:5: key relay.from: must be a list"                                },
	{NODE PORT "relay:\n  smarthost: [a]\n",
         "f.yaml:5: key relay.smarthost: must be a single value"													       },
	{NODE PORT "relay:\n  smarthost: a:0\n",
         "f.yaml:5: key relay.smarthost: \"a:0\" is not a host or host:port"												   },
	{NODE PORT "relay: 3\n",								     "f.yaml:4: key relay: must be a mapping of keys to values"                },
	{NODE PORT "domains:\n  local: [a..b]\n",
         "f.yaml:5: key domains.local: \"a..b\" is not a host or domain name"												  },
	{NODE PORT "domains:\n  local: [b\u2026.example]\n",
         "f.yaml:5: key domains.local: \"b\\xe2\\x80\\xa6.example\" is not a host or domain "
		"name"																			 },
	{NODE PORT "dns:\n  servers: [dns.example.org]\n",
         "f.yaml:5: key dns.servers: \"dns.example.org\" is not a resolver such as "
		"198.18.0.53 or "
		"198.18.0.53@5353"																	     },
	{NODE "ports:\n  - {name: a, device: x, addresses: [198.18.0.300/24]}\n",
         "f.yaml:3: key ports[0].addresses: \"198.18.0.300/24\" is not an address with "
		"prefix length "
		"such as 198.18.0.1/24"																	},
	{NODE "ports:\n  - {name: a, device: x, addresses: [198.18.0.1/33]}\n",
         "f.yaml:3: key ports[0].addresses: \"198.18.0.1/33\" has a bad prefix length"                                                                                         },
	{NODE "ports:\n  - {name: a, device: x, kind: tun}\n",
         "f.yaml:3: key ports[0].kind: \"tun\" is not one of "
		"tap|af_packet|af_xdp|memif|pci"															       },
	{NODE "ports:\n  - {name: a, addresses: [198.18.0.1/24]}\n",
         "f.yaml:3: key ports[0].device: is required"															  },
	{NODE "ports:\n  - {name: a, device: interface-too-long, addresses: [198.18.0.1/24]}\n",
         "f.yaml:3: key ports[0].device: is longer than an interface name can be (15)"                                                                                         },
	{NODE "ports:\n  - {name: a, device: x, mac: 01:00:00:00:00:01, addresses: "
	      "[198.18.0.1/24]}\n",							 "f.yaml:3: key ports[0].mac: \"01:00:00:00:00:01\" is a multicast address"},
	{NODE "ports:\n  - {name: a, device: x}\n",
         "f.yaml:3: key ports[0].addresses: needs at least one address"													},
	{NODE "ports:\n  - {name: a, device: x, addresses: [198.18.0.1/24], gateway: 198.18.1.1}\n",
         "f.yaml:3: key ports[0].gateway: is not in a network of the port's addresses"                                                                                         },
	{NODE "ports:\n  - {name: a, device: x, addresses: [198.18.0.1/24]}\n"
	      "  - {name: a, device: y, addresses: [198.18.1.1/24]}\n",		     "f.yaml:4: key ports[1].name: is the name of another port"                },
	{"node: {hostname: -bad-}\n" PORT,
         "f.yaml:1: key node.hostname: \"-bad-\" is not a host or domain name"												 },
	{"- a\n",										    "f.yaml:1: key (file): must be a mapping of keys to values"               },
	{"node:\n  hostname: a\n bad\n",							     "f.yaml:3: not valid YAML: did not find expected key"                     },
};

static void test_bad_files_name_line_key_and_problem(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		const struct config *c;
		char error[512];
		assert_int_equal(parse(bad[i].text, &c, error), -EINVAL);
		assert_string_equal(error, bad[i].error);
		assert_null(c);
	}
}

#define ROUTE "relay:\n  routes:\n    - "

static void test_routes(void **state)
{
	static const char text[] =
		NODE PORT "tls: {ca_file: /ca}\ndelivery: {tls: encrypt}\n" ROUTE
			  "{domain: .Example.NET, host: 'MX.example.net:465', transport: smtps,\n"
			  "       tls: verify, user: u, password_file: /p}\n"
			  "    - {domain: '*', tls: none, names: [.Example.com, a.example.org]}\n";
	static const struct {
		const char *text, *error;
	} wrong[] = {
		{NODE PORT ROUTE "{host: a}\n",
                 "f.yaml:6: key relay.routes[0].domain: is required"										   },
		{NODE PORT ROUTE "{domain: a b}\n",                                              "f.yaml:6: key relay.routes[0].domain: "
						    "\"a\\x20b\" is not a domain, .domain or *"     },
		{NODE PORT ROUTE "{domain: '*'}\n    - {domain: '*'}\n",
                 "f.yaml:7: key relay.routes[1].domain: has an entry already"                                                                          },
		{NODE PORT ROUTE "{domain: a, transport: lmtp}\n",
                 "f.yaml:6: key relay.routes[0].host: is required with this transport"                                                                 },
		{NODE PORT ROUTE "{domain: a, tls: dane}\n",
                 "f.yaml:6: key relay.routes[0].tls: dane needs dns.trust_anchor"                                                                      },
		{NODE PORT ROUTE "{domain: a, tls: verify}\n",
                 "f.yaml:6: key relay.routes[0].tls: verify needs tls.ca_file"                                                                         },
		{NODE PORT "tls: {ca_file: /ca}\n" ROUTE
			   "{domain: a, host: '198.18.0.1:26', tls: verify}\n", "f.yaml:7: key relay.routes[0].host: needs the name of a host, not an "
			"address, with dane and verify"},
		{NODE PORT "delivery: {tls: dane}\n",
                 "f.yaml:4: key delivery.tls: dane needs dns.trust_anchor"                                                                             },
		{NODE PORT ROUTE "{domain: a, user: u}\n",
                 "f.yaml:6: key relay.routes[0].user: needs a host"										    },
		{NODE PORT ROUTE "{domain: a, host: b, user: u}\n",
                 "f.yaml:6: key relay.routes[0].password_file: is required with user"                                                                  },
		{NODE PORT ROUTE "{domain: a, host: b, user: u, password_file: /p}\n",
                 "f.yaml:6: key relay.routes[0].tls: must be encrypt, dane or verify with "
			"user"															 },
		{NODE PORT "tls: {client_chain: /c}\n",
                 "f.yaml:4: key tls.client_key: is required with tls.client_chain"                                                                     },
	};
	const struct config *c;
	char error[512];

	(void)state;
	assert_int_equal(parse(text, &c, error), 0);
	const struct config_route *r = c->root.relay.routes;
	assert_int_equal(c->root.relay.routes_n, 2);
	assert_string_equal(r[0].domain, ".example.net");
	assert_string_equal(r[0].host, "mx.example.net:465");
	assert_int_equal(r[0].transport, 1);
	assert_int_equal(r[0].tls, 5);
	assert_string_equal(r[1].domain, "*");
	assert_int_equal(r[1].names.n, 2);
	assert_string_equal(r[1].names.v[0], ".example.com");
	assert_int_equal(c->root.delivery.tls, 2);
	config_destroy(&c);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		assert_int_equal(parse(wrong[i].text, &c, error), -EINVAL);
		assert_string_equal(error, wrong[i].error);
	}
}

static void test_too_many_ports(void **state)
{
	const struct config *c;
	char text[2048] = NODE "ports:\n", error[512];

	(void)state;
	for (int i = 0; i < 9; i++)
		sprintf(text + strlen(text), "  - {name: p%d}\n", i);
	assert_int_equal(parse(text, &c, error), -EINVAL);
	assert_string_equal(error, "f.yaml:11: key ports: too many entries");
}

static void test_sample_is_valid(void **state)
{
	const struct config *c;
	char *text = NULL, error[512];
	size_t n;
	FILE *out = open_memstream(&text, &n);

	(void)state;
	config_print_sample(out);
	fclose(out);
	assert_int_equal(config_parse("sample", text, n, &c, error, sizeof(error)), 0);
	config_destroy(&c);
	/* Each commented key says the default: taken in, the file means the same. */
	for (char *p = text; (p = strstr(p, "\n  #")); p++) {
		if (p[4] >= 'a' && p[4] <= 'z' && !strstr(p, "layout:"))
			p[3] = ' ';
	}
	for (char *p = text; *p; p++) { /* "   key" back to the section's indent */
		if (strncmp(p, "\n   ", 4) == 0 && p[4] >= 'a' && p[4] <= 'z')
			memmove(p + 3, p + 4, strlen(p + 4) + 1);
	}
	assert_int_equal(config_parse("sample", text, strlen(text), &c, error, sizeof(error)), 0);
	config_destroy(&c);
	free(text);
}

static void test_missing_file_names_the_path(void **state)
{
	const struct config *c;
	char error[512];

	(void)state;
	assert_int_equal(config_load("/nonexistent/x.yaml", &c, error, sizeof(error)), -ENOENT);
	assert_string_equal(error, "/nonexistent/x.yaml: No such file or directory");
	assert_int_equal(config_load("/", &c, error, sizeof(error)), -EISDIR);
}

static void test_units_round_trip(void **state)
{
	char text[32];
	uint64_t v;

	(void)state;
	assert_int_equal(config_size_parse(BYTES_LIT("10G"), &v), 0);
	assert_string_equal(config_size_format(v, text), "10G");
	assert_int_equal(config_duration_parse(BYTES_LIT("90m"), &v), 0);
	assert_string_equal(config_duration_format(v, text), "90m");
	assert_int_equal(config_size_parse(BYTES_LIT("99999999999999T"), &v), -EINVAL);
	assert_int_equal(config_size_parse(BYTES_LIT(""), &v), -EINVAL);
	assert_int_equal(config_duration_parse(BYTES_LIT("5"), &v), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_minimal_file_gives_defaults),
		cmocka_unit_test(test_all_kinds_of_values),
		cmocka_unit_test(test_names_beyond_ascii_become_a_labels),
		cmocka_unit_test(test_bad_files_name_line_key_and_problem),
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_too_many_ports),
		cmocka_unit_test(test_sample_is_valid),
		cmocka_unit_test(test_missing_file_names_the_path),
		cmocka_unit_test(test_units_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
