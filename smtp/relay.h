/* SPDX-License-Identifier: BSD-3-Clause
 * Who may send to whom.  Never open by default: a recipient is local, or in a relay domain, or the
 * peer's network is listed, or
 * the sender has proven who he is.  Any thread. */
#pragma once
#include "smtp/address.h"
#include "smtp/policy.h"
#include "smtp/reply.h"

struct relay_verdict {
	enum rcpt_route route;
	uint32_t account; /* RCPT_LOCAL */
};

bool relay_is_listed(const struct ip_net *nets, uint32_t count, const struct ip_addr *ip);
/* May this peer relay because of where it is? */
bool relay_peer_is_listed(const struct smtp_policy *policy, const struct ip_addr *peer);
/* May who has shown a certificate with this digest? */
bool relay_certificate_is_listed(const struct smtp_policy *policy, const uint8_t sha256[32]);
/* May the user of account send as sender (canonical; empty: <>)? */
bool relay_owns_sender(const struct smtp_policy *policy, uint32_t account, struct bytes sender);
/* The verdict on one recipient: REPLY_OK with *verdict_r, or the refusal.  The address with `%` or
 * `!` in its local part is taken as it stands.  known: the session is authenticated. */
enum reply_id relay_check(const struct smtp_policy *policy, const struct ip_addr *peer, bool known,
	const struct address *address, struct relay_verdict *verdict_r);
