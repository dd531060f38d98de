/* SPDX-License-Identifier: BSD-3-Clause
 * What a source was told and what a sink got, recipient by recipient: matched afterwards, that
 * shows what was lost, doubled, altered or delivered although it was refused.  OWNER: one thread.
 */
#pragma once
#include "dataplane/base/bytes.h"

enum ledger_state {
	LEDGER_ACCEPTED, /* source: 250.  It must arrive once */
	LEDGER_REFUSED,  /* source: 4xx or 5xx.  It must not arrive */
	LEDGER_UNKNOWN,  /* source: the connection ended before the answer.  Once, or not */
	LEDGER_RECEIVED, /* sink: whole */
	LEDGER_ALTERED,  /* sink: its content is not what was sent */
	LEDGER_BOUNCED,  /* sink: it answered 5xx at the end of data, so it need not come again */
};

struct ledger_entry {
	uint32_t run, state; /* enum ledger_state */
	uint64_t seq;
	uint64_t rcpt; /* hash of the address, in lower case */
};
static_assert(sizeof(struct ledger_entry) == 24, "as it stands in the file");

struct ledger {
	struct ledger_entry *all; /* address space for max of them; memory as they come */
	uint64_t n, max;
	uint64_t dropped; /* beyond max: nothing can be proved then */
};

/* Returns 0 or -ENOMEM. */
int ledger_init(struct ledger *l, uint64_t max) WARN_UNUSED;
void ledger_fini(struct ledger *l);
uint64_t ledger_rcpt(struct bytes address);
void ledger_add(struct ledger *l, const struct ledger_entry *e);
/* Returns 0 or -errno. */
int ledger_write(const struct ledger *l, const char *path) WARN_UNUSED;
/* Adds the file's entries.  Returns 0 or -errno; -EINVAL: no such file of ours. */
int ledger_read(struct ledger *l, const char *path) WARN_UNUSED;

struct ledger_match {
	uint64_t accepted, refused, unknown;     /* of the source */
	uint64_t received, bounced;              /* of the sink, for runs that the source has */
	uint64_t lost, doubled, altered, forged; /* forged: refused, or never sent, and it came */
};
/* Sorts both. */
void ledger_match(struct ledger *source, struct ledger *sink, struct ledger_match *m_r);
static inline bool ledger_proves(const struct ledger_match *m)
{
	return !m->lost && !m->doubled && !m->altered && !m->forged;
}
