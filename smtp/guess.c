/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/guess.h"
#include <stdatomic.h>
#include "dataplane/base/siphash.h"

#define SETS         4096
#define PLACES       4     /* of one set: 16,384 places of 8 octets in all; chosen */
#define TRIES        4     /* exchanges that others spoil before a count is let go; chosen */
#define ASKING       16384 /* numbers of logins under way; chosen */
#define PEER_PREFIX6 48
#define ACCOUNT_STEP 5 /* wrong ones of an account until its delay grows; chosen */

/* A place: 24 bits of the hash, a count of 8, the second it is forgotten in of 32. */
static _Atomic uint64_t table[SETS][PLACES];
static struct siphash_key key;
static _Atomic uint16_t asking[ASKING];

/* Dovecot's steps have proven themselves in the field: seconds after the first, second ... one. */
static const uint8_t delays[] = {2, 4, 8, 15};

enum kind { KIND_PEER, KIND_ACCOUNT, KIND_SAME };

void guess_init(void)
{
	siphash_key_random(&key);
	memset(table, 0, sizeof(table));
	memset(asking, 0, sizeof(asking));
}

static uint64_t hash_of(enum kind kind, uint64_t more, struct bytes b)
{
	struct siphash_key k = {key.k0 ^ (uint64_t)kind, key.k1 ^ more};

	return siphash13(&k, b.p, b.n) | 1; /* 0 stands for nothing */
}

static uint64_t peer_hash(const struct ip_addr *peer)
{
	struct ip_addr net = *peer;

	if (!ip_is_v4(peer))
		memset(net.octets + PEER_PREFIX6 / 8, 0, sizeof(net.octets) - PEER_PREFIX6 / 8);
	return hash_of(KIND_PEER, 0, bytes_make(net.octets, sizeof(net.octets)));
}

/* Names are equal in either case, as accounts are. */
static uint64_t account_hash(struct bytes user)
{
	uint8_t folded[512];
	size_t n = MIN(user.n, sizeof(folded));

	for (size_t i = 0; i < n; i++)
		folded[i] = ascii_lower(user.p[i]);
	return hash_of(KIND_ACCOUNT, user.n, bytes_make(folded, n));
}

void guess_make(
	struct guess *g, const struct ip_addr *peer, struct bytes user, struct bytes password)
{
	*g = (struct guess){.peer = peer ? peer_hash(peer) : 0, .account = account_hash(user)};
	if (password.n)
		g->same = hash_of(KIND_SAME, g->peer ^ g->account, password);
}

bool guess_enter(const struct guess *g)
{
	_Atomic uint16_t *n = &asking[(g->peer >> 8) % ASKING];

	if (!g->peer)
		return true;
	if (atomic_fetch_add_explicit(n, 1, memory_order_relaxed) < GUESS_ASKING_MAX)
		return true;
	atomic_fetch_sub_explicit(n, 1, memory_order_relaxed);
	return false;
}

void guess_leave(const struct guess *g)
{
	if (g->peer)
		atomic_fetch_sub_explicit(
			&asking[(g->peer >> 8) % ASKING], 1, memory_order_relaxed);
}

/* ---- the table ---- */

static uint32_t until_of(uint64_t word)
{
	return (uint32_t)word;
}

static uint8_t count_of(uint64_t word)
{
	return (uint8_t)(word >> 32);
}

static uint32_t second(uint64_t us)
{
	return (uint32_t)(us / US_PER_SEC);
}

static bool is_of(uint64_t word, uint64_t hash, uint32_t now)
{
	return word >> 40 == hash >> 40 && until_of(word) > now;
}

/* The place of hash, or else the one to give up for it. */
static _Atomic uint64_t *place_of(uint64_t hash, uint32_t now)
{
	_Atomic uint64_t *set = table[(hash >> 8) % SETS], *oldest = &set[0];
	uint32_t until = UINT32_MAX;

	for (unsigned i = 0; i < PLACES; i++) {
		uint64_t word = atomic_load_explicit(&set[i], memory_order_relaxed);
		if (is_of(word, hash, now))
			return &set[i];
		if (until_of(word) < until) {
			until = until_of(word);
			oldest = &set[i];
		}
	}
	return oldest;
}

/* One more (or, with add 0, none: only a look).  Returns how many there are; forgotten `for_us`
 * from now on. */
static unsigned count(uint64_t hash, unsigned add, uint64_t for_us, uint64_t now_us)
{
	uint32_t now = second(now_us);
	uint64_t n = add;

	for (unsigned i = 0; i < TRIES; i++) {
		_Atomic uint64_t *place = place_of(hash, now);
		uint64_t old = atomic_load_explicit(place, memory_order_relaxed);
		n = is_of(old, hash, now) ? count_of(old) + add : add;
		n = MIN(n, (uint64_t)UINT8_MAX);
		uint64_t new = hash >> 40 << 40 | n << 32 | (uint32_t)(now + second(for_us) + 1);
		if (add == 0 || atomic_compare_exchange_weak_explicit(place, &old, new,
					memory_order_relaxed, memory_order_relaxed))
			break;
	}
	return (unsigned)n;
}

static uint64_t delay_of(unsigned step)
{
	return step == 0 ? 0 : delays[MIN(step, (unsigned)ARRAY_LEN(delays)) - 1] * US_PER_SEC;
}

static unsigned account_step(unsigned count)
{
	return count > GUESS_ACCOUNT_FREE ? (count - GUESS_ACCOUNT_FREE) / ACCOUNT_STEP : 0;
}

uint64_t guess_wait_us(const struct guess *g, uint64_t now_us)
{
	unsigned peer = g->peer ? count(g->peer, 0, 0, now_us) : 0;
	unsigned account = count(g->account, 0, 0, now_us);

	/* One slip costs the next attempt nothing. */
	return MAX(delay_of(peer > 1 ? peer - 1 : 0), delay_of(account_step(account)));
}

uint64_t guess_wrong_us(const struct guess *g, uint64_t now_us)
{
	bool again = g->same && count(g->same, 1, GUESS_FORGOTTEN_US, now_us) > 1;
	unsigned add = again ? 0 : 1, peer = 0;

	if (g->peer)
		peer = count(g->peer, add, GUESS_FORGOTTEN_US, now_us);
	unsigned account = count(g->account, add, GUESS_ACCOUNT_US, now_us);
	return MAX(delay_of(MAX(peer, 1u)), delay_of(1 + account_step(account)));
}
