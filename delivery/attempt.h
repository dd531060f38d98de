/* SPDX-License-Identifier: BSD-3-Clause
 * An attempt: recipients of one message that go to one site in one mail transaction, waiting for a
 * connection; or that share a refusal.  OWNER: one core's thread. */
#pragma once
#include "delivery/dest.h"
#include "delivery/job.h"

#define ATTEMPT_RCPTS_MAX 100 /* RFC 5321 4.5.3.1.8: what every server takes */

struct attempt {
	struct list link;     /* free list, site->ready, or attempts.refused */
	struct list job_link; /* job->attempts until it begins */
	struct job *job;
	struct site *site;     /* held; NULL: the domain was refused */
	struct domain *domain; /* of the first recipient */
	struct schedule_list nodes;
	bool ready;    /* on site->ready */
	bool returned; /* given up by an operator: no connection */
	bool refused;  /* returned: it is the mailbox that did not take it */
	bool retried;  /* once begun on a connection that turned out to be dead */
};

struct attempts {
	struct attempt *attempts;
	uint32_t max;
	struct list free;
	struct list refused; /* to be answered without a connection */
};

/* Returns 0 or -ENOMEM. */
int attempts_init(struct delivery *d, uint32_t max) WARN_UNUSED;
void attempts_fini(struct delivery *d);
/* A DUE node on no list, tied to a loaded job: into an attempt, as its domain's route says. */
void attempt_dispatch(struct delivery *d, uint32_t node);
/* The site cannot be reached: what is ready there is refused with the site's reason. */
void attempt_refuse_site(struct delivery *d, struct site *s);
/* The next one ready at the site begins: it is taken off every list.  NULL: none. */
struct attempt *attempt_take(struct delivery *d, struct site *s);
/* No more than max recipients (0: as they are): the others go into another attempt. */
void attempt_trim(struct delivery *d, struct attempt *a, uint32_t max);
/* Of the domains that may be named on one connection (RFC 9422 4.3): those in set, and others that
 * set has room for (max in all), which join it; recipients of the rest go into another attempt. */
struct attempt_domains {
	uint32_t *set;
	uint8_t *n;
	uint32_t max;
};
void attempt_trim_domains(struct delivery *d, struct attempt *a, const struct attempt_domains *of);
/* A domain's member of set. */
uint32_t attempt_domain_hash(const struct domain *domain);
/* May the first recipient of a be named? */
bool attempt_may_begin(
	const struct delivery *d, const struct attempt *a, const struct attempt_domains *of);
/* Back to the head of its site's list. */
void attempt_return(struct delivery *d, struct attempt *a);
/* A node that is not to be tried: true, it was DUE and is on no list any more; false, it is on a
 * connection or at the store, or its row is being read. */
bool attempt_withdraw(struct delivery *d, uint32_t node);
/* Over: its nodes are elsewhere. */
void attempt_free(struct delivery *d, struct attempt *a);
/* Answer refused attempts while there are reports.  Returns how many. */
unsigned attempt_poll(struct delivery *d);
