/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/relay.h"

bool relay_is_listed(const struct ip_net *nets, uint32_t count, const struct ip_addr *ip)
{
	for (uint32_t i = 0; i < count; i++) {
		if (ip_net_has(&nets[i], ip))
			return true;
	}
	return false;
}

bool relay_peer_is_listed(const struct smtp_policy *p, const struct ip_addr *peer)
{
	return relay_is_listed(p->relay_from, p->relay_from_count, peer);
}

static bool digest_is(const char *hex, const uint8_t sha256[32])
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < 32; i++) {
		if (ascii_lower((uint8_t)hex[2 * i]) != digits[sha256[i] >> 4] ||
			ascii_lower((uint8_t)hex[2 * i + 1]) != digits[sha256[i] & 15])
			return false;
	}
	return true;
}

bool relay_certificate_is_listed(const struct smtp_policy *p, const uint8_t sha256[32])
{
	for (uint32_t i = 0; i < p->relay_certificate_count; i++) {
		if (digest_is(p->relay_certificates[i], sha256))
			return true;
	}
	return false;
}

static bool is_relay_domain(const struct smtp_policy *p, struct bytes domain)
{
	for (uint32_t i = 0; i < p->relay_domain_count; i++) {
		if (bytes_eq(domain, bytes_str(p->relay_domains[i])))
			return true;
	}
	return false;
}

bool relay_owns_sender(const struct smtp_policy *p, uint32_t account, struct bytes sender)
{
	struct directory_entry entry;

	/* <>: a notification that the user's program sends (RFC 8098). */
	if (sender.n == 0)
		return true;
	return p->directory && p->directory->lookup(p->directory, sender, &entry) == DIRECTORY_OK &&
	       entry.account == account;
}

enum reply_id relay_check(const struct smtp_policy *policy, const struct ip_addr *peer, bool known,
	const struct address *address, struct relay_verdict *verdict_r)
{
	struct directory_entry entry = {0};
	enum directory_verdict v = DIRECTORY_REMOTE;

	if (policy->directory)
		v = policy->directory->lookup(policy->directory, address->text, &entry);
	*verdict_r = (struct relay_verdict){.route = RCPT_REMOTE};
	switch (v) {
	case DIRECTORY_OK:
		*verdict_r = (struct relay_verdict){RCPT_LOCAL, entry.account};
		return REPLY_OK;
	case DIRECTORY_UNKNOWN_USER:
		return REPLY_UNKNOWN_USER;
	case DIRECTORY_DISABLED:
		return REPLY_USER_DISABLED;
	case DIRECTORY_OVER_QUOTA:
		return REPLY_MAILBOX_FULL;
	case DIRECTORY_REMOTE:
		break;
	}
	if (is_relay_domain(policy, bytes_skip(address->text, address->domain_at)) || known ||
		relay_peer_is_listed(policy, peer))
		return REPLY_OK;
	return REPLY_RELAY_DENIED;
}
