/* SPDX-License-Identifier: BSD-3-Clause
 * Who may send to whom.  Never open by default: a recipient is local, or in a relay domain, or the
 * peer's network is listed.  Any thread. */
#pragma once
#include "smtp/address.h"
#include "smtp/policy.h"
#include "smtp/reply.h"

struct relay_verdict {
	enum rcpt_route route;
	uint32_t account; /* RCPT_LOCAL */
};

/* The verdict on one recipient: REPLY_OK with *verdict_r, or the refusal.  The address with `%` or
 * `!` in its local part is taken as it stands. */
enum reply_id relay_check(const struct smtp_policy *policy, const struct ip_addr *peer,
	const struct address *address, struct relay_verdict *verdict_r);
