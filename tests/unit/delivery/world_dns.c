/* SPDX-License-Identifier: BSD-3-Clause
 * The world's resolver. */
#include "tests/unit/delivery/unit.h"
#include "tests/unit/delivery/world.h"

static const struct {
	enum dns_type type;
	const char *name, *answer[3];
} zone[] = {
	{DNS_MX, "one.example.org",   {"10 mx1.example.org"}                      },
	{DNS_MX, "twin.example.org",  {"10 mx1.example.org"}                      },
	{DNS_MX, "two.example.org",   {"10 mx1.example.org", "20 mx2.example.org"}},
	{DNS_MX, "far.example.org",   {"10 mx2.example.org"}                      },
	{DNS_MX, "null.example.org",  {"0 "}                                      },
	{DNS_MX, "alias.example.org", {"10 www.example.org"}                      },
	{DNS_A,  "www.example.org",   {"198.18.0.1"}                              },
	{DNS_A,  "mx1.example.org",   {"198.18.0.1"}                              },
	{DNS_A,  "mx2.example.org",   {"198.18.0.2"}                              },
};

static void serve_alias(struct dns_op *q)
{
	if (!world->alias || strcmp(q->name, "www.example.org") != 0)
		return;
	q->secure = world->secure && !world->alias_insecure;
	q->op.status = world->alias_fails ? DNS_FAIL : DNS_OK;
	q->count = !world->alias_fails;
	q->records[0] = (struct dns_record){.name_n = (uint8_t)strlen(world->alias)};
	strcpy(q->records[0].name, world->alias);
}

/* "_25._tcp.mx1.example.org" */
static void serve_tlsa(struct dns_op *q)
{
	const char *name = q->name + strlen("_25._tcp.");
	unsigned n = 0;
	struct world_host *h =
		sscanf(name, "m%u", &n) == 1
			? world_host_of(n)
			: world_host(strcmp(name, "mx2.example.org") == 0 ? "198.18.0.2"
									  : "198.18.0.1");

	assert_memory_equal(q->name, "_25._tcp.", 9);
	h->tlsa_queries++;
	q->secure = !h->tlsa_insecure;
	if (h->tlsa_fails) {
		q->op.status = DNS_FAIL;
	} else if (h->tlsa_usage) {
		q->op.status = DNS_OK;
		q->count = 1;
		q->records[0] = (struct dns_record){
			.usage = h->tlsa_usage, .selector = 1, .matching = 1, .name_n = 32};
	}
}

static void add_mx(struct dns_op *q, unsigned n)
{
	struct dns_record *r = &q->records[q->count++];

	*r = (struct dns_record){.preference = (uint16_t)(10 * q->count)};
	r->name_n = (uint8_t)snprintf(r->name, sizeof(r->name), "m%u.example.org", n);
}

/* m<n>.example.org is a host; h<n> is served by m<n>, p<n> by m<n + 1> as well, and all g<n> by the
 * first seven of them. */
static void serve_numbered(struct dns_op *q)
{
	unsigned n = 0;
	int end = 0;
	char kind = q->name[0];

	if (sscanf(q->name + 1, "%u.example.org%n", &n, &end) != 1 || q->name[end + 1] ||
		!strchr("hpgm", kind) || q->type != (kind == 'm' ? DNS_A : DNS_MX))
		return;
	q->op.status = DNS_OK;
	q->ttl = world->numbered_ttl ? world->numbered_ttl : 300;
	if (kind == 'm') {
		q->count = 1;
		q->records[0] = (struct dns_record){0};
		assert_int_equal(ip_parse(bytes_str(world_host_of(n)->ip), &q->records[0].ip), 0);
		return;
	}
	add_mx(q, kind == 'g' ? n % 7 : n);
	if (kind == 'p')
		add_mx(q, n + 1);
}

static void dns_fail(struct op *op)
{
	struct dns_op *q = container_of(op, struct dns_op, op);

	op->status = DNS_FAIL;
	q->count = 0;
	q->ttl = 0;
	channel_complete(op);
}

static void dns_hold(struct op *op, uint64_t due_us, bool fails)
{
	uint32_t i = world->dns_held_n++;

	assert_true(i < WORLD_DNS_HELD);
	world->dns_held[i].op = op;
	world->dns_held[i].due_us = due_us;
	world->dns_held[i].fails = fails;
}

static void dns_answer(struct op *op)
{
	struct dns_op *q = container_of(op, struct dns_op, op);

	q->secure = world->secure;
	op->status = strstr(q->name, "nx.") == q->name ? DNS_NXDOMAIN : DNS_NODATA;
	q->count = 0;
	q->ttl = 300;
	if (q->type == DNS_TLSA)
		serve_tlsa(q);
	else if (q->type == DNS_CNAME)
		serve_alias(q);
	serve_numbered(q);
	for (size_t i = 0; i < ARRAY_LEN(zone); i++) {
		if (zone[i].type != q->type || strcmp(zone[i].name, q->name) != 0)
			continue;
		for (size_t k = 0; k < 3 && zone[i].answer[k]; k++) {
			struct dns_record *r = &q->records[q->count++];
			*r = (struct dns_record){0};
			op->status = DNS_OK;
			if (q->type == DNS_A) {
				assert_int_equal(ip_parse(bytes_str(zone[i].answer[k]), &r->ip), 0);
				continue;
			}
			const char *host = strchr(zone[i].answer[k], ' ') + 1;
			r->preference = (uint16_t)atoi(zone[i].answer[k]);
			strcpy(r->name, host);
			r->name_n = (uint8_t)strlen(host);
		}
	}
	channel_complete(op);
}

void world_dns_serve(struct op *op)
{
	const struct dns_op *q = container_of(op, struct dns_op, op);
	struct world_dns plan = {.delay_us = 0};

	if (world->dns_plan)
		plan = world->dns_plan(q->name);
	if (world->dns_hangs && strncmp(q->name, "dead", 4) == 0)
		plan.delay_us = UINT64_MAX / 2;
	if (plan.delay_us)
		dns_hold(op, world->core.now_us + plan.delay_us, plan.fails);
	else if (plan.fails)
		dns_fail(op);
	else
		dns_answer(op);
}

/* ---- later ---- */

unsigned world_dns_held(void)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < world->dns_held_n;) {
		struct op *op = world->dns_held[i].op;
		bool hung = world->dns_held[i].due_us >= UINT64_MAX / 2;
		if (hung ? world->dns_hangs : world->dns_held[i].due_us > world->core.now_us) {
			i++;
			continue;
		}
		bool fails = world->dns_held[i].fails;
		world->dns_held[i] = world->dns_held[--world->dns_held_n];
		if (fails)
			dns_fail(op);
		else
			dns_answer(op);
		n++;
	}
	return n;
}

unsigned world_dns_fail_held(void)
{
	unsigned n = world->dns_held_n;

	while (world->dns_held_n)
		dns_fail(world->dns_held[--world->dns_held_n].op);
	return n;
}
