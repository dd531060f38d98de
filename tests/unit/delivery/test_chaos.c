/* SPDX-License-Identifier: BSD-3-Clause
 * A worker in a random world: next hops that refuse, hang, are slow or drop the connection at each
 * step, a resolver that fails and hangs, tiny limits, operators, restarts.  Then all is well again:
 * every recipient must end as delivered or reported, once, in bounded time, and nothing be left.
 *
 * test_delivery_chaos [--seed N [--seeds N]]: N times from that seed on.  A seed replays exactly.
 */
#include "tests/unit/delivery/unit.h"
#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include "dataplane/base/log.h"
#include "dataplane/base/rt/eal.h"
#include "delivery/inspect.h"
#include "store/control/why.h"
#include "tests/unit/delivery/world.h"

#define DOMAINS      280
#define PHASES       40 /* of trouble */
#define PHASE_LAPS   60 /* short ones of a phase, and as many of 100 ms */
#define HEAL_MINUTES 45 /* more than the last retry (5 min), and all that goes one by one */
#define SEEDS        12 /* of a run of the tests */

static uint64_t seed, state;
static unsigned domains; /* used by this seed */
static unsigned trouble; /* per cent of hosts */

static uint64_t random_u64(void)
{
	uint64_t z = (state += 0x9e3779b97f4a7c15ull);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static unsigned below(unsigned n)
{
	return (unsigned)(random_u64() % n);
}

/* The keys of hashes come from the seed as well. */
ssize_t getrandom(void *out, size_t n, unsigned flags)
{
	(void)flags;
	for (size_t i = 0; i < n; i++)
		((uint8_t *)out)[i] = (uint8_t)random_u64();
	return (ssize_t)n;
}

static bool chance(unsigned percent)
{
	return below(100) < percent;
}

static unsigned one_of(const unsigned *v, size_t n)
{
	return v[below((unsigned)n)];
}
#define ONE_OF(...)                                                                                \
	one_of((const unsigned[]){__VA_ARGS__},                                                    \
		sizeof((const unsigned[]){__VA_ARGS__}) / sizeof(unsigned))

/* ---- memory ---- */

static char large[150 * 79]; /* lines of a message */
static struct chain hoard;

static void large_make(void)
{
	for (size_t i = 0; i < sizeof(large); i++)
		large[i] = i % 79 == 77 ? '\r' : i % 79 == 78 ? '\n' : (char)('!' + i % 61);
	memcpy(large, "Subject: big\r\n\r\n", 16);
}

/* Others take chunks until about n are left, or give some back. */
static void chunks_leave(uint32_t n)
{
	struct chunk *c;

	while (chunk_pool_free_count() > n && (c = chunk_get()))
		chain_push(&hoard, c);
	while (hoard.head && chunk_pool_free_count() < n)
		chunk_put(chain_pop(&hoard));
}

/* ---- trouble ---- */

static void host_well(struct world_host *h)
{
	h->refuse = h->silent = h->drop_second = h->babbles = false;
	h->hangs_at = h->drops_at = h->says_at = AT_NONE;
	h->limits = NULL;
	h->delay_ms = 0;
	h->tls_fails = h->tlsa_fails = h->tls_other_name = false;
}

/* What a host is for the whole run: its TLS. */
static void host_make(struct world_host *h)
{
	h->starttls = chance(60);
	h->dsn = chance(30);
	h->tlsa_usage = chance(30) ? 3 : 0;
	h->starttls |= h->tlsa_usage != 0;
}

static void host_trouble(struct world_host *h)
{
	static const char *const says[] = {"450 4.2.0 later", "550 5.7.1 no", "421 4.3.2 go away",
		"354 what", "250 2.0.0 yes", "garbage", "599 odd\r\n250 and more"};

	host_well(h);
	if (!chance(trouble))
		return;
	h->tls_fails = chance(10);
	h->tlsa_fails = chance(10);
	h->tls_other_name = chance(10);
	switch (below(9)) {
	case 0:
		h->refuse = true;
		break;
	case 1:
		h->drop_second = true;
		break;
	case 2:
	case 3:
		h->hangs_at = (uint8_t)(1 + below(AT_N - 1));
		break;
	case 4:
		h->drops_at = (uint8_t)(AT_GREETING + below(AT_N - AT_GREETING));
		break;
	case 5:
	case 6:
		h->says_at = (uint8_t)(AT_GREETING + below(AT_N - AT_GREETING));
		h->says = says[below(ARRAY_LEN(says))];
		break;
	case 7:
		h->delay_ms = 1 + below(20000);
		break;
	default:
		h->limits = "LIMITS RCPTMAX=1 MAILMAX=2 RCPTDOMAINMAX=1";
		break;
	}
}

static struct world_dns dns_trouble(const char *name)
{
	struct world_dns plan = {.delay_us = 0};

	(void)name;
	if (chance(trouble / 2))
		plan.delay_us = (1 + below(30000)) * US_PER_MS;
	if (chance(trouble / 4)) {
		plan.fails = true;
		plan.delay_us = 30 * US_PER_SEC;
	}
	return plan;
}

/* ---- mail and operators ---- */

static void new_message(void)
{
	char to[512] = "";
	size_t n = 0;

	if (world->message_n == WORLD_MESSAGES)
		return;
	unsigned rcpts = 1 + (chance(30) ? below(WORLD_RCPTS) : 0);
	unsigned first = below(domains);
	for (unsigned i = 0; i < rcpts; i++)
		n += (size_t)snprintf(to + n, sizeof(to) - n, "r%u@%c%u.example.org ", i,
			"hhhpg"[below(5)], chance(50) ? first : below(domains));
	struct world_message *m = world_message(chance(80) ? "a@example.net" : "", to);
	if (chance(5))
		m->expire_ms = world->core.now_ms + (1 + below(600)) * MS_PER_SEC;
	if (chance(5)) {
		m->body = large;
		m->body_n = sizeof(large);
	}
	if (chance(80))
		world_hint(m, chance(30));
	else
		world_hint_id(m->id);
}

static void operate(void)
{
	struct world_message *m = &world->messages[below(world->message_n)];
	unsigned what = below(4);

	for (uint32_t k = 0; k < m->rcpt_count; k++) {
		struct world_rcpt *r = &m->rcpts[k];
		if (!r->queued)
			continue;
		if (what == 0) {
			r->queued = false;
			r->excused = UINT16_MAX; /* it may be on its way */
		} else if (what == 1) {
			r->held = true;
		} else {
			r->held = false;
			r->next_ms = world->core.now_ms;
		}
	}
	world_hint_id(m->id);
}

/* ---- what is said of it ---- */

static struct {
	uint64_t since_us;
	uint8_t cause;
	uint32_t attempts;
} said[WORLD_MESSAGES][WORLD_RCPTS];

/* May this be said for so long?  What needs nothing to be done is soon over. */
static uint64_t truth_us(enum why_cause cause)
{
	switch (cause) {
	case WHY_BACKLOG:
	case WHY_READING:
	case WHY_STORING:
	case WHY_WRITER_FULL:
	case WHY_LOADING:
		return 90 * US_PER_SEC;
	case WHY_RESOLVING:
		return world->dns_plan ? UINT64_MAX : 400 * US_PER_SEC;
	default:
		return UINT64_MAX;
	}
}

static void ask(uint32_t i, uint32_t k)
{
	const struct world_message *m = &world->messages[i];
	const struct world_rcpt *r = &m->rcpts[k];
	struct why_facts facts = {.id = m->id,
		.now_ms = world->core.now_ms,
		.held = r->held,
		.store_failed = atomic_load(&world->health) == STORE_FAILED,
		.attempts = r->attempts,
		.next_ms = r->next_ms,
		.reason = r->reason,
		.asked = true};
	struct why why;

	delivery_inspect(world->d, m->id, k, bytes_str(strchr(r->address, '@') + 1), &facts.info);
	why_decide(&facts, &why);
	/* Without memory even a report takes its time. */
	if (hoard.head || why.cause != said[i][k].cause || r->attempts != said[i][k].attempts)
		said[i][k].since_us = world->core.now_us;
	said[i][k].cause = (uint8_t)why.cause;
	said[i][k].attempts = r->attempts;
	if (world->core.now_us - said[i][k].since_us > truth_us(why.cause))
		fail_msg("seed %lu: %016lx %s for minutes: %s", seed, m->id, why_name(why.cause),
			why.text);
}

static void ask_all(void)
{
	for (uint32_t i = 0; i < world->message_n; i++) {
		for (uint32_t k = 0; k < world->messages[i].rcpt_count; k++) {
			if (world->messages[i].rcpts[k].queued)
				ask(i, k);
		}
	}
}

static void advance(unsigned seconds)
{
	for (unsigned i = 0; i < seconds; i++) {
		world_advance_ms(1000);
		if (i % 5 == 0)
			ask_all();
	}
}

static void phase(void)
{
	for (unsigned i = 0; i < domains; i++) {
		if (chance(15))
			host_trouble(world_host_of(i));
	}
	world->connect_error = chance(10) ? -ENOMEM : 0;
	world->connects_failed = 0;
	chunks_leave(chance(15) ? below(300) : UINT32_MAX);
	atomic_store(&world->health, chance(5) ? STORE_FAILED : STORE_OK);
	for (unsigned i = 0; i < PHASE_LAPS; i++) {
		if (chance(40))
			new_message();
		if (chance(8) && world->message_n)
			operate();
		if (chance(2))
			world->no_chunks_once = true;
		if (chance(1))
			world->result_status = chance(50) ? -EIO : -EAGAIN;
		world_step();
		if (chance(30))
			world_advance_ms(100);
	}
	advance(below(60));
	if (chance(4))
		world_restart();
	world->dns_plan = dns_trouble;
}

/* ---- all is well ---- */

static void heal(void)
{
	for (unsigned i = 0; i < domains; i++)
		host_well(world_host_of(i));
	/* What hangs at a server hangs there until the connection ends. */
	world->connect_error = 0;
	chunks_leave(UINT32_MAX);
	atomic_store(&world->health, STORE_OK);
	world->dns_plan = NULL;
	memset(said, 0, sizeof(said));
	for (uint32_t i = 0; i < world->message_n; i++) {
		for (uint32_t k = 0; k < world->messages[i].rcpt_count; k++)
			world->messages[i].rcpts[k].held = false;
		world_hint_id(world->messages[i].id);
		if (i % 8 == 0)
			world_step();
	}
}

static void tell(const struct world_message *m, uint32_t k)
{
	struct delivery_recipient_info info;
	const struct world_rcpt *r = &m->rcpts[k];

	delivery_inspect(world->d, m->id, k, bytes_str(strchr(r->address, '@') + 1), &info);
	print_message("seed %lu: %016lx %s place %u route %u attempts %u next in %ld s ready %u "
		      "connections %u opening %u copies %u excused %u failed %d reason \"%s\"\n",
		seed, m->id, r->address, info.place, info.domain.route, r->attempts,
		(long)(r->next_ms - world->core.now_ms) / 1000, info.domain.ready,
		info.domain.connections, info.domain.opening, r->copies, r->excused, r->failed,
		r->reason);
}

static void check_messages(void)
{
	unsigned wrong = 0;

	for (uint32_t i = 0; i < world->message_n; i++) {
		const struct world_message *m = &world->messages[i];
		for (uint32_t k = 0; k < m->rcpt_count; k++) {
			const struct world_rcpt *r = &m->rcpts[k];
			if (r->queued || r->copies > 1 + r->excused ||
				(r->failed && r->copies > r->excused) ||
				(!r->failed && r->copies == 0 && r->excused < UINT16_MAX)) {
				if (wrong++ < 10)
					tell(m, k);
			}
		}
	}
	if (wrong)
		fail_msg("seed %lu: %u recipients", seed, wrong);
}

static unsigned length(const struct list *l)
{
	unsigned n = 0;

	list_for_each(it, l) n++;
	return n;
}

/* Nothing is under way: all that there is lies where it lay at the start. */
static void check_idle(void)
{
	const struct delivery *d = world->d;

	assert_int_equal(d->schedule.used - d->schedule.gone.count, 0);
	assert_int_equal(d->jobs.used, 0);
	assert_int_equal(d->jobs.held, 0);
	assert_true(list_empty(&d->jobs.resting));
	assert_int_equal(length(&d->jobs.free), d->jobs.max);
	assert_int_equal(length(&d->attempts.free), d->attempts.max);
	assert_true(list_empty(&d->attempts.refused));
	assert_int_equal(d->reports.used, 0);
	assert_int_equal(d->dest.connections, 0);
	assert_int_equal(length(&d->relay.free), d->relay.max);
	assert_true(list_empty(&d->relay.closed) && list_empty(&d->relay.working));
	assert_true(list_empty(&d->relay.starving) && list_empty(&d->relay.wanting));
	assert_int_equal(d->relay.leaving, 0);
	assert_int_equal(d->dest.domains_used, 0);
	assert_true(list_empty(&d->dest.runnable) && list_empty(&d->dest.looking));
	assert_true(list_empty(&d->lookups.waiting) && list_empty(&d->danes.conns));
	assert_true(list_empty(&d->readers_waiting));
	for (uint32_t i = 0; i < d->dest.sites_fresh; i++) {
		const struct site *s = &d->dest.sites[i];
		assert_int_equal(s->connections + s->opening + s->holds + s->ready_n, 0);
		assert_true(
			list_empty(&s->blocked) && list_empty(&s->idle) && list_empty(&s->ready));
	}
	assert_int_equal(chunk_pool_free_count(), chunk_pool_size());
}

static void one_seed(void)
{
	state = seed * 7919;
	struct delivery_conf conf = {.jobs_max = ONE_OF(4, 8, 64, 0),
		.connections_max = ONE_OF(1, 2, 5, 24, 100),
		.site_connections_max = ONE_OF(1, 2, 6, 20),
		.recipients_max = ONE_OF(64, 200, 4096)};

	memset(said, 0, sizeof(said));
	if (chance(50)) {
		conf.tls = (struct tls *)(uintptr_t)8; /* the world's tls_connect does not look */
		conf.tls_level = (uint8_t)ONE_OF(TLS_LEVEL_MAY, TLS_LEVEL_DANE);
	}
	domains = ONE_OF(3, 30, 100, DOMAINS);
	trouble = ONE_OF(10, 40, 80);
	world_start(ONE_OF(1, 2, 5, 64), conf);
	world->dns_plan = dns_trouble;
	world->secure = chance(70);
	world->notify = (uint8_t)ONE_OF(
		0, 0, NOTIFY_NEVER, NOTIFY_SUCCESS | NOTIFY_FAILURE, NOTIFY_FAILURE | NOTIFY_DELAY);
	world->ret = chance(50) ? RET_FULL : RET_HDRS;
	world->numbered_ttl = ONE_OF(0, 1, 20);
	for (unsigned i = 0; i <= domains; i++)
		host_make(world_host_of(i));
	for (unsigned i = 0; i < PHASES; i++)
		phase();
	heal();
	for (unsigned s = 0; s < HEAL_MINUTES * 60 && world_queued() > 0; s++) {
		world_advance_ms(900);
		for (unsigned i = 0; i < 100; i++)
			world_step();
		if (s % 5 == 0)
			ask_all();
	}
	check_messages();
	world_advance_ms(11 * 60000); /* connections go that hang, and idle ones */
	world_settle();
	check_idle();
	world_stop();
}

static unsigned seeds = SEEDS;

static void test_all_is_well_in_the_end(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < seeds; i++, seed++)
		one_seed();
}

static int setup(void **unused)
{
	(void)unused;
	log_set_level(LOG_ERROR);
	large_make();
	eal_start_for_tests(128);
	return chunk_pool_init(16384, -1) || message_pool_init(4096, -1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_is_well_in_the_end),
	};

	seed = 1;
	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--seed") == 0) {
			seed = strtoull(argv[i + 1], NULL, 10);
			seeds = 1;
		} else if (strcmp(argv[i], "--seeds") == 0) {
			seeds = (unsigned)strtoul(argv[i + 1], NULL, 10);
		}
	}
	return cmocka_run_group_tests(tests, setup, NULL);
}
