/* SPDX-License-Identifier: BSD-3-Clause
 * Guessing passwords gets slower and slower: by the peer's network (an IPv4 address, a /48 of IPv6,
 * which is what one customer is given) and, more patiently, by the account, so that many peers
 * together do not escape.  Right answers wait as well: who had to wait for wrong ones only would
 * hang up and know.  Nobody is ever locked out.
 *
 * One table for the process, of all cores and protocols: words that are exchanged atomically, no
 * locks.  It is bounded; when all places of a set are taken the one that is forgotten first goes.
 * Any thread. */
#pragma once
#include "dataplane/base/clock.h"
#include "dataplane/base/netaddr.h"

#define GUESS_ACCOUNT_FREE 5 /* wrong ones of an account that cost nothing more; chosen */
#define GUESS_FORGOTTEN_US (60 * US_PER_SEC)  /* behind the last wrong one of a peer; chosen */
#define GUESS_ACCOUNT_US   (600 * US_PER_SEC) /* ... of an account; chosen */
#define GUESS_DELAY_MAX_US (15 * US_PER_SEC)
#define GUESS_ASKING_MAX   16 /* logins of a peer under way; chosen: more than a program opens */

/* An attempt to log in, to be kept until its outcome is known: keyed hashes, no secrets. */
struct guess {
	uint64_t peer, account; /* 0: does not count */
	uint64_t same;          /* the whole of it; 0: cannot be told from others */
};

/* Before other threads run: tables and hashes of this process begin. */
void guess_init(void);
/* peer NULL: one of the operator's own networks.  password empty: not known (SCRAM). */
void guess_make(
	struct guess *g, const struct ip_addr *peer, struct bytes user, struct bytes password);
/* A login of the peer begins, and is under way until its answer is given: how many are at once, by
 * whichever connections and cores, is limited, because none of them has been counted as wrong yet.
 * False: too many (no guess_leave).  Peers whose hashes meet share a number. */
bool guess_enter(const struct guess *g) WARN_UNUSED;
void guess_leave(const struct guess *g);
/* Whatever the outcome is, how long must it wait, counted from now? */
uint64_t guess_wait_us(const struct guess *g, uint64_t now_us);
/* It was wrong.  Returns how long the answer has to wait from now on.  The same user and password
 * once more are a program that was not told of a change: they cost no more than before. */
uint64_t guess_wrong_us(const struct guess *g, uint64_t now_us);
