/* SPDX-License-Identifier: BSD-3-Clause
 * Who checks passwords for the SMTP server: a helper thread behind this interface, as hashing takes
 * tens of milliseconds.  OWNER: one core's thread. */
#pragma once
#include "smtp/scram.h"

enum auth_result { AUTH_RIGHT, AUTH_WRONG, AUTH_BUSY };

struct auth_question {
	struct bytes user, password; /* copied, and the copies wiped */
	void (*done)(void *ctx, uint32_t generation, enum auth_result result, uint32_t account);
	void *ctx;
	uint32_t generation; /* given back: the asker may have become another's meanwhile */
};

/* What SCRAM asks: the record of a user, or one that nothing fits. */
struct auth_lookup {
	struct bytes user; /* copied */
	/* busy: no answer could be had, *r is nothing. */
	void (*done)(void *ctx, uint32_t generation, bool busy, bool known, uint32_t account,
		const struct scram_record *r);
	void *ctx;
	uint32_t generation;
};

struct authenticator {
	/* done follows, never from inside.  Takes the same time for an unknown user as for a wrong
	 * password.  False: too many at once, nothing follows. */
	bool (*ask)(struct authenticator *a, const struct auth_question *q);
	/* done follows, never from inside.  False as above. */
	bool (*look_up)(struct authenticator *a, const struct auth_lookup *q);
};
