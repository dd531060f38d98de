/* SPDX-License-Identifier: BSD-3-Clause
 * Who checks passwords for the SMTP server: a helper thread behind this interface, as hashing takes
 * tens of milliseconds.  OWNER: one core's thread. */
#pragma once
#include "dataplane/base/bytes.h"

enum auth_result { AUTH_RIGHT, AUTH_WRONG, AUTH_BUSY };

struct auth_question {
	struct bytes user, password; /* copied, and the copies wiped */
	void (*done)(void *ctx, uint32_t generation, enum auth_result result, uint32_t account);
	void *ctx;
	uint32_t generation; /* given back: the asker may have become another's meanwhile */
};

struct authenticator {
	/* done follows, never from inside.  Takes the same time for an unknown user as for a wrong
	 * password.  False: too many at once, nothing follows. */
	bool (*ask)(struct authenticator *a, const struct auth_question *q);
};
